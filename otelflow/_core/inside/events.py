"""What listeners are told: the seven types of events, their data, and the payload of each."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final, Self

from opentelemetry.trace import SpanContext

from otelflow._core.process import clock, forks
from otelflow._core.process.ids import new_id
from otelflow._core.text.safe_str import without_ansi

# One for all: it is held for no longer than it takes to make an id.
_lock: Final = forks.new_lock()


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


class _Record:
    """Plain data in named fields, which are equal when all fields are; with the helpers of a NamedTuple."""

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]] = ()

    def _asdict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields}

    def _replace(self, **fields: Any) -> Self:
        return type(self)(**{**self._asdict(), **fields})

    def __len__(self) -> int:
        return len(self._fields)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._asdict().values())

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __eq__(self, record: object) -> bool:
        return isinstance(record, type(self)) and self._asdict() == record._asdict()

    __hash__ = None  # type: ignore[assignment]  # as of anything that can be assigned to

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"


class Flow_Run__Event_Data(_Record):
    """What an event tells.

    *data* is the payload of the event's type: ``message_data`` {log_level, message, message_text}, ``artifact_data``
    {description, key, data, type}, ``result_data`` {key, description}; otherwise empty.
    *event_source* (str) is ``"otelflow"``. *flow_name*, *flow_run_id*, *task_name*, *task_run_id* (str) say whose run
    it is, *parent_run_id* (str) whose inside; each is None where there is none. *log_level* is as ``logging`` counts.
    *span_context* has the ids of the run's span, or is None when there is none.

    Only a STOP event has *result* (one of ``semconv.RESULTS``) and *duration* (seconds), and after a failure *error*,
    the exception itself (None when the event was made from a span alone), *error_type*, its
    qualified name, and *error_message*, its redacted text.

    >>> from otelflow import Flow_Run__Event_Data
    >>> Flow_Run__Event_Data(flow_name="nightly", result="success", duration=1.5).duration
    1.5
    """

    _fields = (
        "data",
        "event_source",
        "flow_name",
        "flow_run_id",
        "log_level",
        "task_name",
        "task_run_id",
        "parent_run_id",
        "span_context",
        "result",
        "duration",
        "error",
        "error_type",
        "error_message",
    )
    __slots__ = _fields

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        event_source: str = "",
        flow_name: str | None = None,
        flow_run_id: str | None = None,
        log_level: int = 20,
        task_name: str | None = None,
        task_run_id: str | None = None,
        parent_run_id: str | None = None,
        span_context: SpanContext | None = None,
        result: str | None = None,
        duration: float | None = None,
        error: BaseException | None = None,
        error_type: str | None = None,
        error_message: str | None = None,
    ) -> None:
        self.data: Mapping[str, Any] = {} if data is None else data
        self.event_source = event_source
        self.flow_name = flow_name
        self.flow_run_id = flow_run_id
        self.log_level = log_level
        self.task_name = task_name
        self.task_run_id = task_run_id
        self.parent_run_id = parent_run_id
        self.span_context = span_context
        self.result = result
        self.duration = duration
        self.error = error
        self.error_type = error_type
        self.error_message = error_message

    def json(self) -> dict[str, Any]:
        """Return the fields as plain data: all but ``span_context`` and ``error``, of which the texts are there.

        >>> Flow_Run__Event_Data(flow_name="nightly").json()["flow_name"]
        'nightly'
        """
        from otelflow._core.text.plain import plain  # noqa: PLC0415 few events become JSON

        fields = {name: value for name, value in self._asdict().items() if name not in ("span_context", "error")}
        return {name: plain(value) for name, value in fields.items()}

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a copy in another process has."""
        from otelflow._core.text.portable import portable  # noqa: PLC0415 few events travel

        return None, {**self._asdict(), "data": dict(self.data), "error": portable(self.error)}


