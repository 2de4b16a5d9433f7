"""Read the events of a run from its span, for listeners that the SDK drives."""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan

from otelflow import semconv
from otelflow._core.inside.events import (
    Flow_Run__Event,
    Flow_Run__Event_Data,
    Flow_Run__Event_Type,
    message_data,
    new_event,
)

_LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


def started(span: ReadableSpan) -> list[Flow_Run__Event]:
    """Return the START event of a run's span, or nothing for a span of somebody else."""
    data = _data(span)
    if data is None:
        return []
    kind = Flow_Run__Event_Type.FLOW_START if data.task_run_id is None else Flow_Run__Event_Type.TASK_START
    return [new_event(kind, data, span.start_time)]


def ended(span: ReadableSpan) -> list[Flow_Run__Event]:
    """Return what the span kept of messages, artifacts and results, and the STOP event."""
    data = _data(span)
    if data is None:
        return []
    inside = [event for one in span.events if (event := _inside(one, data)) is not None]
    kind = Flow_Run__Event_Type.FLOW_STOP if data.task_run_id is None else Flow_Run__Event_Type.TASK_STOP
    return [*sorted(inside, key=lambda event: event.time_unix_nano), new_event(kind, _stop(span, data), span.end_time)]


def _data(span: ReadableSpan) -> Flow_Run__Event_Data | None:
    found = span.attributes or {}
    scope = span.instrumentation_scope
    if scope is None or scope.name != semconv.SCOPE:
        return None
    return Flow_Run__Event_Data(
        event_source=semconv.SCOPE,
        flow_name=_text(found, semconv.FLOW_NAME),
        flow_run_id=_text(found, semconv.FLOW_RUN_ID),
        task_name=_text(found, semconv.TASK_NAME),
        task_run_id=_text(found, semconv.TASK_RUN_ID),
        span_context=span.get_span_context(),
    )


def _text(found: Mapping[str, Any], key: str) -> str | None:
    value = found.get(key)
    return None if value is None else str(value)


def _stop(span: ReadableSpan, data: Flow_Run__Event_Data) -> Flow_Run__Event_Data:
    found = span.attributes or {}
    lasted = (span.end_time or 0) - (span.start_time or 0)
    return data._replace(
        result=_text(found, semconv.RUN_RESULT),
        duration=lasted / 1_000_000_000,
        error_type=_text(found, semconv.ERROR_TYPE),
        error_message=span.status.description or _exception_message(span),
    )


def _exception_message(span: ReadableSpan) -> str | None:
    for event in span.events:
        if event.name == semconv.EXCEPTION_EVENT:
            return _text(event.attributes or {}, semconv.EXCEPTION_MESSAGE)
    return None


def _inside(event: Event, data: Flow_Run__Event_Data) -> Flow_Run__Event | None:
    found = event.attributes or {}
    if event.name == semconv.MESSAGE_EVENT:
        level = _LEVELS.get(str(found.get(semconv.MESSAGE_SEVERITY)), 20)
        payload = {"message_data": message_data(level, str(found.get(semconv.MESSAGE_TEXT, "")))}
        kind, data = Flow_Run__Event_Type.FLOW_MESSAGE, data._replace(data=payload, log_level=level)
    elif event.name == semconv.ARTIFACT_EVENT:
        payload = {
            "artifact_data": {
                "description": found.get(semconv.ARTIFACT_DESCRIPTION),
                "key": found.get(semconv.ARTIFACT_KEY),
                "data": found.get(semconv.ARTIFACT_DATA),
                "type": found.get(semconv.ARTIFACT_TYPE),
            }
        }
        kind, data = Flow_Run__Event_Type.NEW_ARTIFACT, data._replace(data=payload)
    elif event.name == semconv.RESULT_EVENT:
        result = {
            "key": found.get(semconv.RESULT_KEY),
            "description": found.get(semconv.RESULT_DESCRIPTION),
        }
        kind, data = Flow_Run__Event_Type.NEW_RESULT, data._replace(data={"result_data": result})
    else:
        return None
    return new_event(kind, data, event.timestamp)
