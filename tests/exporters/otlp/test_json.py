import base64
import copy
import json
import re

from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otelflow_exporters._otlp.json import to_otlp_json


def from_otlp_json(document):
    """Read OTLP JSON as its rules say: ids are hex, the rest is protobuf's own JSON."""
    document = copy.deepcopy(document)
    for span in spans_in(document):
        for holder in (span, *span.get("links", [])):
            for key in {"traceId", "spanId", "parentSpanId"} & set(holder):
                holder[key] = base64.b64encode(bytes.fromhex(holder[key])).decode()
    return ParseDict(document, TracesData())


def spans_in(document):
    return [
        span
        for resource_spans in document.get("resourceSpans", [])
        for scope_spans in resource_spans.get("scopeSpans", [])
        for span in scope_spans.get("spans", [])
    ]


def test_ids_are_hex_enums_are_integers_and_long_integers_are_strings(program):
    link = Link(SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1)))
    with program.span("GET /", kind=SpanKind.SERVER, links=[link]) as span:
        span.set_attributes({"n": 2**60, "ok": True, "share": 0.5, "list": ["a", "b"]})
        span.add_event("event", {"x": 1})
        span.set_status(Status(StatusCode.ERROR, "bad"))
    (done,) = program.done()

    traces = TracesData.FromString(encode_spans([done]).SerializeToString())
    (written,) = spans_in(json.loads(json.dumps(to_otlp_json(traces))))

    assert written["traceId"] == format(done.context.trace_id, "032x")
    assert written["spanId"] == format(done.context.span_id, "016x")
    assert (written["links"][0]["traceId"], written["links"][0]["spanId"]) == (f"{5:032x}", f"{6:016x}")
    assert (written["kind"], written["status"]) == (2, {"code": 2, "message": "bad"})
    assert written["startTimeUnixNano"] == str(done.start_time)
    assert {"key": "n", "value": {"intValue": str(2**60)}} in written["attributes"]
    assert {"key": "ok", "value": {"boolValue": True}} in written["attributes"]
    assert written["events"][0]["timeUnixNano"] == str(done.events[0].timestamp)


ids = st.integers(1, 2**64 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
anything = st.one_of(
    texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.binary(max_size=9)
)


@st.composite
def traces_data(draw):
    traces = TracesData()
    for _ in range(draw(st.integers(0, 3))):
        resource_spans = traces.resource_spans.add(schema_url=draw(texts))
        fill(resource_spans.resource.attributes, draw)
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = draw(texts)
        for _ in range(draw(st.integers(0, 3))):
            span = scope_spans.spans.add(
                trace_id=draw(ids).to_bytes(16, "big"),
                span_id=draw(ids).to_bytes(8, "big"),
                parent_span_id=draw(st.one_of(st.just(b""), ids.map(lambda number: number.to_bytes(8, "big")))),
                name=draw(texts),
                kind=draw(st.integers(0, 5)),
                start_time_unix_nano=draw(ids),
                flags=draw(st.integers(0, 2**32 - 1)),
            )
            span.status.code = draw(st.integers(0, 2))
            fill(span.attributes, draw)
            fill(span.events.add(name=draw(texts), time_unix_nano=draw(ids)).attributes, draw)
            span.links.add(trace_id=draw(ids).to_bytes(16, "big"), span_id=draw(ids).to_bytes(8, "big"))
    return traces


def fill(attributes, draw):
    for key, value in draw(st.dictionaries(texts, anything, max_size=3)).items():
        target = attributes.add(key=key).value
        kinds = {bool: "bool_value", int: "int_value", float: "double_value", bytes: "bytes_value", str: "string_value"}
        setattr(target, kinds[type(value)], value)


@settings(deadline=None)
@given(traces_data())
def test_everything_comes_back_from_json_as_it_was(traces):
    document = json.loads(json.dumps(to_otlp_json(traces)))

    assert from_otlp_json(document) == traces
    assert all(re.fullmatch("[0-9a-f]{32}", span["traceId"]) for span in spans_in(document))
