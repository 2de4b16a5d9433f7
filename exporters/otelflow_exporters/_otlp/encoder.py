"""Encode one span as OTLP protobuf, with the bytes that OpenTelemetry's own encoder would make.

By hand, in a third of the time: a span is encoded on the thread of the program, when it ends. What is the same in every
span of a provider (resource, scopes), and in every span of a kind (keys, names), is encoded once.

Source: opentelemetry-proto, trace/v1/trace.proto and common/v1/common.proto; protobuf's encoding,
https://protobuf.dev/programming-guides/encoding.
"""

import functools
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

# Tags: the number of a field in the high bits, how it is written in the low three (0 varint, 1 and 5 fixed, 2 a length)
_TRACE_ID: Final = b"\x0a\x10"
_SPAN_ID: Final = b"\x12\x08"
_PARENT_ID: Final = b"\x22\x08"
_TIMES: Final = struct.Struct("<BQBQ")
_START_TAG: Final = 0x39
_END_TAG: Final = 0x41
_FLAGS: Final = struct.Struct("<BBI")
_SPAN_FLAGS: Final = (0x85, 0x01)
_LINK_FLAGS: Final = struct.Struct("<BI")
_LINK_FLAGS_TAG: Final = 0x35
_DOUBLE: Final = struct.Struct("<Bd")
_DOUBLE_TAG: Final = 0x21
_TIME: Final = struct.Struct("<BQ")
_TIME_TAG: Final = 0x09
# Whether the parent, or what a link leads to, is remote: always known here
_IS_REMOTE_KNOWN: Final = 0x100
_IS_REMOTE: Final = 0x200

_MORE: Final = 0x80
_INT64: Final = 1 << 63
_UINT64: Final = 1 << 64
_MOST_KEPT: Final = 1_000


def encode_span(span: ReadableSpan) -> bytes:
    """Return *span* as a ``TracesData`` of one span; one that has not ended has no end."""
    context = span.get_span_context()
    if context is None:
        raise ValueError("a span without a context has no ids")
    scope, schema_url = _scope_parts(span.instrumentation_scope)
    resource, resource_schema_url = _resource_parts(span.resource)
    scope_spans = scope + field(0x12, _span(span, context)) + schema_url
    return field(0x0A, resource + field(0x12, scope_spans) + resource_schema_url)


def _span(span: ReadableSpan, context: SpanContext) -> bytes:
    parts = [_TRACE_ID, context.trace_id.to_bytes(16, "big"), _SPAN_ID, context.span_id.to_bytes(8, "big")]
    if context.trace_state:
        state = ",".join(f"{key}={value}" for key, value in context.trace_state.items())
        parts.append(field(0x1A, _utf8(state)))
    parent = span.parent
    flags = _IS_REMOTE_KNOWN
    if parent is not None:
        parts += (_PARENT_ID, parent.span_id.to_bytes(8, "big"))
        if parent.is_remote:
            flags |= _IS_REMOTE
    parts.append(_text(0x2A, span.name))
    parts.append(bytes((0x30, span.kind.value + 1)))
    parts.append(_TIMES.pack(_START_TAG, span.start_time or 0, _END_TAG, span.end_time or 0))
    if span.attributes:
        _add_attributes(parts, b"\x4a", span.attributes)
    _add_count(parts, 0x50, span.dropped_attributes)
    for event in span.events:
        inner = [_TIME.pack(_TIME_TAG, event.timestamp or 0), field(0x12, _utf8(event.name))]
        _add_attributes(inner, b"\x1a", event.attributes or {})
        _add_count(inner, 0x20, event.dropped_attributes)
        parts.append(field(0x5A, b"".join(inner)))
    _add_count(parts, 0x60, span.dropped_events)
    for link in span.links:
        linked = link.context
        inner = [_TRACE_ID, linked.trace_id.to_bytes(16, "big"), _SPAN_ID, linked.span_id.to_bytes(8, "big")]
        _add_attributes(inner, b"\x22", link.attributes or {})
        _add_count(inner, 0x28, link.dropped_attributes)
        inner.append(_LINK_FLAGS.pack(_LINK_FLAGS_TAG, _IS_REMOTE_KNOWN | (_IS_REMOTE if linked.is_remote else 0)))
        parts.append(field(0x6A, b"".join(inner)))
    _add_count(parts, 0x70, span.dropped_links)
    status = b"" if not span.status.description else field(0x12, _utf8(span.status.description))
    if span.status.status_code.value:
        status += bytes((0x18, span.status.status_code.value))
    parts.append(field(0x7A, status))
    parts.append(_FLAGS.pack(*_SPAN_FLAGS, flags))
    return b"".join(parts)


