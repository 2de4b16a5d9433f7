"""The store's file format: segments of length-delimited OTLP protobuf.

A record is a varint length and an ``opentelemetry.proto.trace.v1.TracesData`` of that length, whose last field is a
checksum. Forgotten spans are overwritten in place by filler, so offsets never move under a process that is writing.
OTLP has neither field, so every OTLP reader skips them.
"""

import functools
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow_exporters._otlp.varints import LONGEST_LENGTH, MORE, read_varint, varint, varints_before

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8

_RESOURCE_SPANS_TAG: Final = 0x0A  # field 1, length-delimited: all that TracesData has
_FILLER_TAG: Final = 0x7A  # field 15, length-delimited
_TAGS: Final = (_RESOURCE_SPANS_TAG, _FILLER_TAG)
_FILLER: Final = bytes((_FILLER_TAG,))
_CHECKSUM_TAG: Final = b"\x75"  # field 14, four bytes
#: How much of a record its checksum takes, at the end
CHECKSUM_BYTES: Final = 5
# The last byte of a record's length, if its first field and the first field in that one follow; or a note of a span.
_BEGINNING: Final = re.compile(
    rb"[\x00-\x7f](?=\x0a[\x80-\xff]{0,4}[\x00-\x7f][\x0a\x12\x1a]|\x7a[\x80-\xff]{0,4}[\x00-\x7f]\x0a)", re.DOTALL
)

# One unit of effort is about a microsecond: one place looked at, one field skipped, so many bytes of a checksum.
_LEAST_EFFORT: Final = 50_000
_BYTES_OF_EFFORT: Final = 8
_BYTES_OF_CHECKSUM: Final = 512
# How many bytes say all of where a usual record ends, and of how many such beginnings that is remembered
_BEGINNING_BYTES: Final = 5
_BEGINNINGS_KEPT: Final = 4_000

#: In bytes; the store writes nothing that is larger, and reads no further
LARGEST_RECORD: Final = 16 * 1024 * 1024
LARGEST_SEGMENT: Final = 64 * 1024 * 1024


class Record(NamedTuple):
    """One readable record and where its body lies in the segment."""

    start: int
    end: int
    traces: TracesData


class Body(NamedTuple):
    """One record with a right checksum: where it begins, its body starts, the fields in that end, and it ends."""

    beginning: int
    start: int
    fields_end: int
    end: int


# What the class itself does, without a call in between: each span has two.
_new_body: Final[Callable[[tuple[int, int, int, int]], Body]] = functools.partial(tuple.__new__, Body)


class Segment:
    """The content of one segment; ``unreadable`` counts the bytes that hold no record.

    Looking for the next record after damage takes effort that has a limit: content can be made in which every byte
    looks like the beginning of a record. The bytes behind the limit are unreadable.
    """

    def __init__(self, content: bytes, size: int = 0) -> None:
        self.content = content
        self.unreadable = 0
        # The bytes of the file that are not in *content*, because it is too large.
        self._rest = max(0, size - len(content))
        self._effort = _LEAST_EFFORT + len(content) // _BYTES_OF_EFFORT

    def records(self, containing: bytes = b"") -> Iterator[Record]:
        """Yield every readable record that holds the bytes *containing*, wherever damage lies between them."""
        position = 0
        while position < len(self.content):
            body = self._body_at(position)
            if body is not None and self.content.find(containing, *body) < 0:
                position = body[1]
                continue
            traces = None if body is None else parsed(self.content[slice(*body)])
            if body is not None and traces is None:
                # Only content that was made to deceive has a right checksum and no spans.
                self._effort -= body[1] - body[0]
            if body is None or traces is None:
                following = self._next_record(position + 1)
                self.unreadable += following - position
                position = following
                continue
            yield Record(*body, traces)
            position = body[1]
        self.unreadable += self._rest

    def bodies(self) -> Iterator[Body]:
        """Yield the place of each record that has a right checksum, without a look at its content."""
        position = 0
        while position < len(self.content):
            body = self._body_at(position)
            if body is None:
                following = self._next_record(position + 1)
                self.unreadable += following - position
                position = following
                continue
            start, end = body
            yield _new_body((position, start, end - CHECKSUM_BYTES, end))
            position = end
        self.unreadable += self._rest

    def _next_record(self, position: int) -> int:
        """Return where the next plausible record begins, at or after *position*."""
        for match in _BEGINNING.finditer(self.content, position):
            tag = match.end()
            for header in varints_before(self.content, tag, position):
                body = self._body_at(header)
                if body is not None and body[0] == tag:
                    return header
            if self._effort < 0:
                break
        return len(self.content)

    def _body_at(self, position: int) -> tuple[int, int] | None:
        """Return the start and end of the record's body at *position*, or None when there is none."""
        content = self.content
        self._effort -= 1
        usual = _usual_place(content[position : position + _BEGINNING_BYTES])
        if usual is not None:
            start, length = position + usual[0], usual[1]
        else:
            header = read_varint(content, position, len(content))
            if header is None:
                return None
            length, start = header
        end = start + length
        if not CHECKSUM_BYTES < length <= LARGEST_RECORD or end > len(content):
            return None
        # The cheap look at the fields, which must follow each other exactly until the checksum, spares most wrong
        # places a checksum over half of the segment.
        fields_end = end - CHECKSUM_BYTES
        field = start if usual is None else fields_end
        while field < fields_end:
            self._effort -= 1
            if content[field] not in _TAGS or self._effort < 0:
                return None
            size = read_varint(content, field + 1, fields_end)
            if size is None:
                return None
            field = size[1] + size[0]
        if field != fields_end or self._effort < 0:
            return None
        self._effort -= length // _BYTES_OF_CHECKSUM
        number = zlib.crc32(content[start:fields_end]).to_bytes(4, "little")  # as by checksum(), see framed()
        return (start, end) if content[fields_end:end] == _CHECKSUM_TAG + number else None


