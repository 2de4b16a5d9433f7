"""One small span for spans of a live program and for stored ones, so that one renderer draws both."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, SpanFlags, Status, TracesData
from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otelflow import semconv

SERVICE_NAME = "service.name"

Value: TypeAlias = "str | bool | int | float | bytes | list[Value] | dict[str, Value] | None"
Attributes: TypeAlias = Mapping[str, object]

_KINDS = {number: name.removeprefix("SPAN_KIND_").lower() for name, number in StoredSpan.SpanKind.items()}


class Event(NamedTuple):
    """Something that happened in a span."""

    name: str
    time: int
    attributes: Attributes


class Link(NamedTuple):
    """A pointer to a span, often in another trace."""

    trace_id: str
    span_id: str


class Span(NamedTuple):
    """One span: ids in hex, times in nanoseconds since 1970, the kind as a lower-case word.

    ``StoredTrace.spans`` returns them, ``print_trace`` and ``render_trace`` take them.

    Example:
        >>> span = StoredTraces().load("4bf9").spans[0]
        >>> f"{span.name} took {(span.end - span.start) / 1e9:.3f} s: {span.result}"
        'flow nightly took 1.250 s: success'

    """

    trace_id: str
    span_id: str
    parent_id: str
    is_parent_remote: bool
    name: str
    kind: str
    start: int
    end: int
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    is_error: bool
    status_message: str
    dropped_events: int
    service: str
    is_open: bool = False

    @property
    def is_local_root(self) -> bool:
        """Return whether nothing in this process is its parent."""
        return not self.parent_id or self.is_parent_remote

    @property
    def result(self) -> str:
        """Return how the run ended, or ``running``; a span of another program has only its status to tell."""
        if self.is_open:
            return semconv.RUNNING
        return result_of(self.attributes.get(semconv.RUN_RESULT), is_error=self.is_error)


def is_inside_run(name: str, attributes: Attributes) -> bool:
    """Return whether a span is a map's or an attempt's: the run around it tells what failed there, or caught it."""
    is_ours = semconv.FLOW_NAME in attributes or semconv.TASK_NAME in attributes
    return is_ours and name.startswith((semconv.MAP_SPAN, semconv.ATTEMPT_SPAN))


def result_of(recorded: object, *, is_error: bool) -> str:
    """Return the recorded result, else the one that follows from the status."""
    if isinstance(recorded, str) and recorded:
        return recorded
    return semconv.FAILURE if is_error else semconv.SUCCESS


def from_sdk(span: ReadableSpan) -> Span | None:
    """Return a live program's span, or None when it has no ids."""
    context, parent = span.context, span.parent
    if context is None:
        return None
    service = span.resource.attributes.get(SERVICE_NAME, "")
    start = span.start_time or 0
    return Span(
        trace_id=format(context.trace_id, "032x"),
        span_id=format(context.span_id, "016x"),
        parent_id="" if parent is None else format(parent.span_id, "016x"),
        is_parent_remote=parent is not None and parent.is_remote,
        name=span.name,
        kind=span.kind.name.lower(),
        start=start,
        end=max(span.end_time or start, start),  # a clock may have been set back
        attributes=span.attributes or {},
        events=tuple(Event(event.name, event.timestamp, event.attributes or {}) for event in span.events),
        links=tuple(
            Link(format(link.context.trace_id, "032x"), format(link.context.span_id, "016x")) for link in span.links
        ),
        is_error=span.status.status_code is StatusCode.ERROR,
        status_message=span.status.description or "",
        dropped_events=span.dropped_events,
        service=str(service),
        is_open=span.end_time is None,
    )


def from_otlp(traces: TracesData) -> list[Span]:
    """Return the spans of stored or received OTLP data."""
    spans = []
    for resource_spans in traces.resource_spans:
        service = service_of(resource_spans)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                start = span.start_time_unix_nano
                events = (Event(event.name, event.time_unix_nano, values(event.attributes)) for event in span.events)
                converted = Span(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    is_parent_remote=is_parent_remote(span),
                    name=span.name,
                    kind=_KINDS.get(span.kind, "internal"),
                    start=start,
                    end=max(span.end_time_unix_nano, start),
                    attributes=values(span.attributes),
                    events=tuple(events),
                    links=tuple(Link(link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    is_error=span.status.code == Status.STATUS_CODE_ERROR,
                    status_message=span.status.message,
                    dropped_events=span.dropped_events_count,
                    service=service,
                    is_open=span.end_time_unix_nano == 0,
                )
                spans.append(converted)
    return spans


def service_of(resource_spans: ResourceSpans) -> str:
    """Return the name of the service that the spans come from, or nothing."""
    for attribute in resource_spans.resource.attributes:
        if attribute.key == SERVICE_NAME:
            return attribute.value.string_value
    return ""


def values(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    """Return OTLP attributes as a plain dictionary."""
    return {pair.key: value_of(pair.value) for pair in pairs}


def value_of(value: AnyValue) -> Value:
    """Return one OTLP value as Python's own."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return values(value.kvlist_value.values)
    plain: Value = getattr(value, kind)
    return plain


def is_parent_remote(span: StoredSpan) -> bool:
    """Return whether the span's flags say that its parent is in another process."""
    return bool(span.flags & SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)


def from_any(spans: Iterable[ReadableSpan | Span]) -> Iterator[Span]:
    """Yield spans of either origin as the one that is rendered."""
    for span in spans:
        converted = from_sdk(span) if isinstance(span, ReadableSpan) else span
        if converted is not None:
            yield converted
