"""What a runner does for tasks in other processes: it sends orders, and does in the flow what their reports tell."""

import pickle
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otelflow import semconv
from otelflow._core.flows.future_arguments import resolved_arguments
from otelflow._core.flows.task import Task, count_failures
from otelflow._core.inside import messages
from otelflow._core.policies import holding
from otelflow._core.process import clock, losses, program, provider
from otelflow._core.process.ids import process_id
from otelflow._core.process.settings import settings
from otelflow._core.process.settings_table import SETTINGS_OF_TASKS
from otelflow._core.runs import observers
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import SUCCESS, Ending
from otelflow._core.runs.observers import observed
from otelflow._core.runs.run import Run
from otelflow._core.text.portable import portable
from otelflow._core.text.safe_str import comes_from_outside, safe_str, type_name
from otelflow.errors import NotPortable, ResultNotStorable, WorkerLost
from otelflow.runners import _pickling, _reports, _stops, _tallies, _worker

_TEXT: Final = 300

Finished = Callable[[], None]


def order_of(call: Any) -> bytes:
    """Return *call* as it travels. Raises NotPortable."""
    # In a copy: who cancels it meanwhile ends it in its own.
    return call.context.copy().run(make_order, call)  # type: ignore[no-any-return]  # it is what the next function returns


def make_order(call: Any) -> bytes:
    """Do as ``order_of``, in the context of *call*."""
    definition = call.definition
    run = current_run()
    flow = None if run is None else run.flow
    carrier: dict[str, str] = {}
    _worker.CARRIER.inject(carrier)
    span_contexts = [future.span_context for future in call.upstream if future.span_context is not None]
    args, kwargs = resolved_arguments(definition.name, call.args, call.kwargs)
    call.stop = _stops.Stop()
    order = _worker.Order(
        function=function_of(call.session, definition),
        args=args,
        kwargs=kwargs,
        carrier=carrier,
        links=[(context.trace_id, context.span_id, int(context.trace_flags)) for context in span_contexts],
        parameters={} if call.group is None else {semconv.TASK_MAP_INDEX: call.index},
        flow_name=None if run is None else run.flow_name,
        flow_id=None if run is None else run.flow_run_id,
        flow_config=None if flow is None else flow.flow_state.config,
        data={} if flow is None else portable(flow.flow_state.data),
        dependencies={} if flow is None else portable(dict(flow.task_dependencies())),
        settings=settings_of_tasks(),
        records_spans=records_spans(),
        sender=process_id(),
        progress=progress_of(call, run),
        limits=holding.names_held(),
        program=program.program_name(),
        flow_parameters=flow_parameters(run),
        stop_path=call.stop.path,
    )
    try:
        return _pickling.dumps_whole(order)
    except BaseException as error:  # foreign __reduce__, which may raise anything
        if comes_from_outside(error):
            raise
        raise NotPortable(definition.name, *obstacle(order, error)) from None


def settings_of_tasks() -> dict[str, Any]:
    """Return the settings with which a task runs elsewhere; the folders that are not named are those of the worker."""
    in_force = settings()
    return {
        name: getattr(in_force, name)
        for name, setting in SETTINGS_OF_TASKS.items()
        if not setting.is_path or in_force.origin(name) != "default"
    }


def progress_of(call: Any, run: Run | None) -> Any:
    """Return what a worker must know of how far the flow has come, if that is kept."""
    checkpoints = sys.modules.get("otelflow._core.policies.checkpoints")  # without it, no flow keeps anything
    if checkpoints is None:
        return None
    try:
        args, kwargs = resolved_arguments(call.definition.name, call.args, call.kwargs)
        return checkpoints.call_to_send(run, call.definition, args, kwargs)
    except Exception:  # noqa: BLE001 inputs that make no key, or do not fit: the worker says so
        return None


def flow_parameters(run: Run | None) -> Any:
    """Return what stands for the parameters of the flow of *run*, or why nothing does; None where nobody asks."""
    cache_keys = sys.modules.get("otelflow._core.policies.cache_keys")
    if cache_keys is None:  # no task is cached
        return None
    try:
        return cache_keys.flow_parameters(run)
    except ResultNotStorable as error:
        return error
    except Exception as error:  # noqa: BLE001 what a user's class does when it is looked at: the task runs all the same
        return ResultNotStorable("", f"cannot be looked at: {type_name(error)}")


def records_spans() -> bool:
    """Tell whether a task that is submitted here is to be recorded."""
    context = trace.get_current_span().get_span_context()
    return provider.span_maker() is not None and (not context.is_valid or context.trace_flags.sampled)


