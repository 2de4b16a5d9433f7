"""What a runner does for tasks in other processes: it sends orders, and lets reports happen in the flow."""

import functools
import importlib.util
import os
import pickle
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otelflow import semconv
from otelflow._core.flows.future_arguments import resolved
from otelflow._core.flows.task import Task, count_failures
from otelflow._core.inside import messages
from otelflow._core.process import clock, losses, provider
from otelflow._core.process.settings import settings
from otelflow._core.process.settings_table import RUN_SETTINGS
from otelflow._core.runs import observers
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import SUCCESS, Ending
from otelflow._core.runs.observers import observed
from otelflow._core.runs.run import Run
from otelflow._core.text.portable import portable
from otelflow._core.text.safe_str import safe_str, type_name
from otelflow.errors import NotPortable, ResultNotStorable, WorkerLost
from otelflow.runners import _worker

# What of the process's settings decides what is recorded
_SETTINGS: Final = (*RUN_SETTINGS, "value_limit", "message_level", "events", "redact")
_TEXT: Final = 300

Finished = Callable[[], None]


def order_of(call: Any) -> bytes:
    """Return *call* as it travels. Raises NotPortable."""
    return call.context.run(make_order, call)  # type: ignore[no-any-return]  # it is what the next function returns


def make_order(call: Any) -> bytes:
    """Do as ``order_of``, in the context of *call*."""
    definition = call.definition
    run = current_run()
    flow = None if run is None else run.flow
    carrier: dict[str, str] = {}
    _worker.CARRIER.inject(carrier)
    span_contexts = [future.span_context for future in call.upstream if future.span_context is not None]
    in_force = settings()
    order = _worker.Order(
        function_of(call.session, definition),
        resolved(call.args),
        resolved(call.kwargs),
        carrier,
        [(context.trace_id, context.span_id, int(context.trace_flags)) for context in span_contexts],
        {} if call.group is None else {semconv.TASK_MAP_INDEX: call.index},
        None if run is None else run.flow_name,
        None if run is None else run.flow_run_id,
        None if flow is None else flow.flow_state.config,
        {} if flow is None else portable(flow.flow_state.data),
        {} if flow is None else portable(dict(flow.task_dependencies())),
        {name: getattr(in_force, name) for name in _SETTINGS},
        records_spans(),
        os.getpid(),
        passport_of(call, run),
    )
    try:
        return dumps(order)
    except Exception as error:  # noqa: BLE001 foreign __reduce__, which may raise anything
        raise NotPortable(definition.name, *obstacle(order, error)) from None


def passport_of(call: Any, run: Run | None) -> Any:
    """Return what a worker must know of how far the flow has come, if that is kept."""
    if not call.definition.options.get("persist_result"):
        return None
    from otelflow._core.policies import checkpoints  # noqa: PLC0415 only for tasks that are kept

    try:
        return checkpoints.passport_of(run, call.definition, resolved(call.args), resolved(call.kwargs))
    except ResultNotStorable:  # inputs that make no key: the worker says so, when it has none either
        return None


def records_spans() -> bool:
    """Tell whether a task that is submitted here is to be recorded."""
    context = trace.get_current_span().get_span_context()
    return provider.span_maker() is not None and (not context.is_valid or context.trace_flags.sampled)


@functools.cache
def has_cloudpickle() -> bool:
    """Tell whether functions can travel that another process cannot import."""
    return importlib.util.find_spec("cloudpickle") is not None


def dumps(value: object) -> bytes:
    """Return *value* as it travels."""
    if has_cloudpickle():
        import cloudpickle  # noqa: PLC0415 an extra

        return cloudpickle.dumps(value)  # type: ignore[no-any-return]  # bytes
    return pickle.dumps(value)


def function_of(session: Any, definition: Any) -> bytes:
    """Return the function of a task as it travels, made once for each flow run. Raises NotPortable."""
    entry = session.functions.get(id(definition))
    if entry is None:
        is_main = getattr(definition.target, "__module__", None) == "__main__"
        travels_whole = has_cloudpickle() and (is_main or not definition.is_importable)
        pair = (definition.target, dict(definition.options)) if travels_whole else (definition.decorated, None)
        try:
            entry = session.functions[id(definition)] = definition, dumps(pair)
        except Exception as error:  # noqa: BLE001 what a function closes over
            reason = f"its function cannot be sent ({safe_str(error, _TEXT)})"
            cure = "define it at the top of a module, or pip install 'otelflow[processes]'"
            raise NotPortable(definition.name, reason, cure) from None
    text: bytes = entry[1]
    return text


def obstacle(order: _worker.Order, error: Exception) -> tuple[str, str]:
    """Return what of *order* cannot travel, and the cure."""
    parts = {f"argument {place}": value for place, value in enumerate(order.args, 1)}
    parts |= {f"{name}=": value for name, value in order.kwargs.items()}
    for name, value in parts.items():
        try:
            dumps(value)
        except Exception:  # noqa: BLE001 foreign __reduce__, which may raise anything
            return f"{name} is a {type_name(value)}, which cannot be sent", "send what pickle takes"
    return f"it cannot be sent ({safe_str(error, _TEXT)})", "send what pickle takes"