def _add_count(parts: list[bytes], tag: int, count: int) -> None:
    if count:
        parts.append(bytes((tag,)) + _varint(count))


def _add_attributes(parts: list[bytes], tag: bytes, attributes: Mapping[str, Any]) -> None:
    """Add each attribute as a field of this *tag*; a value that OTLP cannot hold is left out, as the SDK does."""
    for key, value in attributes.items():
        try:
            if type(value) is str:
                text = value.encode("utf-8", "backslashreplace")
                encoded = b"\x0a" + _varint(len(text)) + text
            else:
                encoded = _value(value)
            pair = _text(0x0A, key) + b"\x12" + _varint(len(encoded)) + encoded
        except (TypeError, OverflowError, RecursionError):
            continue
        parts += (tag, _varint(len(pair)), pair)


def _value(value: Any) -> bytes:
    """Return *value* as an ``AnyValue``. Raises TypeError or OverflowError for what that cannot hold."""
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, str):
        return field(0x0A, _utf8(value))
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise OverflowError("OTLP holds whole numbers of 64 bits")
        return b"\x18" + _varint(value % _UINT64)
    if isinstance(value, float):
        return _DOUBLE.pack(_DOUBLE_TAG, value)
    if isinstance(value, bytes):
        return field(0x3A, value)
    if isinstance(value, Sequence):
        return field(0x2A, b"".join([field(0x0A, _value(item)) for item in value]))
    if isinstance(value, Mapping):
        pairs = [field(0x0A, _text(0x0A, str(key)) + field(0x12, _value(item))) for key, item in value.items()]
        return field(0x32, b"".join(pairs))
    raise TypeError(f"OTLP has no {type(value).__name__}")


def field(tag: int, content: bytes) -> bytes:
    """Return *content* as a field with this *tag*, which has one byte."""
    return bytes((tag,)) + _varint(len(content)) + content


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # half a surrogate has no UTF-8


_SHORT: Final = [bytes((number,)) for number in range(_MORE)]


def _varint(number: int) -> bytes:
    if number < _MORE:
        return _SHORT[number]
    encoded = bytearray()
    while number >= _MORE:
        encoded.append(number & 0x7F | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@functools.lru_cache(_MOST_KEPT)
def _text(tag: int, text: str) -> bytes:
    return field(tag, _utf8(text)) if text else b""


@functools.lru_cache(100)
def _scope_parts(scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
    """Return a scope as a field of ``ScopeSpans``, and its schema as another."""
    if scope is None:
        return field(0x0A, b""), b""
    parts = [field(0x0A, _utf8(scope.name))] if scope.name else []
    if scope.version:
        parts.append(field(0x12, _utf8(scope.version)))
    _add_attributes(parts, b"\x1a", scope.attributes or {})
    return field(0x0A, b"".join(parts)), field(0x1A, _utf8(scope.schema_url)) if scope.schema_url else b""


class _Resources:
    """The resources that were encoded last, by the object: a provider has one, and to hash it takes long."""

    def __init__(self) -> None:
        self.parts: dict[int, tuple[Resource, tuple[bytes, bytes]]] = {}

    def of(self, resource: Resource) -> tuple[bytes, bytes]:
        """Return a resource as a field of ``ResourceSpans``, and its schema as another."""
        entry = self.parts.get(id(resource))
        if entry is not None and entry[0] is resource:
            return entry[1]
        parts: list[bytes] = []
        _add_attributes(parts, b"\x0a", resource.attributes)
        schema_url = field(0x1A, _utf8(resource.schema_url)) if resource.schema_url else b""
        encoded = field(0x0A, b"".join(parts)), schema_url
        if len(self.parts) > _MOST_KEPT:
            self.parts = {}
        self.parts[id(resource)] = resource, encoded
        return encoded


_resource_parts: Final = _Resources().of
