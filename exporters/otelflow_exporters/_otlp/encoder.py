"""Encode spans as OTLP protobuf, with the bytes that OpenTelemetry's own encoder would make.

By hand, in a third of the time: a span is encoded on the thread of the program, when it ends. What is the same in every
span of a provider (resource, scopes), and in every span of a kind (keys, names), is encoded once.

Source: opentelemetry-proto, trace/v1/trace.proto and common/v1/common.proto; protobuf's encoding,
https://protobuf.dev/programming-guides/encoding.
"""

import functools
import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from otelflow import semconv
from otelflow_exporters._otlp.varints import MORE, field, varint

# Tags: the number of a field in the high bits, how it is written in the low three (0 varint, 1 and 5 fixed, 2 a length)
#: What stands before the ids of a span
TRACE_ID: Final = b"\x0a\x10"
SPAN_ID: Final = b"\x12\x08"
_PARENT_ID: Final = b"\x22\x08"
_IDS: Final = struct.Struct(">2s16s2sQ")
_PARENT: Final = struct.Struct(">2sQ")
_TIMES: Final = struct.Struct("<BQBQ")
_START_TAG: Final = 0x39
_END_TAG: Final = 0x41
_LINK_FLAGS: Final = struct.Struct("<BI")
_LINK_FLAGS_TAG: Final = 0x35
_DOUBLE: Final = struct.Struct("<Bd")
_DOUBLE_TAG: Final = 0x21
_TIME: Final = struct.Struct("<BQ")
_TIME_TAG: Final = 0x09
# Whether the parent, or what a link leads to, is remote: always known here
_IS_REMOTE_KNOWN: Final = 0x100
_IS_REMOTE: Final = 0x200
_LOCAL_FLAGS: Final = b"\x85\x01" + _IS_REMOTE_KNOWN.to_bytes(4, "little")
_REMOTE_FLAGS: Final = b"\x85\x01" + (_IS_REMOTE_KNOWN | _IS_REMOTE).to_bytes(4, "little")
_KINDS: Final = [bytes((0x30, kind.value + 1)) for kind in SpanKind]
_STATUSES: Final = [b"\x7a\x00", b"\x7a\x02\x18\x01", b"\x7a\x02\x18\x02"]

_INT64: Final = 1 << 63
_UINT64: Final = 1 << 64
_MOST_KEPT: Final = 2_000
_LONGEST_USUAL: Final = 64
# Keys whose values are other ones in each span
_OF_ONE_SPAN: Final = frozenset({semconv.TASK_RUN_ID})


# What stands before a span and behind it: resource, scope, the schemas of both, and how many bytes those of the scope
# and those of the resource take
_Envelope: TypeAlias = tuple[bytes, bytes, bytes, int, int]


# What stays of a span, encoded, from its start to its end: what stands around it, its name, the fields before its
# times, those behind, and how many attributes are among these. A NamedTuple would take longer.
Beginning: TypeAlias = tuple[_Envelope, str, bytes, bytes, int]


def encode_start(span: ReadableSpan) -> tuple[bytes, Beginning]:
    """Return *span*, which starts now, as a ``TracesData`` of one span without an end, and what will stay of it."""
    context, parent, name, kind, started, attributes, resource, scope = _begun(span)
    head = _head_of(context, parent, name, kind)
    tail = b"".join(_tail_of(parent, attributes))
    around = _envelope_of(resource, scope)
    parts = [head, _TIMES.pack(_START_TAG, started, _END_TAG, 0), tail]
    if span.links:  # of all that comes later, nothing else can be there
        _add_rest(parts, span)
    return _wrapped_alone(around, b"".join(parts)), (around, name, head, tail, len(attributes))


def _begun(span: ReadableSpan) -> tuple[Any, ...]:
    """Return what of *span* is there from its start on: as a span of otelflow's own says it, in one call."""
    begun = getattr(span, "begun", None)
    if begun is not None:
        return begun()  # type: ignore[no-any-return]  # its type says so
    return (
        *(span.get_span_context(), span.parent, span.name, span.kind),
        *(span.start_time or 0, span.attributes or {}, span.resource, span.instrumentation_scope),
    )