def arrived(call: Any, text: bytes) -> None:
    """End *call* with the report that *text* is: what it says happens in the flow."""
    report: _worker.Report = pickle.loads(text)  # noqa: S301 it comes from a process that this one has started
    call.context.run(happen, call, report)


def happen(call: Any, report: _worker.Report) -> None:
    """Do as ``arrived``, in the context of *call*."""
    parent = current_run()
    flow_run = call.session.flow_run
    try:
        take_over(parent, report)
        if flow_run is not None and report.failed_tasks:
            count_failures(flow_run, report.failed_tasks)
        if report.spans:
            from otelflow.runners import _spans  # noqa: PLC0415 only where spans are recorded

            _spans.adopt(report.spans, report.process_id)
            made_spans = None if parent is None else parent.made_spans
            for _ in report.spans if made_spans is not None else ():
                next(made_spans)  # type: ignore[arg-type]  # it is one
        for run_report, entries in report.runs:
            task = replay(parent, run_report, entries)
            if task is not None and run_report is report.runs[-1][0]:
                task.task_return_value = report.value
    except Exception as error:  # noqa: BLE001 whatever is wrong with telemetry, the flow gets its result
        losses.record("traces", "end_failed", "What a worker reports cannot be told in full", error=error)
    last = report.runs[-1][0] if report.runs else None
    if last is not None and last.span_id:
        call.future.span_context = _context(last)
    call.end(report.value, report.error, None if last is None else last.result)


def take_over(parent: Run | None, report: _worker.Report) -> None:
    """Let the flow have what the task has left behind there."""
    if parent is None or parent.flow is None:
        return
    state = parent.flow.flow_state
    state.data.update(report.changes)
    for line in report.lines:
        if not messages.is_created(line):
            state.log.append(line)
    for artifact in report.artifacts:
        state.artifacts.append(artifact)
    for result in report.results:
        state.results.append(result)


def _context(report: _worker.RunReport) -> SpanContext:
    return SpanContext(report.trace_id, report.span_id, True, TraceFlags(report.flags))


class _ReportedTask(Run):
    """The run of a task in another process."""

    __slots__ = ()
    kind = "task"

    @property
    def span_name(self) -> str:
        """The name of its span."""
        return semconv.TASK_SPAN + (self.task_name or "")


class _ReportedFlow(Run):
    """The run of a flow in another process."""

    __slots__ = ()
    kind = "flow"

    @property
    def span_name(self) -> str:
        """The name of its span."""
        return semconv.FLOW_SPAN + (self.flow_name or "")


def replay(parent: Run | None, report: _worker.RunReport, entries: list[Any]) -> Task | None:
    """Tell observers of a run, as if it had been here; return its task."""
    own = settings() if parent is None else parent.settings
    is_task, error = report.kind == "task", report.error
    task = task_of(report) if is_task else None
    kind = _ReportedTask if is_task else _ReportedFlow
    run: Run = kind(parent, own, task, report.task_name, report.task_run_id)
    run.flow_name, run.flow_run_id = report.flow_name or run.flow_name, report.flow_run_id or run.flow_run_id
    if parent is None and not report.flow_name:
        run.flow_name = run.flow_run_id = None
    run.started_ns = report.started_ns
    run.clock = clock.perf_counter() - report.duration
    run.duration = report.duration
    run.ending = SUCCESS if report.is_reused else Ending(report.result, error)
    if report.span_id:
        run.span = NonRecordingSpan(_context(report))
    if parent is None or run.flow_run_id != parent.flow_run_id:  # of a flow inside the task, which is gone
        run.flow = None
    flow = run.flow
    if task is not None and flow is not None:
        task.task_flow = flow
        if own.add_task_to_self:
            flow.flow_state.executed_tasks.append(task)
    run.is_open = True
    observers.tell(observed.started, run)
    for entry in entries:
        observers.tell_entry(run, entry)
    run.is_closed, run.is_open, run.has_ended = True, False, True
    if error is not None and parent is not None and report.span_id:
        if parent.recorded is None:
            parent.recorded = {}
        parent.recorded[id(error)] = (error, run.span_name)
    observers.tell(observed.ended, run)
    return task


def task_of(report: _worker.RunReport) -> Task:
    """Return the ``Task`` of a run, as the flow keeps it."""
    task = Task(task_name=report.task_name or "", task_id=report.task_run_id or "")
    task.status, task.duration, task.started_ns = report.result, report.duration, report.started_ns
    task.task_error = report.error
    return task


def lost(call: Any, error: BaseException, started_ns: int, cure: str = "look for a lack of memory") -> None:
    """End *call*, whose process was killed or crashed: its span, made here, says so."""
    call.context.run(end_lost, call, error, started_ns, cure)


def end_lost(call: Any, error: BaseException, started_ns: int, cure: str) -> None:
    """Do as ``lost``, in the context of *call*."""
    if call.session.is_given_up:  # which has killed it
        call.end_unrun(Ending(semconv.CANCELLATION, CancelledError()), started_ns)
        return
    trouble = WorkerLost(call.definition.name, f"{type_name(error)}: {safe_str(error, _TEXT)}".rstrip(": "), cure)
    call.end_unrun(Ending(semconv.ERROR, trouble, semconv.PROCESS_LOST), started_ns)
