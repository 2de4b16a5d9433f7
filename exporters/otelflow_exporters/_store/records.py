"""The store's file format: segments of length-delimited OTLP protobuf.

A record is a varint length and an ``opentelemetry.proto.trace.v1.TracesData`` of that length, whose last field is a
checksum. What was forgotten is overwritten in place by filler, so offsets never move under a process that is writing.
OTLP has neither field, so every OTLP reader skips them.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

SUFFIX: Final = ".otlp"
TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8

_RESOURCE_SPANS_TAG: Final = 0x0A  # field 1, length-delimited: all that TracesData has
_FILLER_TAG: Final = 0x7A  # field 15, length-delimited
_CHECKSUM_TAG: Final = b"\x75"  # field 14, four bytes
_CHECKSUM_BYTES: Final = 5
_MORE: Final = 0x80
_LONGEST_VARINT: Final = 5


class Record(NamedTuple):
    """One readable record and where its body lies in the segment."""

    start: int
    end: int
    traces: TracesData


class Segment:
    """The content of one segment; ``unreadable`` counts the bytes that hold no record."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.unreadable = 0

    def records(self, containing: bytes = b"") -> Iterator[Record]:
        """Yield every readable record that holds the bytes *containing*, wherever damage lies between them."""
        position = 0
        while position < len(self.content):
            body = record_at(self.content, position)
            if body is not None and self.content.find(containing, *body) < 0:
                position = body[1]
                continue
            traces = None if body is None else parsed(self.content[slice(*body)])
            if body is None or traces is None:
                found = self._next_record(position + 1)
                self.unreadable += found - position
                position = found
                continue
            yield Record(*body, traces)
            position = body[1]

    def _next_record(self, position: int) -> int:
        """Return where the next plausible record begins, at or after *position*."""
        first = position
        while (tag := self.content.find(_RESOURCE_SPANS_TAG, position)) >= 0:
            for header in headers_before(self.content, tag, first):
                body = record_at(self.content, header)
                if body is not None and body[0] == tag:
                    return header
            position = tag + 1
        return len(self.content)


def framed(body: bytes) -> bytes:
    """Return *body* as one record."""
    return varint(len(body) + _CHECKSUM_BYTES) + body + checksum(body)


def checksum(body: bytes) -> bytes:
    """Return the field that makes sure of *body*.

    Without it a text that lost some bytes would swallow the beginning of the next record, and look right.
    """
    return _CHECKSUM_TAG + zlib.crc32(body).to_bytes(4, "little")


def varint(number: int, width: int = 1) -> bytes:
    """Return *number* in at least *width* bytes of base 128."""
    encoded = bytearray()
    while number >= _MORE or len(encoded) < width - 1:
        encoded.append(number & 0x7F | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(content: bytes, position: int, end: int) -> tuple[int, int] | None:
    """Return the number at *position* and where it stops, or None when it does not stop in time."""
    number = 0
    for index in range(position, min(position + _LONGEST_VARINT, end)):
        byte = content[index]
        number |= (byte & 0x7F) << (7 * (index - position))
        if byte < _MORE:
            return number, index + 1
    return None


def record_at(content: bytes, position: int) -> tuple[int, int] | None:
    """Return the start and end of the record's body at *position*, or None when there is none."""
    header = read_varint(content, position, len(content))
    if header is None:
        return None
    length, start = header
    end = start + length
    if length <= _CHECKSUM_BYTES or end > len(content):
        return None
    fields_end = end - _CHECKSUM_BYTES
    # The cheap look at the fields spares most wrong places a checksum over half of the segment.
    if not _are_fields(content, start, fields_end):
        return None
    return (start, end) if content[fields_end:end] == checksum(content[start:fields_end]) else None


def _are_fields(content: bytes, position: int, end: int) -> bool:
    """Return whether the top-level fields follow each other exactly until *end*."""
    while position < end:
        if content[position] not in (_RESOURCE_SPANS_TAG, _FILLER_TAG):
            return False
        size = read_varint(content, position + 1, end)
        if size is None:
            return False
        position = size[1] + size[0]
    return position == end


def headers_before(content: bytes, tag: int, first: int) -> Iterator[int]:
    """Yield the positions, not before *first*, of the lengths that could stand right before *tag*."""
    position = tag - 1
    if position < first or content[position] >= _MORE:
        return
    yield position
    while position > first and tag - position < _LONGEST_VARINT and content[position - 1] >= _MORE:
        position -= 1
        yield position


def parsed(body: bytes) -> TracesData | None:
    """Return *body* as traces when it has a span with true ids or was forgotten; else None."""
    traces = TracesData()
    try:
        traces.ParseFromString(body)
    except DecodeError:
        return None
    if not traces.resource_spans and body[:1] == bytes([_FILLER_TAG]):
        return traces
    return traces if any(True for _ in spans_of(traces)) else None


def spans_of(traces: TracesData) -> Iterator[StoredSpan]:
    """Yield the spans that have true ids."""
    for resource_spans in traces.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if len(span.trace_id) == TRACE_ID_BYTES and len(span.span_id) == SPAN_ID_BYTES:
                    yield span


def without(record: Record, is_forgotten: Callable[[StoredSpan], bool]) -> bytes:
    """Return the record's body without the forgotten spans, filled up to the same length."""
    kept = TracesData()
    for resource_spans in record.traces.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            remaining = [span for span in scope_spans.spans if not is_forgotten(span)]
            del scope_spans.spans[:]
            scope_spans.spans.extend(remaining)
        if any(scope_spans.spans for scope_spans in resource_spans.scope_spans):
            kept.resource_spans.append(resource_spans)
    body = kept.SerializeToString()
    body += _filler(record.end - record.start - _CHECKSUM_BYTES - len(body))
    return body + checksum(body)


def _filler(length: int) -> bytes:
    """Return an unknown field of exactly *length* bytes; a span takes more than the 2 that this needs."""
    width = 1 if length < _MORE else _LONGEST_VARINT
    size = length - 1 - width
    return bytes([_FILLER_TAG]) + varint(size, width) + bytes(size)
