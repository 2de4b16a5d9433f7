"""A span by hand is byte for byte the span of OpenTelemetry's own encoder."""

from importlib.metadata import version

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encoded_by_the_sdk
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otelflow import semconv
from otelflow_exporters._otlp import encoder
from otelflow_exporters._otlp.encoder import encode_span, encode_spans, encode_start

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


def full_span():
    """Return a span of the SDK in which everything is limited, and less is kept than was written."""
    limits = SpanLimits(1, 1, 1, 1, 1)
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
    links = [Link(SpanContext(number, 2, True), {"a": 1, "b": 2, "c": 3}) for number in (1, 2, 3, 4)]
    span = provider.get_tracer("test").start_span("full", attributes={"a": 1, "b": 2}, links=links)
    for name in "xyz":
        span.add_event(name, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
    span.set_status(StatusCode.ERROR, "why")
    span.end()
    return span


def test_what_the_limits_of_the_sdk_have_left_out_is_counted():
    span = full_span()

    encoded = TracesData.FromString(encode_span(span))

    one = encoded.resource_spans[0].scope_spans[0].spans[0]
    assert (one.dropped_attributes_count, one.dropped_events_count, one.dropped_links_count) == (1, 2, 3)
    assert (one.events[0].dropped_attributes_count, one.links[0].dropped_attributes_count) == (4, 2)
    assert encoded == TracesData.FromString(encoded_by_the_sdk([span]).SerializeToString())


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set_attribute"), KEYS, st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"])),
        st.tuples(st.just("set_attributes"), st.dictionaries(KEYS, TEXTS, max_size=2)),
        st.tuples(st.just("add_event"), TEXTS),
        st.tuples(st.just("add_link"), CONTEXTS),
        st.tuples(st.just("update_name"), TEXTS),
        st.tuples(st.just("set_status"), st.sampled_from([Status(StatusCode.OK), Status(StatusCode.ERROR, "why")])),
        st.just(("attributes",)),
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def span_maker():
    """Return what makes the spans of runs, with a processor that keeps the one that starts, encoded, and what stays."""
    try:
        from otelflow._telemetry.span_maker import RunSpanMaker
    except ImportError:
        pytest.skip("an older SDK makes them itself")

    class Keeping(SpanProcessor):
        started = None

        def on_start(self, span, parent_context=None):
            self.started = encode_start(span)

    provider, keeping = TracerProvider(), Keeping()
    provider.add_span_processor(keeping)
    return RunSpanMaker(provider.get_tracer("x", "1")), keeping


@given(st.dictionaries(KEYS, st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]), max_size=4), CHANGES)
def test_a_span_is_what_it_would_be_if_its_beginning_were_encoded_once_more(span_maker, attributes, changes):
    maker, keeping = span_maker
    span = maker.start("name", None, lambda: dict(attributes), 5)
    encoded, beginning = keeping.started
    open_span = one_span(encoded)
    for name, *values in changes:
        if name == "attributes":
            assert dict(span.attributes) is not None  # to look at them makes them the SDK's own
        else:
            getattr(span, name)(*values)
    span.end(7)

    assert encode_span(span, beginning) == encode_span(span)
    values = [(pair.key, getattr(pair.value, pair.value.WhichOneof("value"))) for pair in open_span.attributes]
    assert values == list(attributes.items())
    assert (open_span.name, open_span.start_time_unix_nano, open_span.end_time_unix_nano) == ("name", 5, 0)


def test_what_a_span_is_linked_to_from_the_start_is_in_what_is_told_of_its_start():
    link = Link(SpanContext(1, 2, is_remote=True))
    span = TracerProvider().get_tracer("x").start_span("x", links=[link], attributes={"a": "b"})

    encoded, beginning = encode_start(span)

    assert one_span(encoded).links[0].span_id == (2).to_bytes(8, "big")
    assert beginning[4] == 1
    assert one_span(encoded) == one_span(encode_span(span, beginning))


