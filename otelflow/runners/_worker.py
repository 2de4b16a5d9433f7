"""A task in another process: run there as in its flow, and reported with all that it left behind."""

import contextlib
import contextvars
import os
import pickle
import signal
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otelflow._core.flows.decorators import task
from otelflow._core.flows.definition import Definition, Kind, definition_of
from otelflow._core.flows.execution import ExecutedRun
from otelflow._core.flows.flow import Flow
from otelflow._core.policies import holding
from otelflow._core.policies.loops import submitted_here
from otelflow._core.process import program
from otelflow._core.process import settings as process_settings
from otelflow._core.process.ids import process_id
from otelflow._core.process.process import State
from otelflow._core.runs import observers
from otelflow._core.runs.run import Run
from otelflow._core.text.portable import portable
from otelflow._core.text.safe_str import comes_from_outside, safe_str, type_name
from otelflow.errors import NotPortable
from otelflow.runners import _pickling, _reports, _stops, _tallies

#: How trace context travels: as W3C has it, and nothing else does
CARRIER: Final = TraceContextTextMapPropagator()
# Of so many tasks a worker remembers what they are.
_MOST_DEFINITIONS: Final = 1_000
_TEXT: Final = 300
# Of values of these types it need not be tried whether they can be sent
_PORTABLE: Final = frozenset({type(None), bool, int, float, str, bytes})


class Order(NamedTuple):
    """A task to be run in another process."""

    #: As pickle has it: the decorated function and None, or else the function and the options of its decorator
    function: bytes
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    carrier: dict[str, str]
    links: list[tuple[int, int, int]]
    parameters: Mapping[str, Any]
    flow_name: str | None
    flow_id: str | None
    flow_config: Any
    data: dict[str, Any]
    dependencies: Mapping[str, Any]
    settings: Mapping[str, Any]
    records_spans: bool
    #: The id of the process that has sent it (``ids.process_id``)
    sender: str
    #: How far its flow has come, if that is kept
    progress: Any
    #: The limits of which the flow holds a place
    limits: list[str]
    #: What the program is called that has sent it
    program: str
    #: What stands for the parameters of its flow, or why nothing does
    flow_parameters: Any
    #: Of the file that is there once nobody needs it any more
    stop_path: str

    @property
    def is_at_home(self) -> bool:
        """Whether a cluster has brought it back to the process that has sent it."""
        return self.sender == process_id()


class _Worker(State):
    """What this process needs to report: made for the first order."""

    recorder: _reports.Recorder
    #: Whether the recorder alone hears of runs here
    hears_alone: bool
    collector: Any
    settings: Mapping[str, Any]
    definitions: dict[bytes, Definition]
    #: Whether this process hears of Ctrl-C in tasks only
    holds_interrupts: bool

    def reset(self) -> None:
        """Have had no order."""
        self.recorder = _reports.Recorder()
        self.collector = None
        self.hears_alone = self.holds_interrupts = False
        self.settings = {}
        self.definitions = {}


_worker: Final = _Worker()


