"""Read the records of a segment from an offset on, and make requests of their bytes as they are, without decoding."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status, TracesData
from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan
from opentelemetry.sdk.trace import Event, ReadableSpan

from otelflow import semconv
from otelflow._core.process.files import Folder
from otelflow_exporters._otlp.encoder import SPAN_ID, TRACE_ID
from otelflow_exporters._otlp.varints import field, read_varint
from otelflow_exporters._store.records import (
    LARGEST_RECORD,
    TRACE_ID_BYTES,
    Segment,
    is_note,
    note,
    note_in,
    parsed,
)

#: What a segment ends with whose process went on, or ended as it should: no run of it is lost
CLOSED: Final = note(b"closed")

_PIECE: Final = 1024 * 1024
_LARGEST_PIECE: Final = LARGEST_RECORD + 64
# Tags of the fields of ``TracesData``, ``ResourceSpans`` and ``ScopeSpans``: what is described, its parts, its schema
_FIRST: Final = 0x0A
_SECOND: Final = 0x12
_THIRD: Final = 0x1A
_SPAN_ID_AT: Final = 18
# Of how many lengths it is remembered how a body of that length began, and up to which one: what is longer is rare
_LENGTHS_KEPT: Final = 500
_LONGEST_KEPT: Final = 4_096
_NO_END: Final = b"\x41" + bytes(8)


class Part(NamedTuple):
    """Spans of one resource and scope: the fields around them, before and after, and those that they are themselves."""

    resource: tuple[bytes, bytes]
    scope: tuple[bytes, bytes]
    spans: bytes


class Item(NamedTuple):
    """One record of a segment: where it ends, and its *spans*: how many have ended, or how many items it has else."""

    end: int
    parts: list[Part]
    spans: int


class Chunk(NamedTuple):
    """Some records that follow each other, where they end, and in how many places among them there is no record."""

    items: list[Item]
    end: int
    unreadable: int


# What the classes themselves do, without a call in between: each span makes some.
_new_part: Final[Callable[[tuple[Any, Any, bytes]], Part]] = functools.partial(tuple.__new__, Part)
_new_item: Final[Callable[[tuple[int, list[Part], int]], Item]] = functools.partial(tuple.__new__, Item)

#: Returns what is to be sent of a record's body that ends at that place; None if there is nothing of that kind in it
Read = Callable[[bytes, int], Item | None]


def read_chunk(folder: Folder, name: str, read: Read, offset: int, *, is_finished: bool) -> Chunk:
    """Return the records of the segment *name* from *offset* on, some of them; none at its end.

    The last record of a segment that is not *is_finished* may be half there: it is left for later.
    """
    descriptor = folder.open(name, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        content = os.pread(descriptor, _PIECE, offset)
        items, unreadable = _items(content, read, offset)
        if not items and len(content) < size - offset:
            content = os.pread(descriptor, _LARGEST_PIECE, offset)
            items, unreadable = _items(content, read, offset)
    finally:
        os.close(descriptor)
    if is_finished and not items:
        return Chunk([], offset + len(content), int(bool(content)))
    return Chunk(items, items[-1].end if items else offset, unreadable)


def read_range(folder: Folder, name: str, read: Read, start: int, end: int) -> list[Item]:
    """Return what is to be sent of a part of the segment *name*; nothing if that is gone, or cannot be read."""
    items: list[Item] = []
    while start < end:
        try:
            piece = read_chunk(folder, name, read, start, is_finished=True)
        except OSError:
            break
        if not piece.items:
            break
        items += [item for item in piece.items if item.end <= end and item.spans]
        start = piece.end
    return items


def _items(content: bytes, read: Read, offset: int) -> tuple[list[Item], int]:
    """Return the items of *content*, and in how many places there is none; what has nothing to send ends with the next.

    Half of the records only say that a span has started: an item for each would be half of the work.
    """
    items, unreadable, position = [], 0, 0
    for beginning, start, fields_end, end in Segment(content).bodies():
        item = read(content[start:fields_end], offset + end)
        unreadable += (beginning > position) + (item is None)
        position = end
        if item is not None and item.parts:
            items.append(item)
    if position and (not items or items[-1].end < offset + position):
        items.append(Item(offset + position, [], 0))
    return items, unreadable


def item_of(body: bytes, end: int) -> Item | None:
    """Return what is to be sent of a record's *body*, which ends at *end*; None if it is no traces.

    What has only started, and what was forgotten, is not sent.
    """
    if note_in(body) is not None:
        return _new_item((end, [], 0))
    part = _part_of(body)
    if part is not None:
        return _new_item((end, [part], 1))
    traces = parsed(body)
    return None if traces is None else item_of_traces(traces, end)


def live_item_of(body: bytes, end: int) -> Item | None:
    """Return what is to be sent of a record's *body* to a receiver that merges spans by id: also that one has started.

    It has no end then, is no span that can be lost, and comes again with what has happened in it.
    """
    text = note_in(body)
    traces = None if text is None else parsed(text)
    if traces is None:
        return item_of(body, end)
    return Item(end, [part_around(*parts) for parts in _spans_in(traces)], 0)


def item_of_traces(traces: TracesData, end: int) -> Item:
    """Return what is to be sent of *traces*, each span on its own, as if a record held them that ends at *end*."""
    parts = [
        part_around(resource_spans, scope_spans, span)
        for resource_spans, scope_spans, span in _spans_in(traces)
        if not is_note(span)
    ]
    return Item(end, parts, len(parts))


def part_around(of_resource: Any, of_scope: Any, item: Message) -> Part:
    """Return *item* as it stands in these messages of OTLP, such as ``ResourceSpans`` and ``ScopeSpans``.

    The messages of all signals have the same fields: what is described, its parts, its schema.
    """
    resource = field(_FIRST, of_resource.resource.SerializeToString())
    scope = field(_FIRST, of_scope.scope.SerializeToString())
    schemas = [
        field(_THIRD, schema_url.encode()) if schema_url else b""
        for schema_url in (of_resource.schema_url, of_scope.schema_url)
    ]
    return Part((resource, schemas[0]), (scope, schemas[1]), field(_SECOND, item.SerializeToString()))


def _part_of(body: bytes) -> Part | None:
    """Return the one span of *body* if it lies there as our encoder writes it; None leaves it to a real parser."""
    layouts = _layouts(len(body))
    for beginning, scope_end, span_end, around in layouts:
        trace_id = len(beginning)
        if (
            body.startswith(beginning)
            and body.startswith(SPAN_ID, trace_id + TRACE_ID_BYTES)
            and body.endswith(around.scope[1] + around.resource[1])
            and body.find(_NO_END, trace_id, span_end) < 0
        ):
            return _new_part((around.resource, around.scope, body[scope_end:span_end]))
    try:
        resource_spans, end = _sized(body, 0, _FIRST)
        resource, resource_end = _sized(body, resource_spans, _FIRST)
        scope_spans, scope_spans_end = _sized(body, resource_end, _SECOND)
        scope, scope_end = _sized(body, scope_spans, _FIRST)
        span, span_end = _sized(body, scope_end, _SECOND)
        span_id = span + _SPAN_ID_AT
        is_usual = (
            end == len(body)
            and resource <= resource_end <= end
            and scope_spans_end <= end
            and scope <= scope_end
            and span_end <= scope_spans_end
            and body[span : span + 2] == TRACE_ID
            and body[span_id : span_id + 2] == SPAN_ID
            # Nothing but a schema follows.
            and (scope_spans_end == end or _sized(body, scope_spans_end, _THIRD)[1] == end)
            and (span_end == scope_spans_end or _sized(body, span_end, _THIRD)[1] == scope_spans_end)
            and body.find(_NO_END, span, span_end) < 0
        )
    except (ValueError, IndexError):
        return None
    if not is_usual:
        return None
    part = Part(
        (body[resource_spans:resource_end], body[scope_spans_end:end]),
        (body[scope_spans:scope_end], body[span_end:scope_spans_end]),
        body[scope_end:span_end],
    )
    if end <= _LONGEST_KEPT:
        layouts[:] = [(body[: span + len(TRACE_ID)], scope_end, span_end, part._replace(spans=b""))]
    return part


@functools.lru_cache(_LENGTHS_KEPT)
def _layouts(_: int) -> "list[tuple[bytes, int, int, Part]]":
    """Return how the last body of this length began, where its span lay, and what was around: all that is to be read.

    Nearly every next body of that length begins so, too: then all lengths in it are the same.
    """
    return []


def _sized(content: bytes, position: int, tag: int) -> tuple[int, int]:
    """Return where the content of the field at *position* begins and ends. Raises ValueError if it has another tag."""
    if content[position] != tag:
        raise ValueError("another field")
    size = read_varint(content, position + 1, len(content))
    if size is None:
        raise ValueError("a length that does not end")
    return size[1], size[1] + size[0]


def request_of(items: Iterable[Item]) -> bytes:
    """Return an ``ExportTraceServiceRequest``, in which each resource and each scope stands once.

    On the wire it is the same as ``TracesData``.
    """
    resources: dict[tuple[bytes, bytes], dict[tuple[bytes, bytes], list[bytes]]] = {}
    for item in items:
        for resource, scope, spans in item.parts:
            resources.setdefault(resource, {}).setdefault(scope, []).append(spans)
    fields = []
    for (resource_head, resource_tail), scopes in resources.items():
        inner = [field(_SECOND, b"".join((head, *spans, tail))) for (head, tail), spans in scopes.items()]
        fields.append(field(_FIRST, b"".join((resource_head, *inner, resource_tail))))
    return b"".join(fields)


def _spans_in(traces: TracesData) -> Iterator[tuple[ResourceSpans, ScopeSpans, StoredSpan]]:
    for resource_spans in traces.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield resource_spans, scope_spans, span


def start_record(encoded: bytes) -> bytes:
    """Return the record that says that a span has started, and what is known of it: no reader takes it for a span."""
    return note(encoded)


def with_events(span: ReadableSpan, events: Sequence[Event]) -> ReadableSpan:
    """Return what *span* would be if these *events* were on it, too."""
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=(*span.events, *events),
        links=span.links,
        kind=span.kind,
        start_time=span.start_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def open_spans(content: bytes) -> list[TracesData]:
    """Return what had started and not ended when the last record of a segment was written: each span on its own."""
    if content.endswith(CLOSED):
        return []
    started: dict[bytes, TracesData] = {}
    for record in Segment(content).bodies():
        body = content[record.start : record.fields_end]
        text = note_in(body)
        traces = parsed(body if text is None else text)
        for resource_spans, scope_spans, span in _spans_in(traces or TracesData()):
            started.pop(span.span_id, None)
            if is_note(span):  # one that comes later says more
                alone = started[span.span_id] = TracesData()
                resource = alone.resource_spans.add(
                    resource=resource_spans.resource, schema_url=resource_spans.schema_url
                )
                resource.scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url, spans=[span])
    return list(started.values())


def lost_spans(content: bytes, last_sign: int) -> list[Item]:
    """Return the spans that had started and not ended when their process was lost, as they are to be reported.

    *content* is the last segment of that process, *last_sign* when it was last alive, in nanoseconds since the epoch.
    """
    lost = []
    for traces in open_spans(content):
        for _, _, span in _spans_in(traces):
            span.end_time_unix_nano = max(last_sign, span.start_time_unix_nano)
            span.status.code = Status.STATUS_CODE_ERROR
            span.status.message = "the process was lost"
            attributes = {attribute.key for attribute in span.attributes}
            if semconv.RUN_RESULT not in attributes and attributes & {semconv.FLOW_NAME, semconv.TASK_NAME}:
                span.attributes.add(key=semconv.RUN_RESULT).value.string_value = semconv.ERROR
            span.attributes.add(key=semconv.ERROR_TYPE).value.string_value = semconv.PROCESS_LOST
        lost.append(item_of_traces(traces, 0))
    return lost