def one_span(encoded):
    """Return the one span of *encoded*."""
    ((span,),) = [
        scope_spans.spans
        for resource_spans in TracesData.FromString(encoded).resource_spans
        for scope_spans in resource_spans.scope_spans
    ]
    return span


def test_an_id_of_one_run_is_not_kept_for_others():
    span = ReadableSpan(
        "x", SpanContext(1, 2, is_remote=False), attributes={semconv.TASK_RUN_ID: "only once", "a": "b"}
    )

    encode_span(span)

    assert ("a", "b") in encoder._pairs
    assert (semconv.TASK_RUN_ID, "only once") not in encoder._pairs


def test_what_is_written_as_open_has_no_end_even_if_it_has_ended():
    span = full_span()

    together = TracesData.FromString(encode_spans([span], is_open=True))

    ended = TracesData.FromString(encode_span(span))
    assert span.end_time == ended.resource_spans[0].scope_spans[0].spans[0].end_time_unix_nano > 0
    ended.resource_spans[0].scope_spans[0].spans[0].ClearField("end_time_unix_nano")
    assert together == ended


@pytest.mark.parametrize(
    "number", [0, 1, 127, 128, 16_383, 16_384, 2**21, 2**62, 2**63 - 1, -1, -(2**63), -(2**63) + 1]
)
def test_whole_numbers_have_the_bytes_of_protobuf(number):
    assert encoder._value(number) == AnyValue(int_value=number).SerializeToString()


@pytest.fixture
def empty(monkeypatch):
    """Keep nothing of what other tests have encoded."""
    monkeypatch.setattr(encoder, "_pairs", encoder._Kept())
    monkeypatch.setattr(encoder, "_surroundings", encoder._Kept())


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        ("x" * 64, True),
        ("x" * 65, False),
        (0, True),
        (127, True),
        (128, False),
        (-1, False),
        (True, False),
        (1.0, False),
    ],
)
def test_what_is_usual_is_encoded_once_and_no_other_value_is_kept(empty, monkeypatch, value, is_kept):
    encoded = []
    encode = encoder._value
    monkeypatch.setattr(encoder, "_value", lambda value: encoded.append(value) or encode(value))

    attributes = [decoded(span_with({"key": value, "other": value})).attributes for _ in range(3)]

    assert len(encoded) == (2 if is_kept else 6)
    assert attributes[0] == attributes[2]
    assert len(encoder._pairs) == (2 if is_kept else 0)


def test_what_is_kept_has_a_limit(monkeypatch):
    monkeypatch.setattr(encoder, "_MOST_KEPT", 2)
    kept = encoder._Kept()
    sizes = []
    for number in range(5):
        kept.keep(number, str(number))
        sizes.append(len(kept))

    assert sizes == [1, 2, 1, 2, 1]
    assert kept == {4: "4"}


def test_a_resource_and_a_scope_are_encoded_once_and_others_at_their_addresses_anew(empty, monkeypatch):
    encoded = []
    add = encoder._add_attributes

    def noted(parts, tag, attributes):
        encoded.append(tag)
        add(parts, tag, attributes)

    monkeypatch.setattr(encoder, "_add_attributes", noted)
    resource, context = Resource({"service.name": "a"}), SpanContext(1, 2, False)
    scope = InstrumentationScope("first")
    same = [encode_span(ReadableSpan("x", context, resource=resource, instrumentation_scope=scope)) for _ in range(3)]
    names = []
    for number in range(50):
        other = InstrumentationScope(str(number))
        span = ReadableSpan("x", context, resource=resource, instrumentation_scope=other)
        names.append(TracesData.FromString(encode_span(span)).resource_spans[0].scope_spans[0].scope.name)

    assert same[0] == same[1] == same[2]
    assert encoded[:2] == [b"\x0a", b"\x1a"]
    assert encoded.count(b"\x0a") == 1 + 50
    assert names == [str(number) for number in range(50)]
