"""What a segment holds, from an offset on, and the request that is made of it."""

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status, TracesData
from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan

from otelflow import semconv
from otelflow._core.process.files import Folder
from otelflow_exporters._store.records import LARGEST_RECORD, Segment, is_note, note, spans_of

#: What a segment ends with whose process went on, or ended as it should: no run of it is lost
CLOSED: Final = note(b"closed")

_PIECE: Final = 1024 * 1024
_LARGEST_PIECE: Final = LARGEST_RECORD + 64

_Key = tuple[bytes, str]


class Item(NamedTuple):
    """One record of a segment: where it ends, and its spans that have ended."""

    end: int
    traces: TracesData
    spans: int


class Piece(NamedTuple):
    """Some records that follow each other, where they end, and how many bytes among them hold no record."""

    items: list[Item]
    end: int
    unreadable: int


def read_piece(folder: Folder, name: str, offset: int, *, is_finished: bool) -> Piece:
    """Return the records of the segment *name* from *offset* on, some of them; none at its end.

    The last record of a segment that is not *is_finished* may be half there: it is left for later.
    """
    descriptor = folder.open(name, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        content = os.pread(descriptor, _PIECE, offset)
        items = _items(content, offset)
        if not items and len(content) < size - offset:
            content = os.pread(descriptor, _LARGEST_PIECE, offset)
            items = _items(content, offset)
    finally:
        os.close(descriptor)
    end = items[-1].end if items else offset
    if is_finished and not items:
        return Piece([], offset + len(content), len(content))
    return Piece(items, end, 0)


def _items(content: bytes, offset: int) -> list[Item]:
    items = []
    for record in Segment(content).records():
        traces = record.traces
        if any(is_note(span) for span in spans_of(traces)):  # what has only started is not sent
            traces = TracesData()
            for resource_spans, scope_spans, span in _spans_in(record.traces):
                if not is_note(span):
                    Request.add_to(traces, resource_spans, scope_spans, span)
        items.append(Item(offset + record.end, traces, sum(1 for _ in spans_of(traces))))
    return items


def _spans_in(traces: TracesData) -> Iterable[tuple[ResourceSpans, ScopeSpans, StoredSpan]]:
    for resource_spans in traces.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield resource_spans, scope_spans, span


class Request:
    """An ``ExportTraceServiceRequest``, in which each resource and each scope stands once.

    On the wire it is the same as ``TracesData``.
    """

    def __init__(self) -> None:
        self._traces = TracesData()
        self._resources: dict[_Key, ResourceSpans] = {}
        self._scopes: dict[tuple[_Key, _Key], ScopeSpans] = {}

    def add(self, traces: TracesData) -> None:
        """Add all spans of *traces*."""
        for resource_spans in traces.resource_spans:
            resource_key = resource_spans.resource.SerializeToString(), resource_spans.schema_url
            resource = self._resources.get(resource_key)
            if resource is None:
                resource = self._resources[resource_key] = self._traces.resource_spans.add()
                resource.resource.CopyFrom(resource_spans.resource)
                resource.schema_url = resource_spans.schema_url
            for scope_spans in resource_spans.scope_spans:
                scope_key = scope_spans.scope.SerializeToString(), scope_spans.schema_url
                scope = self._scopes.get((resource_key, scope_key))
                if scope is None:
                    scope = self._scopes[resource_key, scope_key] = resource.scope_spans.add()
                    scope.scope.CopyFrom(scope_spans.scope)
                    scope.schema_url = scope_spans.schema_url
                scope.spans.extend(scope_spans.spans)

    def encoded(self) -> bytes:
        """Return it as bytes."""
        return self._traces.SerializeToString()

    @staticmethod
    def add_to(traces: TracesData, resource_spans: ResourceSpans, scope_spans: ScopeSpans, span: StoredSpan) -> None:
        """Add *span*, with the resource and the scope that it has in another message."""
        resource = traces.resource_spans.add(resource=resource_spans.resource, schema_url=resource_spans.schema_url)
        resource.scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url, spans=[span])


def lost_spans(content: bytes, last_sign: int) -> TracesData:
    """Return the spans that had started and not ended when their process was lost, as they are to be reported.

    *content* is the last segment of that process, *last_sign* when it was last alive, in nanoseconds since the epoch.
    """
    lost = TracesData()
    if content.endswith(CLOSED):
        return lost
    started: dict[bytes, tuple[ResourceSpans, ScopeSpans, StoredSpan]] = {}
    ended: set[bytes] = set()
    for record in Segment(content).records():
        for resource_spans, scope_spans, span in _spans_in(record.traces):
            if is_note(span):
                started[span.span_id] = resource_spans, scope_spans, span
            else:
                ended.add(span.span_id)
    for span_id, (resource_spans, scope_spans, span) in started.items():
        if span_id in ended:
            continue
        span.end_time_unix_nano = max(last_sign, span.start_time_unix_nano)
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = "the process was lost"
        attributes = {attribute.key for attribute in span.attributes}
        if semconv.RUN_RESULT not in attributes and attributes & {semconv.FLOW_NAME, semconv.TASK_NAME}:
            span.attributes.add(key=semconv.RUN_RESULT).value.string_value = semconv.ERROR
        span.attributes.add(key=semconv.ERROR_TYPE).value.string_value = semconv.PROCESS_LOST
        Request.add_to(lost, resource_spans, scope_spans, span)
    return lost
