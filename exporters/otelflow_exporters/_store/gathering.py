"""Gather one trace from the records it is scattered over."""

from collections.abc import Mapping
from typing import TypeAlias

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData

from otelflow import semconv
from otelflow._core.process import clock
from otelflow_exporters._otlp.model import Span, from_otlp
from otelflow_exporters._store.records import is_note, spans_of
from otelflow_exporters._store.summaries import INCOMPLETE

_Origin: TypeAlias = tuple[bytes, str]


class TraceCollector:
    """The spans of one trace, with each resource and scope written once; or the notes that some are open."""

    def __init__(self, trace_id: bytes, *, of_notes: bool = False) -> None:
        self.trace_id = trace_id
        self.traces = TracesData()
        self._of_notes = of_notes
        self._resources: dict[_Origin, ResourceSpans] = {}
        self._scopes: dict[tuple[_Origin, _Origin], ScopeSpans] = {}

    def add(self, traces: TracesData) -> None:
        """Copy the spans that belong to the trace."""
        for resource_spans in traces.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                spans = [
                    span
                    for span in scope_spans.spans
                    if span.trace_id == self.trace_id and is_note(span) is self._of_notes
                ]
                if not spans:
                    continue
                origin = (resource_spans.resource.SerializeToString(), resource_spans.schema_url)
                if origin not in self._resources:
                    self._resources[origin] = self.traces.resource_spans.add(schema_url=resource_spans.schema_url)
                    self._resources[origin].resource.CopyFrom(resource_spans.resource)
                key = (origin, (scope_spans.scope.SerializeToString(), scope_spans.schema_url))
                if key not in self._scopes:
                    self._scopes[key] = self._resources[origin].scope_spans.add(schema_url=scope_spans.schema_url)
                    self._scopes[key].scope.CopyFrom(scope_spans.scope)
                self._scopes[key].spans.extend(spans)


def running_and_lost(
    collector: TraceCollector, notes: Mapping[bool, TraceCollector], last_end: int
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return the spans that are noted and have not ended: those that go on, and those whose process is gone."""
    ended = {span.span_id.hex() for span in spans_of(collector.traces)}
    running = {span.span_id: span for span in from_otlp(notes[True].traces) if span.span_id not in ended}
    lost = {
        span.span_id: span._replace(
            is_open=False, end=max(span.start, last_end), attributes={**span.attributes, semconv.RUN_RESULT: INCOMPLETE}
        )
        for span in from_otlp(notes[False].traces)
        if span.span_id not in ended and span.span_id not in running
    }
    now = clock.time_ns()
    return tuple(span._replace(end=max(span.start, now)) for span in running.values()), tuple(lost.values())
