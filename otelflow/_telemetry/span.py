"""The span of a run: a span of the SDK to everybody, of which the parts that few runs need are made when they are read.

Whatever is not written here is inherited, so it is the SDK's own code that answers. That code reads private parts of
the span: each is a slot, a constant, or made at its first look. ``sdk_spans`` sees to it that it finds them all.
"""

import copy
import operator
from _thread import RLock
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace import _Span as SdkSpan  # as the SDK's tracer makes them
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from otelflow import semconv
from otelflow._core.process import clock
from otelflow._telemetry.processors import Processors

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Tracer
    from opentelemetry.sdk.trace.id_generator import IdGenerator

_UNSET: Final = Status(StatusCode.UNSET)
# What every SDK keeps as it is while texts may be long; a subclass of one of them may be anything.
_CLEAN: Final = frozenset({str, bool, int, float})
_TEXTS: Final = frozenset({str})


class Origin:
    """What the spans of one tracer have in common; there is *room* for so many attributes that need no care."""

    __slots__ = ("event_room", "limits", "processors", "room", "scope", "tracer")

    def __init__(self, tracer: "Tracer") -> None:
        limits = tracer._span_limits
        self.tracer: Final = tracer
        self.scope: Final = tracer._instrumentation_scope
        self.limits: Final = limits
        self.processors: Final = Processors(tracer.span_processor)
        self.room: Final = _room(limits.max_span_attributes, limits.max_span_attribute_length)
        self.event_room: Final = _room(limits.max_event_attributes, limits.max_attribute_length)

    def bounded(self, attributes: Mapping[str, Any] | None) -> BoundedAttributes:
        """Return *attributes* as the SDK keeps them, by its rules."""
        limits = self.limits
        bounded: Any = BoundedAttributes(
            limits.max_span_attributes, attributes, False, limits.max_span_attribute_length
        )
        bounded._lock = RLock()  # an older SDK's is one for which a signal handler would wait
        return bounded  # type: ignore[no-any-return]


def _room(most: int | None, longest: int | None) -> float:
    """Return for how many attributes there is room; 0 where texts are cut, which the SDK then does."""
    if longest is not None:
        return -1
    return float("inf") if most is None else most


class RunEvent(Event):
    """An event whose attributes need no care; they become the SDK's when somebody reads them."""

    _limits: Any
    _plain: dict[str, Any]

    def __init__(self, name: str, attributes: dict[str, Any], timestamp: int | None, limits: Any) -> None:
        self._name = name
        self._timestamp = clock.time_ns() if timestamp is None else timestamp
        self._plain = attributes
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        """Make what is not there yet."""
        if name != "_attributes":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        limits = self._limits
        bounded = BoundedAttributes(limits.max_event_attributes, None, True, limits.max_attribute_length)
        bounded._dict = self._plain
        return self.__dict__.setdefault("_attributes", bounded)


class _LazyPart:
    """A private part of the SDK's span that is made when somebody reads it; the span's *flag* is set to *value* then.

    It is kept in the span's own dictionary, where two threads that read at the same time get the same object.
    """

    def __init__(self, make: "Callable[[RunSpan], Any]", flag: str | None = None, *, value: bool = True) -> None:
        self._make = make
        self._flag = flag
        self._value = value

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, span: "RunSpan | None", owner: type) -> Any:
        if span is None:
            return self
        parts = span.__dict__
        if self._name not in parts:
            self._set_flag(span)  # first: another thread may write into the part at once
            parts.setdefault(self._name, self._make(span))
        return parts[self._name]

    def __set__(self, span: "RunSpan", part: Any) -> None:  # processors that redact do so
        span.__dict__[self._name] = part
        self._set_flag(span)

    def _set_flag(self, span: "RunSpan") -> None:
        if self._flag is not None:
            setattr(span, self._flag, self._value)


def _bounded(span: "RunSpan") -> BoundedAttributes:
    """Return the attributes of *span* as the SDK keeps them, around the same dictionary."""
    bounded = span._origin.bounded(None)
    bounded._dict = span._plain
    bounded._immutable = span._end_time is not None
    return bounded


def _list(most: int | None) -> Any:
    """Return a list of the SDK that a signal handler may write into while it is written into."""
    entries: Any = BoundedList(most)
    entries._lock = RLock()
    return entries


