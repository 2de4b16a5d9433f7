"""What listeners are told: the seven types of events, their data, and the payload of each."""

import time
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from opentelemetry.trace import SpanContext

from otelflow._core.process.ids import new_id


class Flow_Run__Event_Type(StrEnum):
    """The seven things that can be heard about a run; each is a text, too.

    >>> from otelflow import Flow_Run__Event_Type
    >>> Flow_Run__Event_Type.TASK_STOP == "task_stop"
    True
    """

    FLOW_MESSAGE = "flow_message"
    FLOW_START = "flow_start"
    FLOW_STOP = "flow_stop"
    NEW_ARTIFACT = "new_artifact"
    NEW_RESULT = "new_result"
    TASK_START = "task_start"
    TASK_STOP = "task_stop"


class Flow_Run__Event_Data(NamedTuple):
    """What an event tells.

    *data* is the payload of the event's type: ``message_data`` {log_level, message, message_text}, ``artifact_data``
    {description, key, data, type}, ``result_data`` {key, description}; otherwise empty.
    *event_source* (str) is ``"otelflow"``. *flow_name*, *flow_run_id*, *task_name*, *task_run_id* (str) say whose run
    it is, *parent_run_id* (str) whose inside; each is None where there is none. *log_level* is as ``logging`` counts.
    *span_context* has the ids of the run's span, or is None when nobody makes one.

    Only a STOP event has *result* (one of ``semconv.RESULTS``) and *duration* (seconds), and after a failure *error*,
    the exception itself (None when the event was made from a span that somebody else ended), *error_type*, its
    qualified name, and *error_message*, its redacted text.

    >>> from otelflow import Flow_Run__Event_Data
    >>> Flow_Run__Event_Data(flow_name="nightly", result="success", duration=1.5).duration
    1.5
    """

    data: Mapping[str, Any] = MappingProxyType({})
    event_source: str = ""
    flow_name: str | None = None
    flow_run_id: str | None = None
    log_level: int = 20
    task_name: str | None = None
    task_run_id: str | None = None
    parent_run_id: str | None = None
    span_context: SpanContext | None = None
    result: str | None = None
    duration: float | None = None
    error: BaseException | None = None
    error_type: str | None = None
    error_message: str | None = None


class Flow_Run__Event(NamedTuple):
    """One event: *event_type*, *event_data*, *time_unix_nano* (nanoseconds since the epoch), and *event_id* (str).

    >>> from otelflow import Flow_Run__Event, Flow_Run__Event_Type
    >>> Flow_Run__Event(Flow_Run__Event_Type.FLOW_STOP, time_unix_nano=1_700_000_000_000_000_000).timestamp
    1700000000000
    """

    event_type: Flow_Run__Event_Type
    event_data: Flow_Run__Event_Data = Flow_Run__Event_Data()
    time_unix_nano: int = 0
    event_id: str = ""

    @property
    def timestamp(self) -> int:
        """When it happened, in milliseconds since the epoch."""
        return self.time_unix_nano // 1_000_000


def new_event(
    event_type: Flow_Run__Event_Type, event_data: Flow_Run__Event_Data, time_unix_nano: int | None = None
) -> Flow_Run__Event:
    """Return an event of now (or of *time_unix_nano*) with an id of its own."""
    return Flow_Run__Event(event_type, event_data, time_unix_nano or time.time_ns(), new_id(new_id("")))


def message_data(log_level: int, message: str) -> dict[str, Any]:
    """Return the payload of a message: the text with and without its ANSI colours."""
    return {"log_level": log_level, "message": message, "message_text": without_ansi(message)}


def without_ansi(text: str) -> str:
    """Return *text* without ANSI escape sequences."""
    if "\x1b" not in text:
        return text
    import re  # noqa: PLC0415 rarely needed

    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)


#: The method of a listener for each kind of event
HOOKS: Final = {
    Flow_Run__Event_Type.FLOW_START: "on_flow_start",
    Flow_Run__Event_Type.FLOW_STOP: "on_flow_stop",
    Flow_Run__Event_Type.TASK_START: "on_task_start",
    Flow_Run__Event_Type.TASK_STOP: "on_task_stop",
    Flow_Run__Event_Type.FLOW_MESSAGE: "on_message",
    Flow_Run__Event_Type.NEW_ARTIFACT: "on_artifact",
    Flow_Run__Event_Type.NEW_RESULT: "on_result",
}