def function_of(session: Any, definition: Any) -> bytes:
    """Return the function of a task as it travels, made once for each flow run. Raises NotPortable."""
    entry = session.functions.get(id(definition))
    if entry is None:
        is_main = getattr(definition.target, "__module__", None) == "__main__"
        travels_whole = _pickling.has_cloudpickle() and (is_main or not definition.is_importable)
        pair = (definition.target, dict(definition.options)) if travels_whole else (definition.decorated, None)
        try:
            entry = session.functions[id(definition)] = definition, _pickling.dumps_whole(pair)
        except Exception as error:  # noqa: BLE001 what a function closes over
            reason = f"its function cannot be sent ({safe_str(error, _TEXT)})"
            cure = "define it at the top of a module, or pip install 'otelflow[processes]'"
            raise NotPortable(definition.name, reason, cure) from None
    text: bytes = entry[1]
    return text


def obstacle(order: _worker.Order, error: BaseException) -> tuple[str, str]:
    """Return what of *order* cannot travel, and the cure."""
    parts = {f"argument {place}": value for place, value in enumerate(order.args, 1)}
    parts |= {f"{name}=": value for name, value in order.kwargs.items()}
    for name, value in parts.items():
        try:
            _pickling.dumps_whole(value)
        except BaseException as trouble:  # as above
            if comes_from_outside(trouble):
                raise
            return f"{name} is a {type_name(value)}, which cannot be sent", "send what pickle takes"
    return f"it cannot be sent ({safe_str(error, _TEXT)})", "send what pickle takes"


def take_report(call: Any, pickled: bytes) -> None:
    """End *call* with the report that came: what it says happens in the flow."""
    try:
        report: _reports.Report | str = pickle.loads(pickled)  # noqa: S301 a process that this one has started sent it
    except BaseException as error:  # foreign classes, which may leave with sys.exit(); who waits must not wait for ever
        reason = f"its report cannot be read here ({type_name(error)}: {safe_str(error, _TEXT)})"
        trouble = NotPortable(call.definition.name, reason, "return and raise what this process can import, too")
        call.context.run(call.end_unrun, Ending(semconv.ERROR, trouble))
        # Ctrl-C comes to the main thread; that of an executor must not end by what a class of the user's raises.
        if threading.current_thread() is threading.main_thread() and comes_from_outside(error):
            raise
        return
    if isinstance(report, str):
        reason = f"its arguments or its flow's data cannot be read there ({report})"
        trouble = NotPortable(call.definition.name, reason, "send what that process can import, too")
        call.context.run(call.end_unrun, Ending(semconv.ERROR, trouble))
    elif not report.runs and report.error is not None:  # such as a function that cannot be imported there
        call.context.run(call.end_unrun, Ending(semconv.ERROR, report.error))
    else:
        call.context.run(apply_report, call, report)


def apply_report(call: Any, report: _reports.Report) -> None:
    """Do as ``take_report``, in the context of *call*."""
    parent = current_run()
    flow_run = call.session.flow_run
    try:
        take_over(parent, report)
        if flow_run is not None and report.failed_tasks:
            count_failures(flow_run, report.failed_tasks)
        if report.spans:
            from otelflow.runners import _spans  # noqa: PLC0415 only where spans are recorded

            _spans.adopt(report.spans, report.process_id)
        if parent is not None and parent.made_spans is not None:
            for _ in range(number_of_spans(report)):
                next(parent.made_spans)
        if report.counts is not None:
            _tallies.count(report.counts)
        replay_all(call, parent, report)
    except Exception as error:  # noqa: BLE001 whatever is wrong with telemetry, the flow gets its result
        losses.record("traces", "end_failed", "What a worker reports cannot be told in full", error=error)
    last = report.runs[-1][0] if report.runs else None
    if last is not None and last.span_id:
        call.future.span_context = _context(last)
    call.end(report.value, report.error, None if last is None else last.result)


def replay_all(call: Any, parent: Run | None, report: _reports.Report) -> None:
    """Let the runs of *report* be runs of the flow."""
    for run_report, entries in report.runs:
        sent = (call, report.value) if run_report is report.runs[-1][0] else None
        replay(parent, run_report, entries, sent, is_told=report.is_told)
    if parent is not None and not report.is_told:
        for entry in report.late_entries:
            observers.tell_entry(parent, entry)


def number_of_spans(report: _reports.Report) -> int:
    """Return how many spans the task has made there; where they are made at once, it is one for each run."""
    if not report.is_told:
        return len(report.spans)
    runs = [run for task_run, _ in report.runs for run in (task_run, *task_run.attempts)]
    return sum(run.span_id != 0 for run in runs)


def take_over(parent: Run | None, report: _reports.Report) -> None:
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


def _context(report: _reports.RunReport) -> SpanContext:
    return SpanContext(report.trace_id, report.span_id, True, TraceFlags(report.flags))


class _ReportedTask(Run):
    """The run of a task in another process."""

    __slots__ = ()
    kind = "task"

    def span_name(self) -> str:
        """Return the name of its span."""
        return semconv.TASK_SPAN + (self.task_name or "")


class _ReportedFlow(Run):
    """The run of a flow in another process."""

    __slots__ = ()
    kind = "flow"

    def span_name(self) -> str:
        """Return the name of its span."""
        return semconv.FLOW_SPAN + (self.flow_name or "")