class RunSpan(SdkSpan):
    """A span of a run; its attributes are in a plain dictionary until somebody reads them."""

    __slots__ = (
        "_context",
        "_end_time",
        "_instrumentation_scope",  # every exporter asks for it
        "_is_plain",
        "_lock",
        "_name",
        "_origin",
        "_parent",
        "_plain",
        "_resource",
        "_start_time",
    )

    _context: SpanContext
    _is_plain: bool  # nobody has read or written the attributes but this class
    _lock: Any  # a re-entrant one, other than the SDK says
    _origin: Origin
    _plain: dict[str, Any]
    _resource: "Resource"
    _kind = SpanKind.INTERNAL
    _status = _UNSET
    _trace_config = None
    _record_exception = False
    _set_status_on_exception = False
    _record_end_metrics: Callable[[], None] | None = None
    _has_lists = False
    _is_rewritten = False  # an attribute does not stand any more where it stood
    _attributes: Any = _LazyPart(_bounded, "_is_plain", value=False)
    _events: Any = _LazyPart(lambda span: _list(span._origin.limits.max_events), "_has_lists")
    _links: Any = _LazyPart(lambda span: _list(span._origin.limits.max_links), "_has_lists")
    _instrumentation_info: Any = _LazyPart(lambda span: span._origin.tracer.instrumentation_info)
    _limits: Any = _LazyPart(lambda span: span._origin.limits)
    _sampler: Any = _LazyPart(lambda span: span._origin.tracer.sampler)
    _span_processor: Any = _LazyPart(lambda span: span._origin.tracer.span_processor)

    # What every span needs, by the shortest road

    context = property(operator.attrgetter("_context"))
    end_time = property(operator.attrgetter("_end_time"))
    instrumentation_scope = property(operator.attrgetter("_instrumentation_scope"))
    kind = property(operator.attrgetter("_kind"))
    name = property(operator.attrgetter("_name"))
    parent = property(operator.attrgetter("_parent"))
    resource = property(operator.attrgetter("_resource"))
    start_time = property(operator.attrgetter("_start_time"))
    status = property(operator.attrgetter("_status"))

    def get_span_context(self) -> SpanContext:
        """Return the span's ids and flags."""
        return self._context

    def set_attribute(self, key: Any, value: Any) -> None:
        """Set one attribute, as the SDK does; one that is set again comes last."""
        if type(key) is str and key and type(value) in _CLEAN:
            with self._lock:
                if self._is_plain and self._end_time is None:
                    plain = self._plain
                    if key in plain:
                        del plain[key]
                        self._is_rewritten = True
                    if len(plain) < self._origin.room:
                        plain[key] = value
                        return
        super().set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event, as the SDK does; *timestamp* is nanoseconds since the epoch."""
        origin = self._origin
        if (
            type(attributes) is dict
            and len(attributes) <= origin.event_room
            and _CLEAN.issuperset(map(type, attributes.values()))
            and _TEXTS.issuperset(map(type, attributes))
            and "" not in attributes
        ):
            self._add_event(RunEvent(name, attributes.copy(), timestamp, origin.limits))
        else:
            super().add_event(name, attributes, timestamp)

    def end_with(self, result: str, end_time: int, made_spans: int | None) -> None:
        """Write how the run ended, and of an outermost one how many spans it made, and end the span: all at once."""
        with self._lock:
            is_simple = (
                self._is_plain
                and self._end_time is None
                and semconv.RUN_RESULT not in self._plain
                and (made_spans is None or semconv.TELEMETRY_SPANS not in self._plain)
                and len(self._plain) + 1 < self._origin.room
                and self._record_end_metrics is None
            )
            if is_simple:
                self._plain[semconv.RUN_RESULT] = result
                if made_spans is not None:
                    self._plain[semconv.TELEMETRY_SPANS] = made_spans
                self._end_time = end_time
        if is_simple:
            self._origin.processors.ended(self)
            return
        self.set_attribute(semconv.RUN_RESULT, result)
        if made_spans is not None:
            self.set_attribute(semconv.TELEMETRY_SPANS, made_spans)
        self.end(end_time)

    def end(self, end_time: int | None = None) -> None:
        """End the span and tell its processors."""
        with self._lock:
            is_first = self._end_time is None
            if is_first:
                self._end_time = clock.time_ns() if end_time is None else end_time
                if not self._is_plain:
                    self._attributes._immutable = True
        if not is_first:
            super().end(end_time)  # which says that it has ended already
            return
        if self._record_end_metrics is not None:
            self._record_end_metrics()
        self._origin.processors.ended(self)

    # What exporters read

    @property
    def plain_attributes(self) -> Mapping[str, Any] | None:
        """The attributes of a span that starts now, for who reads them at once; None where the SDK keeps them."""
        return self._plain if self._is_plain else None

    def begun(self) -> tuple[Any, ...]:
        """Return what an encoder reads of a span that starts, which would take a call each.

        That is: context, parent, name, kind, start, attributes, resource, scope.
        """
        attributes = self._plain if self._is_plain else self.attributes
        return (
            *(self._context, self._parent, self._name, self._kind),
            *(self._start_time, attributes, self._resource, self._instrumentation_scope),
        )

    def ended_as_begun(self) -> tuple[Any, ...] | None:
        """Return what an encoder reads of a span that has ended, if its first attributes stand as when it started.

        That is: name, start, end, attributes, and whether there is nothing but these: no event, link or status.
        """
        if not self._is_plain or self._is_rewritten:
            return None
        is_all = not self._has_lists and self._status is _UNSET
        return self._name, self._start_time, self._end_time, self._plain, is_all

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes, read-only."""
        if self._is_plain and self._end_time is not None:
            return MappingProxyType(self._plain)
        return super().attributes  # type: ignore[return-value]  # the SDK's is never None

    @property
    def dropped_attributes(self) -> int:
        """How many attributes had no room."""
        return 0 if self._is_plain else super().dropped_attributes

    @property
    def events(self) -> Sequence[Event]:
        """The events, the oldest first."""
        return super().events if self._has_lists else ()

    @property
    def dropped_events(self) -> int:
        """How many events had no room."""
        return super().dropped_events if self._has_lists else 0

    @property
    def links(self) -> Sequence[Link]:
        """The links, the oldest first."""
        return super().links if self._has_lists else ()

    @property
    def dropped_links(self) -> int:
        """How many links had no room."""
        return super().dropped_links if self._has_lists else 0

    def __deepcopy__(self, memo: dict[int, Any]) -> ReadableSpan:
        """Return a copy of what the SDK gives to exporters, which can be copied where a span cannot."""
        readable = ReadableSpan(
            name=self._name,
            context=self._context,
            parent=self._parent,
            resource=self._resource,
            attributes=self._attributes,
            events=self._events,
            links=self._links,
            kind=self._kind,
            instrumentation_info=self._instrumentation_info,
            status=self._status,
            start_time=self._start_time,
            end_time=self._end_time,
            instrumentation_scope=self._instrumentation_scope,
        )
        return copy.deepcopy(readable, memo)


class DroppedTrace:
    """What the spans of one trace that is not sampled have in common; their ids are made when somebody reads them."""

    __slots__ = ("flags", "generator", "state", "trace_id")

    def __init__(self, generator: "IdGenerator", trace_id: int, flags: TraceFlags, state: TraceState) -> None:
        self.generator = generator
        self.trace_id = trace_id
        self.flags = flags
        self.state = state

    def span(self) -> "DroppedSpan":
        """Return a span of this trace."""
        span: DroppedSpan = object.__new__(DroppedSpan)
        span.trace = self
        return span


class _LateContext:
    def __get__(self, span: "DroppedSpan | None", owner: type) -> Any:
        if span is None:
            return self
        trace = span.trace
        # They are valid: a trace is one of these only if its generator is one that is known.
        ids = (trace.trace_id, trace.generator.generate_span_id(), False, trace.flags, trace.state, True)
        return span.__dict__.setdefault("_context", tuple.__new__(SpanContext, ids))


class DroppedSpan(NonRecordingSpan):
    """A span that nobody records, and that most often nobody asks for its ids."""

    __slots__ = ("trace",)

    trace: DroppedTrace
    _context: Any = _LateContext()
