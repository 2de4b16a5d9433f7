"""Read the events of a run from its span, for listeners that the SDK drives."""

import logging
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

_LEVELS: Final = logging.getLevelNamesMapping()


def events_at_start(span: ReadableSpan) -> list[Flow_Run__Event]:
    """Return the START event of a run's span, or nothing for any other."""
    data = _event_data(span)
    if data is None or not _is_run(span):
        return []
    kind = Flow_Run__Event_Type.FLOW_START if data.task_run_id is None else Flow_Run__Event_Type.TASK_START
    return [new_event(kind, data, span.start_time)]


def events_at_end(span: ReadableSpan) -> list[Flow_Run__Event]:
    """Return the messages, artifacts and results that the span kept, in order, and of a run the STOP event."""
    data = _event_data(span)
    if data is None:
        return []
    inside = [event for entry in span.events if (event := _event_inside(entry, data)) is not None]
    inside.sort(key=lambda event: event.time_unix_nano)
    return [*inside, _stop_event(span, data)] if _is_run(span) else inside


def _is_run(span: ReadableSpan) -> bool:
    """Tell whether *span* is that of a flow or a task, and not of something inside: an attempt, a map."""
    attributes = span.attributes or {}
    return semconv.ATTEMPT_NUMBER not in attributes and semconv.TASK_MAP_SIZE not in attributes


def _stop_event(span: ReadableSpan, data: Flow_Run__Event_Data) -> Flow_Run__Event:
    attributes = span.attributes or {}
    exceptions = (event.attributes or {} for event in span.events if event.name == semconv.EXCEPTION_EVENT)
    # The status names the span that raised the error first.
    description = (span.status.description or "").removeprefix(f"{attributes.get(semconv.FLOW_FAILED_IN)}: ")
    stop_data = data._replace(
        result=_text(attributes, semconv.RUN_RESULT),
        duration=max(0, (span.end_time or 0) - (span.start_time or 0)) / 1_000_000_000,
        error_type=_text(attributes, semconv.ERROR_TYPE),
        # Of a run that was cancelled, or that may fail, the status says nothing, and the exception does.
        error_message=description or _text(next(exceptions, {}), semconv.EXCEPTION_MESSAGE),
    )
    kind = Flow_Run__Event_Type.FLOW_STOP if data.task_run_id is None else Flow_Run__Event_Type.TASK_STOP
    return new_event(kind, stop_data, span.end_time)


def _event_data(span: ReadableSpan) -> Flow_Run__Event_Data | None:
    attributes = span.attributes or {}
    scope = span.instrumentation_scope
    if scope is None or scope.name != semconv.SCOPE:
        return None
    return Flow_Run__Event_Data(
        event_source=semconv.SCOPE,
        flow_name=_text(attributes, semconv.FLOW_NAME),
        flow_run_id=_text(attributes, semconv.FLOW_RUN_ID),
        task_name=_text(attributes, semconv.TASK_NAME),
        task_run_id=_text(attributes, semconv.TASK_RUN_ID),
        span_context=span.get_span_context(),
    )


def _text(attributes: Mapping[str, Any], key: str) -> str | None:
    value = attributes.get(key)
    return None if value is None else str(value)


def _event_inside(entry: Event, data: Flow_Run__Event_Data) -> Flow_Run__Event | None:
    """Return the event that an *entry* of a span was made from, or None for an entry that no listener hears of."""
    attributes = entry.attributes or {}
    if entry.name == semconv.MESSAGE_EVENT:
        level = _LEVELS.get(str(attributes.get(semconv.MESSAGE_SEVERITY)), logging.INFO)
        message = {"message_data": message_data(level, str(attributes.get(semconv.MESSAGE_TEXT, "")))}
        kind, data = Flow_Run__Event_Type.FLOW_MESSAGE, data._replace(data=message, log_level=level)
    elif entry.name == semconv.ARTIFACT_EVENT:
        artifact = {
            "description": attributes.get(semconv.ARTIFACT_DESCRIPTION),
            "key": attributes.get(semconv.ARTIFACT_KEY),
            "data": attributes.get(semconv.ARTIFACT_DATA),
            "type": attributes.get(semconv.ARTIFACT_TYPE),
        }
        kind, data = Flow_Run__Event_Type.NEW_ARTIFACT, data._replace(data={"artifact_data": artifact})
    elif entry.name == semconv.RESULT_EVENT:
        result = {"key": attributes.get(semconv.RESULT_KEY), "description": attributes.get(semconv.RESULT_DESCRIPTION)}
        kind, data = Flow_Run__Event_Type.NEW_RESULT, data._replace(data={"result_data": result})
    else:
        return None
    return new_event(kind, data, entry.timestamp)