@functools.lru_cache(_BEGINNINGS_KEPT)
def _usual_place(beginning: bytes) -> tuple[int, int] | None:
    """Return where the body of a record starts that has this *beginning*, and its length, if it has one field only.

    So nearly all have, and begin alike: all that one reads of the next is its checksum.
    """
    header = read_varint(beginning, 0, len(beginning))
    if header is None:
        return None
    length, start = header
    if start >= len(beginning) or beginning[start] not in _TAGS:
        return None
    size = read_varint(beginning, start + 1, len(beginning))
    is_alone = size is not None and size[1] + size[0] == start + length - CHECKSUM_BYTES
    return (start, length) if is_alone else None


def is_segment(content: bytes) -> bool:
    """Return whether the store wrote *content*, which is a whole file: it holds a record, half of one, or nothing."""
    if not content.strip(b"\0"):  # a process was lost before its first record reached the disk
        return True
    if next(Segment(content).records(), None) is not None:
        return True
    # A process was lost while it wrote its first record.
    header = read_varint(content, 0, len(content))
    if header is None or header[1] + header[0] <= len(content) or not _BEGINNING.match(content, header[1] - 1):
        return False
    size = read_varint(content, header[1] + 1, len(content))
    return size is not None and size[0] < header[0]


def note(text: bytes) -> bytes:
    """Return a record without spans that holds *text*; OTLP readers skip it, as they skip what was forgotten."""
    return framed(_FILLER + varint(len(text)) + text)


def note_in(body: bytes) -> bytes | None:
    """Return the text of a note, which is the whole *body* of its record; None if that is something else."""
    if not body.startswith(_FILLER):
        return None
    size = read_varint(body, 1, len(body))
    return None if size is None or size[1] + size[0] != len(body) else body[size[1] :]


def framed(body: bytes) -> bytes:
    """Return *body* as one record."""
    # As checksum() makes it: each span is two records, and the call takes as long as what it does.
    number = zlib.crc32(body).to_bytes(4, "little")
    return b"".join((varint(len(body) + CHECKSUM_BYTES), body, _CHECKSUM_TAG, number))


def checksum(body: bytes) -> bytes:
    """Return the field that makes sure of *body*.

    Without it a text that lost some bytes would swallow the beginning of the next record, and look right.
    """
    return _CHECKSUM_TAG + zlib.crc32(body).to_bytes(4, "little")


def parsed(body: bytes) -> TracesData | None:
    """Return *body* as traces when it has a span with true ids or was forgotten; else None."""
    traces = TracesData()
    try:
        traces.ParseFromString(body)
    except DecodeError:
        return None
    if not traces.resource_spans and body.startswith(_FILLER):
        return traces
    return traces if any(True for _ in spans_of(traces)) else None


def spans_of(traces: TracesData) -> Iterator[StoredSpan]:
    """Yield the spans that have true ids."""
    for resource_spans in traces.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if len(span.trace_id) == TRACE_ID_BYTES and len(span.span_id) == SPAN_ID_BYTES:
                    yield span


def is_note(span: StoredSpan) -> bool:
    """Return whether *span* only says that it is open: it comes once more when it has ended."""
    return span.end_time_unix_nano == 0


def without(record: Record, is_forgotten: Callable[[StoredSpan], bool]) -> bytes:
    """Return the record's body without the forgotten spans, filled up to the same length."""
    traces = TracesData()
    for resource_spans in record.traces.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            remaining = [span for span in scope_spans.spans if not is_forgotten(span)]
            del scope_spans.spans[:]
            scope_spans.spans.extend(remaining)
        if any(scope_spans.spans for scope_spans in resource_spans.scope_spans):
            traces.resource_spans.append(resource_spans)
    return filled(traces.SerializeToString(), record.end - record.start)


def filled(body: bytes, length: int) -> bytes:
    """Return *body*, of which a span or a log record was left out, as the rest of a record that has this *length*."""
    # The filler is an unknown field of exactly the length that is left; either takes more than the 2 that this needs.
    length -= CHECKSUM_BYTES + len(body)
    width = 1 if length < MORE else LONGEST_LENGTH
    size = length - 1 - width
    body += _FILLER + varint(size, width) + bytes(size)
    return body + checksum(body)
