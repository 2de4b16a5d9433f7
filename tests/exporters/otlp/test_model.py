"""A live program's span and a stored one become the same."""

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from otelflow import semconv
from otelflow_exporters._otlp.model import from_any, from_otlp, from_sdk, result_of, value_of

ABOVE = {
    "nothing": None,
    "a span of this process": SpanContext(0xAB, 0xCD, is_remote=False, trace_flags=TraceFlags(1)),
    "a span of another process": SpanContext(0xAB, 0xCD, is_remote=True, trace_flags=TraceFlags(1)),
}


@pytest.mark.parametrize("above", ABOVE.values(), ids=ABOVE)
def test_a_span_says_the_same_whether_it_is_live_or_stored(program, above):
    context = None if above is None else set_span_in_context(NonRecordingSpan(above))
    link = Link(SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1)))
    live = program.tracer.start_span("GET /", context, SpanKind.SERVER, {"n": 1, "s": "x"}, [link], 1_000)
    live.add_event("said", {"k": "v"}, 1_500)
    live.add_event("again", None, 1_600)
    live.set_status(Status(StatusCode.ERROR, "why"))
    live.end(2_000)
    (span,) = program.done()

    converted = from_sdk(span)
    (stored,) = from_otlp(TracesData.FromString(encode_spans([span]).SerializeToString()))

    assert converted == stored
    assert converted.span_id == format(span.context.span_id, "016x")
    assert converted.trace_id == format(span.context.trace_id, "032x")
    assert converted.parent_id == ("" if above is None else f"{0xCD:016x}")
    assert converted.is_parent_remote is bool(above and above.is_remote)
    assert converted.is_local_root is (above is None or above.is_remote)
    assert (converted.name, converted.kind, converted.start, converted.end) == ("GET /", "server", 1_000, 2_000)
    assert dict(converted.attributes) == {"n": 1, "s": "x"}
    assert [(event.name, event.time, dict(event.attributes)) for event in converted.events] == [
        ("said", 1_500, {"k": "v"}),
        ("again", 1_600, {}),
    ]
    assert converted.links == ((f"{5:032x}", f"{6:016x}"),)
    assert (converted.is_error, converted.status_message, converted.result) == (True, "why", semconv.FAILURE)
    assert (converted.dropped_events, converted.service) == (0, "demo")


def test_a_clock_that_was_set_back_and_a_span_without_times_have_no_negative_length():
    context = SpanContext(1, 2, is_remote=False)
    for start, end, length in ((5_000, 3_000, 0), (5_000, None, 0), (None, None, 0), (5_000, 7_000, 2_000)):
        span = from_sdk(ReadableSpan("odd", context=context, start_time=start) if end is None else _ended(start, end))
        assert (span.start, span.end - span.start) == (start or 0, length)
        traces = TracesData()
        traces.resource_spans.add().scope_spans.add().spans.add(
            start_time_unix_nano=start or 0, end_time_unix_nano=end or 0
        )
        (stored,) = from_otlp(traces)
        assert (stored.start, stored.end - stored.start) == (start or 0, length)


def _ended(start, end):
    return ReadableSpan("odd", context=SpanContext(1, 2, is_remote=False), start_time=start, end_time=end)


def test_a_span_without_ids_is_none_and_what_is_converted_already_stays(program, make_span):
    (live,) = program.trace(children=0)
    converted = make_span(1)

    assert from_sdk(ReadableSpan("no ids")) is None
    assert list(from_any([ReadableSpan("no ids"), live, converted])) == [from_sdk(live), converted]


def test_a_stored_span_of_an_unknown_kind_and_service_is_shown_all_the_same():
    traces = TracesData()
    resource_spans = traces.resource_spans.add()
    resource_spans.resource.attributes.add(key="other").value.string_value = "not this"
    resource_spans.scope_spans.add().spans.extend([StoredSpan(kind=99, dropped_events_count=4), StoredSpan(kind=3)])

    spans = from_otlp(traces)

    assert [(span.kind, span.service, span.dropped_events) for span in spans] == [
        ("internal", "", 4),
        ("client", "", 0),
    ]


def test_every_kind_of_value_becomes_python_s_own():
    pair = KeyValue(key="k", value=AnyValue(int_value=1))
    values = {
        None: AnyValue(),
        "text": AnyValue(string_value="text"),
        True: AnyValue(bool_value=True),
        0.5: AnyValue(double_value=0.5),
        b"bytes": AnyValue(bytes_value=b"bytes"),
    }

    for expected, value in values.items():
        assert value_of(value) == expected
    assert value_of(AnyValue(array_value=ArrayValue(values=values.values()))) == list(values)
    assert value_of(AnyValue(kvlist_value=KeyValueList(values=[pair]))) == {"k": 1}


def test_a_result_is_what_was_recorded_or_follows_from_the_status():
    assert result_of("timeout", is_error=False) == "timeout"
    assert [result_of("", is_error=True), result_of(None, is_error=False), result_of(7, is_error=True)] == [
        semconv.FAILURE,
        semconv.SUCCESS,
        semconv.FAILURE,
    ]