class _ReportedAttempt(Run):
    """An attempt of a run in another process."""

    __slots__ = ("attempt",)

    def __init__(self, owner: Run, attempt: int) -> None:
        super().__init__(owner, owner.settings, owner.task, owner.task_name, owner.task_run_id)
        self.attempt = attempt

    def span_name(self) -> str:
        """Return the name of its span."""
        return semconv.ATTEMPT_SPAN + (self.task_name or self.flow_name or "")


def replay(
    parent: Run | None,
    report: _reports.RunReport,
    entries: list[Any],
    sent: tuple[Any, Any] | None,
    *,
    is_told: bool,
) -> None:
    """Make a run of *report*, and tell observers of it as if it had been here, unless they were told: it was.

    *sent* are its call and its value, if it was sent from here.
    """
    run = run_of(parent, report)
    task, hooks = run.task, None
    if sent is not None:
        call, task.task_return_value = sent
        task.task_args, task.task_kwargs = resolved_arguments(call.definition.name, call.args, call.kwargs)
        hooks = None if is_told else call.definition.hooks
    run.is_open = True
    if not is_told:
        tell_start(run, hooks, report.attempts, entries)
    run.is_closed, run.is_open, run.has_ended = True, False, True
    if task is not None:
        task.status, task.duration, task.task_error = report.result, report.duration, report.error
    if report.error is not None and parent is not None and report.span_id:
        if parent.recorded is None:
            parent.recorded = {}
        parent.recorded[id(report.error)] = (report.error, run.span_name())
    if hooks is not None:
        hooks.ended(run)
    if not is_told:
        observers.tell(observed.ended, run)


def tell_start(run: Run, hooks: Any, attempts: list[_reports.RunReport], entries: list[Any]) -> None:
    """Tell observers of everything about *run* but its end."""
    observers.tell(observed.started, run)
    if hooks is not None:
        hooks.begun(run)
    for number, report in enumerate(attempts, 1):
        attempt = _ReportedAttempt(run, number)
        write_report(attempt, report)
        observers.tell(observed.started, attempt)
        observers.tell(observed.ended, attempt)
    for entry in entries:
        observers.tell_entry(run, entry)


def run_of(parent: Run | None, report: _reports.RunReport) -> Run:
    """Return the run that *report* tells of."""
    own = settings() if parent is None else parent.settings
    task = None
    if report.kind == "task":
        task = Task(task_name=report.task_name or "", task_id=report.task_run_id or "")
        task.status, task.started_ns = semconv.RUNNING, report.started_ns
    kind = _ReportedFlow if task is None else _ReportedTask
    run: Run = kind(parent, own, task, report.task_name, report.task_run_id)
    run.flow_name, run.flow_run_id = report.flow_name or run.flow_name, report.flow_run_id or run.flow_run_id
    if parent is None and not report.flow_name:
        run.flow_name = run.flow_run_id = None
    if parent is None or run.flow_run_id != parent.flow_run_id:  # of a flow inside the task, which is gone
        run.flow = run.flow_state = None
    if task is not None and run.flow is not None:
        task.flow_reference = run.flow_state.reference
        if own.add_task_to_self:
            run.flow_state.executed_tasks.append(task)
    write_report(run, report)
    return run


def write_report(run: Run, report: _reports.RunReport) -> None:
    """Write into *run* what the engine would have written."""
    run.started_ns = report.started_ns
    run.clock = clock.perf_counter() - report.duration
    run.duration = report.duration
    run.ended_ns = report.started_ns + round(report.duration * 1e9)
    run.ending = SUCCESS if report.is_reused else Ending(report.result, report.error)
    if report.span_id:
        run.span = NonRecordingSpan(_context(report))


def end_lost_call(call: Any, error: BaseException, started_ns: int, cure: str = "look for a lack of memory") -> None:
    """End *call*, whose process was killed or crashed: its span, made here, says so."""
    call.context.run(end_lost, call, error, started_ns, cure)


def end_lost(call: Any, error: BaseException, started_ns: int, cure: str) -> None:
    """Do as ``end_lost_call``, in the context of *call*."""
    if call.session.is_given_up:  # which has killed it
        call.end_unrun(Ending(semconv.CANCELLATION, CancelledError()), started_ns)
        return
    # What libraries guess about it fills lines; what they know stands in the first sentence, and in the exit codes.
    text = safe_str(error, _TEXT)
    codes = re.search(r"exit codes? of .*", text)
    sentence = re.split(r"\.\s|\n", text.strip(), maxsplit=1)[0].rstrip(".")
    reason = "; ".join([sentence, *([codes[0].rstrip(".")] if codes and codes[0] not in sentence else ())])
    trouble = WorkerLost(call.definition.name, f"{type_name(error)}: {reason}".rstrip(": "), cure)
    call.end_unrun(Ending(semconv.ERROR, trouble, semconv.PROCESS_LOST), started_ns)