def run_order_of_pool(pickled: bytes) -> bytes:
    """Do as ``run_order`` in a process that blocks SIGINT, except while the body of a task runs."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return run_order(pickled)
    if _worker.holds_interrupts and signal.SIGINT in signal.sigpending():
        signal.sigwait({signal.SIGINT})  # it came when nothing ran here
    _worker.holds_interrupts = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return run_order(pickled)


def run_order(pickled: bytes) -> bytes:
    """Run an order and return the report of it, both as pickle has them; or a text that says why it cannot be read."""
    try:
        order: Order = pickle.loads(pickled)  # noqa: S301 it comes from the process that has started this one
    except BaseException as error:  # foreign classes, which may raise anything when they are made anew
        if comes_from_outside(error):
            raise
        return pickle.dumps(f"{type_name(error)}: {safe_str(error, _TEXT)}")
    report = contextvars.Context().run(_run, order)  # a forked process has inherited that of its parent
    try:
        return _pickling.dumps(report)
    except BaseException as error:  # an exception, an entry: whatever it is, the rest arrives
        if comes_from_outside(error):
            raise
        return pickle.dumps(_portable_report(report))


def _portable_report(report: _reports.Report) -> _reports.Report:
    """Return *report* with a text for what cannot travel."""

    def portable_run(run: _reports.RunReport) -> _reports.RunReport:
        return run._replace(error=portable(run.error), attempts=[*map(portable_run, run.attempts)])

    runs = [(portable_run(run), portable(entries)) for run, entries in report.runs]
    has_run_error = bool(runs) and report.runs[-1][0].error is report.error
    error = runs[-1][0].error if has_run_error else portable(report.error)
    return _reports.Report(*map(portable, report._replace(runs=[], error=None)))._replace(runs=runs, error=error)


def prepare(order: Order) -> None:
    """Let the recorder hear of runs here: it alone, unless this is the process of the flow, which tells others, too."""
    if order.is_at_home:
        observers.add_observer(_worker.recorder)
        return
    if order.settings != _worker.settings:
        process_settings.replace(_worker.settings, order.settings)
        _worker.settings = order.settings
    if not _worker.hears_alone:
        observers.observed.use((*observers.observed.built_in, _worker.recorder))
        _worker.hears_alone = True


def _run(order: Order) -> _reports.Report:
    call = _stops.SubmittedElsewhere(order.stop_path)
    submitted_here.set(call)
    program.sender.set(order.program)
    if order.flow_parameters is not None:
        from otelflow._core.policies import cache_keys  # noqa: PLC0415 only for tasks that go by them

        cache_keys.parameters_of_sender.set(order.flow_parameters)
    prepare(order)
    flow = stand_in(order)
    state = flow.flow_state
    # Another value may not get the id of one of these while the task runs: order.data keeps them.
    ids_before = {name: id(value) for name, value in state.data.items()}
    record = _worker.recorder.records[id(flow)] = _reports.Record()
    spans: list[Any] = []
    try:
        value, error, failed_tasks = _run_in(flow, order, spans)
    finally:
        call.end()
        del _worker.recorder.records[id(flow)]
    reports, spans[:] = [*spans], []  # a span that never ends keeps the list
    changes = {name: portable(item) for name, item in state.data.items() if ids_before.get(name) != id(item)}
    return _reports.Report(
        value,
        error,
        record.runs,
        reports,
        [*state.log],
        [*state.artifacts],
        [*state.results],
        changes,
        failed_tasks,
        os.getpid(),
        record.late_entries,
        None if order.is_at_home else _tallies.new_counts(),
        order.is_at_home,
    )


def _run_in(flow: Flow[Any], order: Order, spans: list[Any]) -> tuple[Any, BaseException | None, int]:
    """Run the task of *order* in *flow*; return its value, its error, and how many tasks have failed inside."""
    value, error = None, None
    with in_trace(order, spans), flow:
        block: Any = flow.flow_state.block
        holding.hold_elsewhere(order.limits)
        try:
            try:
                value = call_task(order)
            finally:
                if _worker.holds_interrupts:
                    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        except BaseException as trouble:  # noqa: BLE001 it is the future's
            error = trouble
    return value, error, block.failed_tasks


def stand_in(order: Order) -> Flow[Any]:
    """Return what a task of *order* gets as its flow."""
    kind: Any = Flow
    if order.dependencies:  # a class takes longer to make than all the rest

        class RemoteFlow(Flow[Any]):
            """The flow of the task, as far as it can be had here."""

            def task_dependencies(self) -> Mapping[str, Any]:
                """Return what the flow's own had in its process."""
                return order.dependencies

        kind = RemoteFlow
    flow: Flow[Any] = kind(
        flow_name=order.flow_name or "", flow_id=order.flow_id or "", flow_config=order.flow_config, data=order.data
    )
    return flow


