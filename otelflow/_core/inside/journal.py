"""Where what happens inside a run is written: on its span, as log records, to listeners.

Span events are buffered until the run ends and then written so that the SDK, which keeps the last ones it gets, loses
messages first and the exception last. Log records go out at once. ``OTELFLOW_EVENTS`` is the switch.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from otelflow import semconv
from otelflow._core.inside import events
from otelflow._core.process import losses
from otelflow._core.process.settings import settings
from otelflow._core.runs import spans
from otelflow._core.runs.bounded import BoundedLog
from otelflow._core.runs.endings import Outcome, error_message, error_type
from otelflow._core.runs.run import Run

if TYPE_CHECKING:
    from otelflow._core.inside.artifacts import Artifact, Result
    from otelflow._core.inside.messages import Line

# Together they leave room for the user's own events among the 128 that the SDK keeps.
_MESSAGES: Final = (30, 30, 20)
_ARTIFACTS: Final = (10, 10, 4)
_RESULTS: Final = (4, 4, 0)

_NAMED: Final = frozenset(logging.getLevelNamesMapping().values())


def is_wanted(run: Run, event_type: events.Flow_Run__Event_Type) -> bool:
    """Tell whether an event of *run* is worth making: somebody listens, or the flow keeps its events."""
    return run.config.flow_data__capture_events or events.is_heard(event_type)


def announce(
    run: Run,
    event_type: events.Flow_Run__Event_Type,
    data: Mapping[str, Any] | None = None,
    *,
    time_ns: int | None = None,
    log_level: int = 20,
    outcome: Outcome | None = None,
    duration: float | None = None,
) -> None:
    """Tell listeners of something in *run*; call it only when it ``is_wanted``."""
    error = outcome.error if outcome is not None else None
    parent = run.parent
    event_data = events.Flow_Run__Event_Data(
        data if data is not None else {},
        "otelflow",
        run.flow_name,
        run.flow_run_id,
        log_level,
        run.task_name,
        run.task_run_id,
        parent.run_id if parent is not None else None,
        spans.context_of(run.span),
        outcome.result if outcome is not None else None,
        duration,
        error,
        error_type(error) if error is not None else None,
        error_message(error, settings().value_limit) if error is not None else None,
    )
    event = events.new_event(event_type, event_data, time_ns)
    if run.config.flow_data__capture_events and run.flow is not None:
        run.flow.captured_events.append(event)
    events.send(event)


def message(run: Run, line: "Line") -> None:
    """Write a message of *run*."""
    if settings().events != "log" and run.is_recording:
        if run.messages is None:
            run.messages = BoundedLog(*_MESSAGES, is_error)
        run.messages.append(line)
    if settings().events != "span":
        _log_record(run, None, line.time_ns, line.level, line.plain_text, {})


def leave_out_messages(run: Run, count: int) -> None:
    """Count *count* messages of *run* as left out."""
    if run.is_recording:
        if run.messages is None:
            run.messages = BoundedLog(*_MESSAGES, is_error)
        run.messages.leave_out(count)


def artifact(run: Run, item: "Artifact") -> None:
    """Write an artifact of *run*; the newest state of one that is updated takes the place of the older."""
    if settings().events != "log" and run.is_recording:
        if run.artifacts is None:
            run.artifacts = BoundedLog(*_ARTIFACTS, lambda artifact: artifact.type == "error")
        if not any(known is item for known in run.artifacts):
            run.artifacts.append(item)
    if settings().events != "span":
        _log_record(run, semconv.ARTIFACT_EVENT, item.time_ns, 20, item.description or "", item.event_attributes())


def result(run: Run, item: "Result") -> None:
    """Write a result of *run*."""
    if settings().events != "log" and run.is_recording:
        if run.results is None:
            run.results = BoundedLog(*_RESULTS, lambda _: False)
        run.results.append(item)
    if settings().events != "span":
        _log_record(run, semconv.RESULT_EVENT, item.time_ns, 20, item.description, item.event_attributes())


def write_events(run: Run) -> None:
    """Write on the span what was buffered, the dispensable first, and how much was left out."""
    if run.messages is not None:
        for line in run.messages:
            values = {semconv.MESSAGE_TEXT: line.plain_text, semconv.MESSAGE_SEVERITY: severity(line.level)}
            run.span.add_event(semconv.MESSAGE_EVENT, values, line.time_ns)
        _say_omitted(run, semconv.MESSAGES_OMITTED, run.messages)
    if run.artifacts is not None:
        for artifact in run.artifacts:
            run.span.add_event(semconv.ARTIFACT_EVENT, artifact.event_attributes(), artifact.time_ns)
        _say_omitted(run, semconv.ARTIFACTS_OMITTED, run.artifacts)
    if run.results is not None:
        for result in run.results:
            run.span.add_event(semconv.RESULT_EVENT, result.event_attributes(), result.time_ns)
        _say_omitted(run, semconv.RESULTS_OMITTED, run.results)


def _say_omitted(run: Run, key: str, kept: BoundedLog[Any]) -> None:
    if kept.omitted:
        run.span.set_attribute(key, kept.omitted)


def is_error(line: "Line") -> bool:
    """Tell whether *line* is kept when others are left out."""
    return line.level >= logging.ERROR


def severity(level: int) -> str:
    """Return the name of a logging level, or of the standard one below it."""
    return logging.getLevelName(level if level in _NAMED else max(10, min(50, level // 10 * 10)))


def _log_record(
    run: Run, event_name: str | None, time_ns: int, level: int, body: str, values: Mapping[str, Any]
) -> None:
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger  # noqa: PLC0415 only when asked for

    record = LogRecord(
        timestamp=time_ns,
        observed_timestamp=time_ns,
        context=run.context if run.is_recording else None,
        severity_text=severity(level),
        severity_number=SeverityNumber(max(1, min(21, level // 10 * 4 + 1))),
        body=body,
        attributes={**run.span_attributes(), **values},
        event_name=event_name,
    )
    try:
        get_logger(semconv.SCOPE).emit(record)
    except Exception as error:  # noqa: BLE001 log record processors are foreign code
        losses.record("logs", "emit_failed", "A log record could not be emitted; the run goes on", error=error)
