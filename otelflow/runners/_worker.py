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

from otelflow._core.flows.definition import Definition, definition_of
from otelflow._core.flows.flow import Flow
from otelflow._core.flows.flow_run import Block
from otelflow._core.flows.task import TaskRun, task
from otelflow._core.policies import holding
from otelflow._core.process import program
from otelflow._core.process import settings as process_settings
from otelflow._core.process.process import State
from otelflow._core.runs import observers
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.run import Entry, Run
from otelflow._core.runs.spans import context_of
from otelflow._core.text.portable import portable
from otelflow._core.text.safe_str import type_name
from otelflow.errors import NotPortable
from otelflow.runners import _pickling, _tallies

#: How trace context travels: as W3C has it, and nothing else does
CARRIER: Final = TraceContextTextMapPropagator()
# Of so many tasks a worker remembers what they are.
_MOST_DEFINITIONS: Final = 1_000


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
    #: Of who has sent it: a cluster may run it in the same process
    process_id: int
    #: How far its flow has come, if that is kept
    passport: Any
    #: The limits of which the flow holds a place
    limits: list[str]
    #: What the program is called that has sent it
    program: str
    #: What stands for the parameters of its flow, or why nothing does
    flow_parameters: Any


class RunReport(NamedTuple):
    """One run that has ended there."""

    kind: str
    flow_name: str | None
    flow_run_id: str | None
    task_name: str | None
    task_run_id: str | None
    started_ns: int
    duration: float
    result: str
    error: BaseException | None
    trace_id: int
    span_id: int
    flags: int
    #: Its value was there: it is that of another run
    is_reused: bool
    #: Its attempts, if it was tried again
    attempts: list["RunReport"]


class Report(NamedTuple):
    """What came of an order."""

    value: Any
    error: BaseException | None
    #: The runs inside, that of the task last, each with what happened in it
    runs: list[tuple[RunReport, list[Entry]]]
    spans: list[Any]
    lines: list[Any]
    artifacts: list[Any]
    results: list[Any]
    changes: dict[str, Any]
    failed_tasks: int
    process_id: int
    #: What was said when its run had ended already
    late_entries: list[Entry]
    counts: _tallies.Counts | None


class _Record:
    """What the runs of one order did."""

    def __init__(self) -> None:
        self.runs: list[tuple[RunReport, list[Entry]]] = []
        self.late_entries: list[Entry] = []
        # By the id of the open flow or task that they belong to:
        self.entries: dict[int, list[Entry]] = {}
        self.attempts: dict[int, list[RunReport]] = {}


class _Recorder(observers.Observer):
    """Keeps what the runs of each order did; several may run at the same time, in threads."""

    def __init__(self) -> None:
        self.records: dict[int, _Record] = {}

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Keep *entry* for the report of the flow or task that *run* is, or is an attempt of."""
        record = self.records.get(_flow_of(run))
        if record is None:
            return
        owner = _owner_of(run)
        if owner.kind and owner.is_open:
            record.entries.setdefault(id(owner), []).append(entry)
        else:
            record.late_entries.append(entry)

    def run_ended(self, run: Run) -> None:
        """Keep how *run* ended."""
        record = self.records.get(_flow_of(run))
        if record is None:
            return
        if run.kind:
            report = _report_of(run, record.attempts.pop(id(run), []))
            record.runs.append((report, record.entries.pop(id(run), [])))
        elif run.attempt:
            record.attempts.setdefault(id(_owner_of(run)), []).append(_report_of(run, []))


def _report_of(run: Run, attempts: list[RunReport]) -> RunReport:
    context = context_of(run.span)
    ids = (0, 0, 0) if context is None else (context.trace_id, context.span_id, int(context.trace_flags))
    names = (run.flow_name, run.flow_run_id, run.task_name, run.task_run_id)
    ending = (run.started_ns, run.duration, run.ending.result, run.ending.error)
    is_reused = not run.was_called and run.ending is SUCCESS
    return RunReport(run.kind, *names, *ending, *ids, is_reused, attempts)


def _owner_of(run: Run) -> Run:
    """Return the flow or task that *run* is, or is a part of."""
    while not run.kind and run.parent is not None:
        run = run.parent
    return run


def _flow_of(run: Run) -> int:
    """Return the id of the flow that stands for that of the order."""
    above: Run | None = run
    while above is not None and above.parent is not None:
        above = above.parent
    return id(above.flow) if isinstance(above, Block) else 0


class _Worker(State):
    """What this process needs to report: made for the first order."""

    recorder: _Recorder | None
    collector: Any
    settings: Mapping[str, Any] | None
    definitions: dict[bytes, Definition]
    #: Whether this process hears of Ctrl-C in tasks only
    holds_interrupts: bool

    def reset(self) -> None:
        """Have had no order."""
        self.recorder = self.collector = self.settings = None
        self.holds_interrupts = False
        self.definitions = {}


_worker: Final = _Worker()


def run_order_of_pool(text: bytes) -> bytes:
    """Do as ``run_order`` in a process that was begun without SIGINT, of which only its tasks are to hear."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return run_order(text)
    if _worker.holds_interrupts and signal.SIGINT in signal.sigpending():
        signal.sigwait({signal.SIGINT})  # it came when nothing ran here
    _worker.holds_interrupts = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return run_order(text)


def _hold_interrupts() -> None:
    if _worker.holds_interrupts:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def run_order(text: bytes) -> bytes:
    """Run the order that *text* is, and return the report of it, both as pickle has them."""
    order: Order = pickle.loads(text)  # noqa: S301 it comes from the process that has started this one
    report = contextvars.Context().run(_run, order)  # a forked process has inherited that of its parent
    try:
        return _pickling.dumps(report)
    except Exception:  # noqa: BLE001 an exception, an entry: whatever it is, the rest arrives
        return pickle.dumps(_portable_report(report))