@contextlib.contextmanager
def in_trace(order: Order, spans: list[Any]) -> Iterator[None]:
    """Be in the trace of *order* inside, and put what spans there are into *spans*."""
    token = otel_context.attach(CARRIER.extract(order.carrier))
    try:
        if order.records_spans and not order.is_at_home:
            from otelflow.runners import _spans  # noqa: PLC0415 only where the flow's process records any

            if _worker.collector is None:
                _worker.collector = _spans.Collector()
            with _worker.collector.collecting(spans):
                yield
        elif _worker.collector is not None and not order.is_at_home:  # another flow's order has made it
            with _worker.collector.ignoring():
                yield
        else:
            yield
    finally:
        otel_context.detach(token)


def call_task(order: Order) -> Any:
    """Run the task of *order*."""
    definition = _definition(order)

    def new_run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExecutedRun:
        run: ExecutedRun = definition.new_run(args, kwargs)  # type: ignore[misc, assignment]  # a task has one
        run.links = [SpanContext(trace, span, True, TraceFlags(flags)) for trace, span, flags in order.links]
        if order.parameters:
            run.parameters = {**(run.parameters or {}), **order.parameters}
        run.definition = _Portable(definition, order)  # type: ignore[assignment]
        if order.progress is not None:
            from otelflow._core.policies import checkpoints  # noqa: PLC0415 only for flows that are kept

            checkpoints.enter_with(run, order.progress)
        return run

    value = definition.drive(new_run)(*order.args, **order.kwargs)
    if definition.kind == Kind.COROUTINE:
        import asyncio  # noqa: PLC0415 only for coroutine functions

        value = asyncio.run(value)
    return value


class _Portable:
    """A definition whose body refuses to return what cannot be sent back: the task fails with it, on its span."""

    def __init__(self, definition: Definition, order: Order) -> None:
        self._definition = definition
        #: In another process than the flow's, that one calls them: what they change is there
        self.hooks = definition.hooks if order.is_at_home else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._definition, name)

    call = Definition.call  # which takes the body and the errors from here

    def body(self, *args: Any, **kwargs: Any) -> Any:
        """Call the body of the definition."""
        if _worker.holds_interrupts:  # here, it is the task that hears of one that came while the process began
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        value = self._definition.body(*args, **kwargs)
        if self._definition.kind == Kind.COROUTINE:
            return self._awaited(value)
        return self._checked(value)

    def call_error(
        self, run: Run, error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> BaseException | None:
        """Do as the definition, whose body was called one frame further away."""
        frames = error.__traceback__
        try:
            error.__traceback__ = None if frames is None else frames.tb_next
            return self._definition.call_error(run, error, args, kwargs)
        finally:
            error.__traceback__ = frames

    async def _awaited(self, awaitable: Any) -> Any:
        return self._checked(await awaitable)

    def _checked(self, value: Any) -> Any:
        if type(value) in _PORTABLE:
            return value
        try:
            _pickling.dumps(value)
        except BaseException as error:  # foreign __reduce__, which may raise anything
            if comes_from_outside(error):
                raise
            reason = f"it returned a {type_name(value)}, which cannot be sent back ({type_name(error)}: {error})"
            raise NotPortable(self._definition.name, reason, "return something that pickle takes") from None
        return value


def _definition(order: Order) -> Definition:
    """Return what is known of the task of *order*; found out once, as at decoration."""
    definition = _worker.definitions.get(order.function)
    if definition is None:
        function, options = pickle.loads(order.function)  # noqa: S301 as above
        definition = definition_of(function if options is None else task(**options)(function))
        if definition is None:
            raise NotPortable(getattr(function, "__name__", "?"), "it is no task there", "import it under its own name")
        if len(_worker.definitions) >= _MOST_DEFINITIONS:
            _worker.definitions.clear()
        _worker.definitions[order.function] = definition
    return definition
