"""Spans that end in a worker: collected there, sent with the report, given to the provider of the flow's process."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace import _Span as SdkSpan  # as the SDK's tracer makes them
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

from otelflow._core.process import losses, provider
from otelflow._telemetry.id_generator import SystemIdGenerator

Ids = tuple[int, int, int, str, bool]


class SpanReport(NamedTuple):
    """One span, as it travels."""

    name: str
    ids: Ids
    parent: Ids | None
    kind: int
    status: tuple[int, str | None]
    start_time: int
    end_time: int
    attributes: dict[str, Any]
    #: Of each event and link last, how many attributes it had no room for
    events: list[tuple[str, dict[str, Any], int, int]]
    links: list[tuple[Ids, dict[str, Any], int]]
    scope: tuple[str, str | None, str | None]
    #: How many attributes, events and links it had no room for
    dropped: tuple[int, int, int]


def _ids(context: SpanContext) -> Ids:
    state = context.trace_state.to_header()
    return context.trace_id, context.span_id, int(context.trace_flags), state, context.is_remote


def _context(ids: Ids) -> SpanContext:
    trace_id, span_id, flags, state, is_remote = ids
    return SpanContext(trace_id, span_id, is_remote, TraceFlags(flags), TraceState.from_header([state]))


def report_of(span: ReadableSpan) -> SpanReport:
    """Return *span*, which has ended, as it travels."""
    scope: Any = span.instrumentation_scope
    return SpanReport(
        span.name,
        _ids(span.context),
        None if span.parent is None else _ids(span.parent),
        span.kind.value,
        (span.status.status_code.value, span.status.description),
        span.start_time or 0,
        span.end_time or 0,
        dict(span.attributes or {}),
        [
            (event.name, dict(event.attributes or {}), event.timestamp, event.dropped_attributes)
            for event in span.events
        ],
        [(_ids(link.context), dict(link.attributes or {}), link.dropped_attributes) for link in span.links],
        ("", None, None) if scope is None else (scope.name, scope.version, scope.schema_url),
        (span.dropped_attributes, span.dropped_events, span.dropped_links),
    )


_current: Final[ContextVar[list[Any] | tuple[()] | None]] = ContextVar("otelflow_collected_spans", default=None)
#: Stands for a list where nobody wants spans
_UNWANTED: Final = ()


class Collector(SpanProcessor):
    """Keeps the spans of each order, also where several run at the same time: a span belongs where its parent does."""

    def __init__(self) -> None:
        self._lists: dict[int, list[Any]] = {}
        #: The ids of the lists of orders that run now
        self._open: set[int] = set()
        self._nobodys: list[Any] = []
        self._provider = TracerProvider(
            resource=Resource.get_empty(), id_generator=SystemIdGenerator(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(self)
        if type(trace.get_tracer_provider()) is trace.ProxyTracerProvider:
            trace.set_tracer_provider(self._provider)  # what else is instrumented there belongs to the task

    @contextlib.contextmanager
    def collecting(self, spans: list[Any]) -> Iterator[None]:
        """Put the spans of this context into *spans*."""
        token = _current.set(spans)
        self._open.add(id(spans))
        provider.use_provider(self._provider)
        try:
            yield
        finally:
            self._open.discard(id(spans))
            _current.reset(token)

    @contextlib.contextmanager
    def ignoring(self) -> Iterator[None]:
        """Take no span of this context: the process of its flow records none."""
        token = _current.set(_UNWANTED)
        try:
            yield
        finally:
            _current.reset(token)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Find out whose *span* is."""
        parent = span.parent
        spans: list[Any] | tuple[()] | None = None if parent is None else self._lists.get(parent.span_id)
        spans = _current.get() if spans is None else spans
        if isinstance(spans, tuple):
            return
        if spans is None and self._open:  # as in a plain thread of a task: nothing says whose it is
            spans = self._nobodys
        if spans is not None:
            self._lists[span.get_span_context().span_id] = spans

    def on_end(self, span: ReadableSpan) -> None:
        """Keep *span*, or count that no report takes it: its task has ended, or is not known."""
        spans = None if span.context is None else self._lists.pop(span.context.span_id, None)
        if spans is None:
            return
        if id(spans) in self._open:
            spans.append(report_of(span))
        else:
            losses.lost("traces", "not_reported")


def adopt(reports: list[SpanReport], process_id: int) -> None:
    """Give spans that have ended elsewhere to the provider in use, those that started first before the others."""
    for report in sorted(reports, key=lambda report: report.start_time):
        try:
            _adopt(report, process_id)
        except Exception as error:  # noqa: BLE001 processors are foreign code
            losses.record("traces", "end_failed", "A span of a worker could not be handed on", error=error)


def _adopt(report: SpanReport, process_id: int) -> None:
    tracer = provider.provider_in_use().get_tracer(*report.scope)
    if not isinstance(tracer, Tracer):
        losses.record("traces", "end_failed", "A span of a worker needs a provider of OpenTelemetry's SDK")
        return
    parent = None if report.parent is None else _context(report.parent)
    resource = tracer.resource
    if "process.pid" in resource.attributes:
        resource = resource.merge(Resource({"process.pid": process_id}))
    links = [Link(_context(ids), attributes) for ids, attributes, _ in report.links]
    span = SdkSpan(
        name=report.name,
        context=_context(report.ids),
        parent=parent,
        resource=resource,
        attributes=report.attributes,
        links=links,
        kind=SpanKind(report.kind),
        span_processor=tracer.span_processor,
        limits=tracer._span_limits,
        instrumentation_scope=tracer._instrumentation_scope,
    )
    around = Context() if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), Context())
    span.start(report.start_time, around)
    for link, (_, _, number) in zip(links, report.links, strict=True):
        _count_dropped(link, number)
    for name, attributes, timestamp, number in report.events:
        span.add_event(name, attributes, timestamp)
        if number and span.events:
            _count_dropped(span.events[-1], number)
    for pieces, number in zip((span._attributes, span._events, span._links), report.dropped, strict=True):
        pieces.dropped += number  # type: ignore[union-attr]  # the SDK's span has them in what counts
    code, description = report.status
    if code != StatusCode.UNSET.value:
        span.set_status(Status(StatusCode(code), description))
    span.end(report.end_time)


def _count_dropped(piece: Any, number: int) -> None:
    """Count *number* attributes more that *piece*, an event or a link, had no room for."""
    if number and hasattr(piece.attributes, "dropped"):  # the SDK's have them in what counts
        piece.attributes.dropped += number