def encode_span(span: ReadableSpan, beginning: Beginning | None = None) -> bytes:
    """Return *span* as a ``TracesData`` of one span; one that has not ended has no end.

    What is in *beginning*, and stands on the span as it did, is not encoded again.
    """
    look = None if beginning is None else getattr(span, "ended_as_begun", None)
    ended = None if look is None else look()
    if beginning is None or ended is None or ended[0] is not beginning[1]:
        return _wrapped_alone(
            _envelope_of(span.resource, span.instrumentation_scope), b"".join(_parts_of(span, is_open=False))
        )
    around, _, head, tail, count = beginning
    _, started, ended_ns, attributes, is_all = ended
    parts = [head, _TIMES.pack(_START_TAG, started, _END_TAG, ended_ns or 0), tail]
    _add_attributes(parts, b"\x4a", itertools.islice(attributes.items(), count, None))
    if is_all:  # to ask for each of the others takes a call
        parts.append(_STATUSES[0])
    else:
        _add_rest(parts, span)
    return _wrapped_alone(around, b"".join(parts))


def encode_spans(spans: Iterable[ReadableSpan], *, is_open: bool = False) -> bytes:
    """Return *spans* as one ``TracesData``, those of the same resource and scope together.

    With *is_open* they have no end, even if one ends meanwhile, on another thread.
    """
    groups: dict[_Envelope, list[bytes]] = {}
    for span in spans:
        encoded = b"".join(_parts_of(span, is_open=is_open))
        group = groups.setdefault(_envelope_of(span.resource, span.instrumentation_scope), [])
        group += (b"\x12", varint(len(encoded)), encoded)
    return b"".join([_wrapped(around, b"", b"".join(group)) for around, group in groups.items()])


def _wrapped(around: _Envelope, head: bytes, span: bytes) -> bytes:
    """Return *span* behind its *head*, or without one the fields of several, as a ``TracesData``."""
    resource, scope, tail, size_of_scope, size_of_resource = around
    size = size_of_scope + len(head) + len(span)
    inner = varint(size)
    outer = varint(size_of_resource + len(inner) + size)
    return b"".join((b"\x0a", outer, resource, inner, scope, head, span, tail))


def _wrapped_alone(around: _Envelope, span: bytes) -> bytes:
    """Return *span* as a ``TracesData``."""
    return _wrapped(around, b"\x12" + varint(len(span)), span)


def _parts_of(span: ReadableSpan, *, is_open: bool) -> list[bytes]:
    context, parent, name, kind, started, attributes, _, _ = _begun(span)
    parts = [_head_of(context, parent, name, kind)]
    parts.append(_TIMES.pack(_START_TAG, started, _END_TAG, 0 if is_open else span.end_time or 0))
    parts += _tail_of(parent, attributes)
    _add_rest(parts, span)
    return parts


def _head_of(context: SpanContext | None, parent: SpanContext | None, name: str, kind: SpanKind) -> bytes:
    """Return the fields of a span before its times."""
    if context is None:
        raise ValueError("a span without a context has no ids")
    # By place: its properties take a call each.
    ids = _IDS.pack(TRACE_ID, context[0].to_bytes(16, "big"), SPAN_ID, context[1])
    trace_state = context[4]
    if trace_state is not DEFAULT_TRACE_STATE and trace_state:  # to ask for its length takes a call
        ids += field(0x1A, _utf8(",".join(f"{key}={value}" for key, value in trace_state.items())))
    if parent is not None:
        ids += _PARENT.pack(_PARENT_ID, parent[1])
    return ids + _text(0x2A, name) + _KINDS[kind._value_]  # without the calls of the property


def _tail_of(parent: SpanContext | None, attributes: Mapping[str, Any]) -> list[bytes]:
    """Return the fields of a span behind its times, up to *attributes*."""
    parts = [_REMOTE_FLAGS if parent is not None and parent[2] else _LOCAL_FLAGS]
    _add_attributes(parts, b"\x4a", attributes.items())
    return parts


def _add_rest(parts: list[bytes], span: ReadableSpan) -> None:
    """Add the fields of *span* behind its attributes."""
    _add_count(parts, 0x50, span.dropped_attributes)
    for event in span.events:
        inner = [_TIME.pack(_TIME_TAG, event.timestamp or 0), field(0x12, _utf8(event.name))]
        _add_attributes(inner, b"\x1a", (event.attributes or {}).items())
        _add_count(inner, 0x20, event.dropped_attributes)
        parts.append(field(0x5A, b"".join(inner)))
    _add_count(parts, 0x60, span.dropped_events)
    for link in span.links:
        linked = link.context
        inner = [TRACE_ID, linked.trace_id.to_bytes(16, "big"), SPAN_ID, linked.span_id.to_bytes(8, "big")]
        _add_attributes(inner, b"\x22", (link.attributes or {}).items())
        _add_count(inner, 0x28, link.dropped_attributes)
        inner.append(_LINK_FLAGS.pack(_LINK_FLAGS_TAG, _IS_REMOTE_KNOWN | (_IS_REMOTE if linked.is_remote else 0)))
        parts.append(field(0x6A, b"".join(inner)))
    _add_count(parts, 0x70, span.dropped_links)
    _add_status(parts, span)