def _portable_report(report: Report) -> Report:
    """Return *report* with a text for what cannot travel."""

    def portable_run(run: RunReport) -> RunReport:
        return run._replace(error=portable(run.error), attempts=[*map(portable_run, run.attempts)])

    runs = [(portable_run(run), portable(entries)) for run, entries in report.runs]
    has_run_error = bool(runs) and report.runs[-1][0].error is report.error
    error = runs[-1][0].error if has_run_error else portable(report.error)
    return Report(*map(portable, report._replace(runs=[], error=None)))._replace(runs=runs, error=error)


def recorder_for(order: Order) -> _Recorder | None:
    """Return what hears of runs here, and nobody else does: they are told in the process of the flow."""
    if order.process_id == os.getpid():
        return None
    if order.settings != _worker.settings:
        process_settings.configure(**order.settings)
        _worker.settings = order.settings
    if _worker.recorder is None:
        _worker.recorder = _Recorder()
        observers.observed.use((*observers.observed.built_in, _worker.recorder))
    return _worker.recorder


def _run(order: Order) -> Report:
    program.sender.set(order.program)
    if order.flow_parameters is not None:
        from otelflow._core.policies import cache_keys  # noqa: PLC0415 only for tasks that go by them

        cache_keys.parameters_of_sender.set(order.flow_parameters)
    recorder = recorder_for(order)
    flow = stand_in(order)
    state = flow.flow_state
    record = _Record()
    if recorder is not None:
        recorder.records[id(flow)] = record
    before = {name: id(value) for name, value in state.data.items()}
    spans: list[Any] = []
    value, error = None, None
    try:
        with in_trace(order, spans), flow:
            block = state.block
            holding.hold_elsewhere(order.limits)
            try:
                try:
                    value = call_task(order)
                finally:
                    _hold_interrupts()
            except BaseException as trouble:  # noqa: BLE001 it is the future's
                error = trouble
    finally:
        if recorder is not None:
            del recorder.records[id(flow)]
    changes = {name: portable(item) for name, item in state.data.items() if before.get(name) != id(item)}
    left = ([*state.log], [*state.artifacts], [*state.results], changes)
    counts = None if recorder is None else _tallies.untold()
    return Report(value, error, record.runs, spans, *left, block.failed_tasks, os.getpid(), record.late_entries, counts)


def stand_in(order: Order) -> Flow[Any]:
    """Return what a task of *order* gets as its flow."""

    class RemoteFlow(Flow[Any]):
        """The flow of the task, as far as it can be had here."""

        def task_dependencies(self) -> Mapping[str, Any]:
            """Return what the flow's own had in its process."""
            return order.dependencies

    kind: Any = RemoteFlow if order.dependencies else Flow
    flow: Flow[Any] = kind(
        flow_name=order.flow_name or "", flow_id=order.flow_id or "", flow_config=order.flow_config, data=order.data
    )
    return flow


@contextlib.contextmanager
def in_trace(order: Order, spans: list[Any]) -> Iterator[None]:
    """Be in the trace of *order* inside, and put what spans there are into *spans*."""
    token = otel_context.attach(CARRIER.extract(order.carrier))
    try:
        if order.records_spans and order.process_id != os.getpid():
            from otelflow.runners import _spans  # noqa: PLC0415 only where the flow's process records any

            if _worker.collector is None:
                _worker.collector = _spans.Collector()
            with _worker.collector.collecting(spans):
                yield
        else:
            yield
    finally:
        otel_context.detach(token)


def call_task(order: Order) -> Any:
    """Run the task of *order*."""
    definition = _definition(order)

    def new_run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskRun:
        run: TaskRun = definition.new_run(args, kwargs)  # type: ignore[misc, assignment]  # a task has one
        run.links = [SpanContext(trace, span, True, TraceFlags(flags)) for trace, span, flags in order.links]
        if order.parameters:
            run.parameters = {**(run.parameters or {}), **order.parameters}
        run.definition = _Portable(definition, order)  # type: ignore[assignment]
        if order.passport is not None:
            from otelflow._core.policies import checkpoints  # noqa: PLC0415 only for flows that are kept

            checkpoints.enter_with(run, order.passport)
        return run

    value = definition.drive(new_run)(*order.args, **order.kwargs)
    if definition.kind == "coroutine":
        import asyncio  # noqa: PLC0415 only for coroutine functions

        value = asyncio.run(value)
    return value


class _Portable:
    """A definition whose body refuses to return what cannot be sent back: the task fails with it, on its span."""

    def __init__(self, definition: Definition, order: Order) -> None:
        self._definition = definition
        #: In another process than the flow's, that one calls them: what they change is there
        self.hooks = definition.hooks if order.process_id == os.getpid() else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._definition, name)

    def body(self, *args: Any, **kwargs: Any) -> Any:
        """Call the body of the definition."""
        if _worker.holds_interrupts:  # here, it is the task that hears of one that came while the process began
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        value = self._definition.body(*args, **kwargs)
        if self._definition.kind == "coroutine":
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

    def call(self, run: Run) -> Any:
        """Call the body with the arguments of *run*."""
        args, kwargs = self._definition.arguments(run)
        try:
            return self.body(*args, **kwargs)
        except TypeError as error:
            unfillable = self.call_error(run, error, args, kwargs)
            if unfillable is None:
                raise
            raise unfillable from None

    def _checked(self, value: Any) -> Any:
        try:
            _pickling.dumps(value)
        except Exception as error:  # noqa: BLE001 foreign __reduce__, which may raise anything
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