class Flow_Run__Event(_Record):
    """One event: *event_type*, *event_data*, *time_unix_nano* (nanoseconds since the epoch), and *event_id* (a UUID).

    In the place of *time_unix_nano* it takes *timestamp*, in milliseconds since the epoch.

    >>> from otelflow import Flow_Run__Event, Flow_Run__Event_Type
    >>> Flow_Run__Event(Flow_Run__Event_Type.FLOW_STOP, time_unix_nano=1_700_000_000_000_000_000).timestamp
    1700000000000
    """

    _fields = ("event_type", "event_data", "time_unix_nano", "event_id")
    __slots__ = ("_data", "_id", "_make_data", "event_type", "time_unix_nano")

    _data: Flow_Run__Event_Data | None
    _make_data: Callable[[], Flow_Run__Event_Data] | None

    def __init__(
        self,
        event_type: Flow_Run__Event_Type = Flow_Run__Event_Type.FLOW_MESSAGE,
        event_data: Flow_Run__Event_Data | None = None,
        time_unix_nano: int | None = None,
        event_id: str = "",
        timestamp: int | None = None,
    ) -> None:
        self.event_type = event_type
        self.event_data = Flow_Run__Event_Data() if event_data is None else event_data
        self.time_unix_nano = clock.time_ns() if time_unix_nano is None else time_unix_nano
        if timestamp is not None and time_unix_nano is None:
            self.timestamp = timestamp
        self._id = event_id

    @property
    def event_data(self) -> Flow_Run__Event_Data:
        """What the event tells."""
        make = self._make_data  # looked at first: another thread lets go of it after it has made the data
        if self._data is None:
            self._data = Flow_Run__Event_Data() if make is None else make()
            self._make_data = None
        return self._data

    @event_data.setter
    def event_data(self, event_data: Flow_Run__Event_Data) -> None:
        self._data, self._make_data = event_data, None

    @property
    def event_id(self) -> str:
        """The id of the event, which no other has."""
        if not self._id:  # few listeners read it, and to make one takes as long as all the rest of an event
            with _lock:
                if not self._id:
                    head, tail = new_id(""), new_id("")
                    self._id = f"{head[:8]}-{head[8:12]}-4{head[13:]}-8{tail[1:4]}-{tail[4:]}"
        return self._id

    @event_id.setter
    def event_id(self, event_id: str) -> None:
        self._id = event_id

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a copy has: the same id, too."""
        values = {name: getattr(self, name) for name in self._fields}
        return None, {**values, "_id": values.pop("event_id")}

    @property
    def timestamp(self) -> int:
        """When it happened, in milliseconds since the epoch."""
        return self.time_unix_nano // 1_000_000

    @timestamp.setter
    def timestamp(self, milliseconds: int) -> None:
        self.time_unix_nano = milliseconds * 1_000_000

    def json(self) -> dict[str, Any]:
        """Return the event as plain data: a dict of what JSON knows.

        >>> sorted(Flow_Run__Event().json())
        ['event_data', 'event_id', 'event_type', 'timestamp']
        """
        return {
            "event_id": self.event_id,
            "event_type": str(self.event_type),
            "timestamp": self.timestamp,
            "event_data": self.event_data.json(),
        }


_new_object: Final = object.__new__


def new_event(
    event_type: Flow_Run__Event_Type,
    event_data: Flow_Run__Event_Data | None,
    time_unix_nano: int | None = None,
    make_data: Callable[[], Flow_Run__Event_Data] | None = None,
) -> Flow_Run__Event:
    """Return an event of now (or of *time_unix_nano*) with an id of its own; *make_data* is called by who reads it."""
    event: Flow_Run__Event = _new_object(Flow_Run__Event)  # every run makes some: its __init__ takes twice as long
    event.event_type = event_type
    event._data, event._make_data = event_data, make_data  # noqa: SLF001 as __init__ does
    event.time_unix_nano = time_unix_nano or clock.time_ns()
    event._id = ""  # noqa: SLF001 as above
    return event


def message_data(log_level: int, message: str) -> dict[str, Any]:
    """Return the payload of a message: the text with and without its ANSI colours."""
    return {"log_level": log_level, "message": message, "message_text": without_ansi(message)}


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