def _add_status(parts: list[bytes], span: ReadableSpan) -> None:
    status = span.status
    if status.description:
        code = bytes((0x18, status.status_code.value)) if status.status_code.value else b""
        parts.append(field(0x7A, field(0x12, _utf8(status.description)) + code))
    else:
        parts.append(_STATUSES[status.status_code._value_])


def _add_count(parts: list[bytes], tag: int, count: int) -> None:
    if count:
        parts.append(bytes((tag,)) + varint(count))


def _add_attributes(parts: list[bytes], tag: bytes, attributes: Iterable[tuple[str, Any]]) -> None:
    """Add each attribute as a field of this *tag*; a value that OTLP cannot hold is left out, as the SDK does."""
    lookup = _pairs.get
    for item in attributes:
        try:
            try:
                pair = lookup(item)
            except TypeError:  # a list, or a dict, has no hash
                pair = None
            if pair is None:
                pair = _pair(*item)
        except (TypeError, OverflowError, RecursionError):
            continue
        parts.append(tag)
        parts.append(pair)


def _pair(key: str, value: Any) -> bytes:
    """Return an attribute as a ``KeyValue`` behind its length. Raises TypeError or OverflowError for some values."""
    kind = type(value)
    if kind is str and key in _OF_ONE_SPAN:
        text = _utf8(value)
        return _prefix(key, len(text)) + text
    # Numbers have keys of their own: True is 1 for a dictionary, and so is 1.0.
    place = (key, value, int) if kind is int else (key, value)
    pair: bytes | None = _pairs.get(place) if kind is int else None
    if pair is not None:
        return pair
    encoded = _value(value)
    pair = b"".join((_text(0x0A, key), b"\x12", varint(len(encoded)), encoded))
    pair = varint(len(pair)) + pair
    if len(value) <= _LONGEST_USUAL if kind is str else kind is int and 0 <= value < MORE:
        _pairs.keep(place, pair)
    return pair


@functools.lru_cache(_MOST_KEPT)
def _prefix(key: str, size: int) -> bytes:
    """Return what stands before a text of so many bytes that is the value of *key*."""
    number = varint(size)
    inner = b"".join((_text(0x0A, key), b"\x12", varint(1 + len(number) + size), b"\x0a", number))
    return varint(len(inner) + size) + inner


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
        return b"\x18" + varint(value % _UINT64)
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


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # half a surrogate has no UTF-8


@functools.lru_cache(_MOST_KEPT)
def _text(tag: int, text: str) -> bytes:
    return field(tag, _utf8(text)) if text else b""


class _Kept(dict[Any, Any]):
    """What was encoded lately. It is emptied when it is full: what is the same in many spans is soon there again."""

    def keep(self, key: Any, value: Any) -> None:
        """Keep *value*."""
        if len(self) >= _MOST_KEPT:
            self.clear()
        self[key] = value


_pairs: Final = _Kept()
_surroundings: Final = _Kept()


def _envelope_of(resource: Resource, scope: InstrumentationScope | None) -> _Envelope:
    """Return what stands before a span, resource and scope, and behind it, the schemas of both.

    By the objects, of which a provider has few: to hash them would take as long as all the rest.
    """
    key = id(resource), id(scope)
    entry = _surroundings.get(key)
    if entry is None:
        parts: list[bytes] = []
        _add_attributes(parts, b"\x0a", resource.attributes.items())
        scope_parts: list[bytes] = []
        if scope is not None:
            scope_parts += (_text(0x0A, scope.name), _text(0x12, scope.version or ""))
            _add_attributes(scope_parts, b"\x1a", (scope.attributes or {}).items())
        schema_url = (scope and scope.schema_url) or ""
        head, scope_head = field(0x0A, b"".join(parts)) + b"\x12", field(0x0A, b"".join(scope_parts))
        schema, scope_schema = _text(0x1A, resource.schema_url or ""), _text(0x1A, schema_url)
        sizes = len(scope_head) + len(scope_schema), len(head) + len(schema)
        # With both of them, which keeps their ids from others
        entry = resource, scope, (head, scope_head, scope_schema + schema, *sizes)
        _surroundings.keep(key, entry)
    around: _Envelope = entry[2]
    return around
