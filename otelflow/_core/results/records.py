"""One kept value with what is known of it, as bytes: a first line that vouches for the rest, a header, the value."""

import hashlib
import json
import re
from typing import Any, Final, NamedTuple

from otelflow._core.results.serializers import LARGEST, ResultSerializer
from otelflow._core.text.safe_str import brief_repr, comes_from_outside
from otelflow.errors import ResultNotStorable, ResultUnreadable

#: What everything begins with that is kept
MAGIC: Final = b"otelflow result 1 "
#: So many bytes are read at most
LARGEST_RECORD: Final = LARGEST + 1024 * 1024

_LONGEST_HEADER: Final = 64 * 1024
_FIRST_LINE: Final = re.compile(rb"otelflow result 1 ([0-9a-f]{64})\n")
_HEADER_TYPES: Final = {
    "key": str,
    "serializer": str,
    "task": str,
    "run_id": str,
    "trace_id": int,
    "span_id": int,
    "trace_flags": int,
    "created": float,
}


class Record(NamedTuple):
    """A value, the key under which it is kept, and the run that it is from: *created* in seconds since 1970.

    *trace_id* and *span_id* are 0 where the run had no span.
    """

    key: str
    task: str
    run_id: str
    trace_id: int
    span_id: int
    trace_flags: int
    created: float
    value: Any


def packed(record: Record, serializer: ResultSerializer) -> bytes:
    """Return *record* as bytes. Raises ResultNotStorable when *serializer* cannot hold the value."""
    try:
        content = serializer.dumps(record.value)
        header = {**record._asdict(), "serializer": serializer.name}
        del header["value"]
        rest = json.dumps(header).encode("utf-8") + b"\n" + content
    except ResultNotStorable:
        raise
    except Exception as error:  # a serializer of the user's may raise anything
        if comes_from_outside(error):
            raise
        reason = f"cannot be kept by the serializer {serializer.name!r}: {type(error).__name__}: {error}"
        raise ResultNotStorable("", reason) from None
    if len(content) > LARGEST:
        raise ResultNotStorable("", f"takes {len(content):,} bytes; at most {LARGEST:,} are kept")
    return MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def unpacked(content: bytes, key: str, serializer: ResultSerializer) -> Record:
    """Return the record of *key* that *content* holds. Raises ResultUnreadable that says why it holds none."""
    header, rest = header_of(content)
    if header["key"] != key:
        raise ResultUnreadable("it is that of another key")
    if header["serializer"] != serializer.name:
        name = brief_repr(header["serializer"], 60)
        raise ResultUnreadable(
            f"it was written with result_serializer={name}: read it with that, not {serializer.name!r}"
        )
    try:
        value = serializer.loads(rest)
    except ResultUnreadable:
        raise
    except Exception as error:  # a pickle, or a serializer of the user's, may raise anything
        if comes_from_outside(error):
            raise
        reason = f"the serializer {serializer.name!r} raised {type(error).__name__}: {brief_repr(str(error), 200)}"
        raise ResultUnreadable(reason) from None
    return Record(**{name: header[name] for name in Record._fields if name != "value"}, value=value)


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what *content* says of its value, and the bytes of that. Raises ResultUnreadable."""
    first_line = _FIRST_LINE.match(content)
    if first_line is None:
        raise ResultUnreadable("it is not what otelflow writes")
    rest = content[first_line.end() :]
    if hashlib.sha256(rest).hexdigest().encode() != first_line[1]:
        raise ResultUnreadable("it is damaged, or cut off")
    line, _, value = rest.partition(b"\n")
    try:
        header = json.loads(line) if len(line) <= _LONGEST_HEADER else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or any(type(header.get(name)) is not kind for name, kind in _HEADER_TYPES.items()):
        raise ResultUnreadable("its header is not what otelflow writes")
    return header, value
