"""A span by hand is byte for byte the span of OpenTelemetry's own encoder."""

from importlib.metadata import version

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encoded_by_the_sdk
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otelflow_exporters._otlp.encoder import encode_span, encode_spans

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.text("abc.ü", min_size=1, max_size=8)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXTS,
    st.text("x", min_size=120, max_size=140),
    st.binary(max_size=20),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=4)
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1), TraceFlags(3)]),
    st.sampled_from([TraceState(), TraceState([("vendor", "a"), ("other", "b=c")])]),
)
TIMES = st.integers(0, 2**63)
SPANS = st.builds(
    ReadableSpan,
    name=TEXTS,
    context=CONTEXTS,
    parent=st.none() | CONTEXTS,
    resource=st.builds(Resource, ATTRIBUTES, st.sampled_from(["", "https://opentelemetry.io/schemas/1.44.0"])),
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(Event, TEXTS, ATTRIBUTES, TIMES), max_size=3),
    links=st.lists(st.builds(Link, CONTEXTS, ATTRIBUTES), max_size=3),
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why: ü")]),
    start_time=TIMES,
    end_time=st.none() | TIMES,
    instrumentation_scope=st.none()
    | st.builds(InstrumentationScope, TEXTS, st.none() | TEXTS, st.none() | TEXTS, ATTRIBUTES),
)


@pytest.mark.skipif(
    version("opentelemetry-exporter-otlp-proto-common") < "1.43", reason="an encoder before 1.43 leaves null out"
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(SPANS)
def test_a_span_is_what_the_sdk_makes_of_it(span):
    expected = encoded_by_the_sdk([span]).SerializeToString()

    encoded = encode_span(span)

    assert TracesData.FromString(encoded) == TracesData.FromString(expected)


def test_spans_of_one_resource_and_scope_stand_together_in_their_order():
    resources = [Resource({"service.name": name}) for name in "ab"]
    scopes = [InstrumentationScope(name, "1", "https://example.org") for name in "xy"]
    places = [(0, 0), (1, 0), (0, 1), (0, 0), (1, 0)]
    spans = [
        ReadableSpan(str(number), SpanContext(1, 2, False), resource=resources[one], instrumentation_scope=scopes[two])
        for number, (one, two) in enumerate(places)
    ]

    encoded = TracesData.FromString(encode_spans(spans))

    assert encode_spans([]) == b""
    assert [
        (
            one.resource.attributes[0].value.string_value,
            one.scope_spans[0].scope.name,
            one.scope_spans[0].schema_url,
            [span.name for span in one.scope_spans[0].spans],
        )
        for one in encoded.resource_spans
    ] == [
        ("a", "x", "https://example.org", ["0", "3"]),
        ("b", "x", "https://example.org", ["1", "4"]),
        ("a", "y", "https://example.org", ["2"]),
    ]
    assert encode_spans(spans[:1]) == encode_span(spans[0])


def span_with(attributes):
    context = SpanContext(1, 2, False, TraceFlags(1))
    return ReadableSpan("x", context, resource=Resource.get_empty(), attributes=attributes)


def decoded(span):
    (resource_spans,) = TracesData.FromString(encode_span(span)).resource_spans
    return resource_spans.scope_spans[0].spans[0]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, object(), [2**64], {"deep": {1, 2}}])
def test_a_value_that_otlp_cannot_hold_costs_itself_only(value):
    attributes = decoded(span_with({"before": 1, "bad": value, "after": 2})).attributes

    assert [attribute.key for attribute in attributes] == ["before", "after"]


def test_a_value_that_contains_itself_costs_itself_only():
    value = []
    value.append(value)

    assert [attribute.key for attribute in decoded(span_with({"bad": value, "after": 2})).attributes] == ["after"]


def test_half_a_surrogate_is_written_as_its_number():
    span = span_with({"key": "a\ud83d", "k\ud83d": 1})
    span._name = "n\ud83d"

    encoded = decoded(span)

    assert encoded.name == r"n\ud83d"
    assert [attribute.key for attribute in encoded.attributes] == ["key", r"k\ud83d"]
    assert encoded.attributes[0].value.string_value == r"a\ud83d"


def test_another_resource_at_the_address_of_an_old_one_is_encoded_anew():
    names = []
    for number in range(50):
        span = ReadableSpan("x", SpanContext(1, 2, False), resource=Resource({"service.name": str(number)}))
        (resource_spans,) = TracesData.FromString(encode_span(span)).resource_spans
        names.append(resource_spans.resource.attributes[0].value.string_value)

    assert names == [str(number) for number in range(50)]


def test_a_span_without_a_context_is_refused():
    with pytest.raises(ValueError, match="no ids"):
        encode_span(ReadableSpan("x"))


@pytest.mark.parametrize("schema_url", [None, "", "https://opentelemetry.io/schemas/1.44.0"])
@pytest.mark.parametrize("version", [None, "2.0"])
def test_a_scope_has_the_version_and_the_schema_that_it_says(version, schema_url):
    scope = InstrumentationScope("orders", version, schema_url)
    span = ReadableSpan("x", SpanContext(1, 2, False), resource=Resource.get_empty(), instrumentation_scope=scope)

    (resource_spans,) = TracesData.FromString(encode_span(span)).resource_spans

    (scope_spans,) = resource_spans.scope_spans
    assert (scope_spans.scope.name, scope_spans.scope.version) == ("orders", version or "")
    assert (scope_spans.schema_url, resource_spans.schema_url) == (schema_url or "", "")
