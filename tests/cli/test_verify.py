import re
from http.server import BaseHTTPRequestHandler

import pytest

from otelflow._cli import _http as http
from otelflow._cli import verify as module
from otelflow._cli.verify import Difference, spans_of, verify
from support.receivers import serving


def document(*spans):
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def span(span_id, **more):
    return {"spanId": span_id, "name": f"task {span_id}", "startTimeUnixNano": "1", **more}


@pytest.fixture
def jaeger(monkeypatch):
    """Answers in the place of Jaeger, one after the other."""
    answers = []
    monkeypatch.setattr(module, "get", lambda _address, _path: answers.pop(0))
    monkeypatch.setattr(module, "_POLL_SECONDS", 0)
    return answers


def answer(status, body):
    return http.Answer(status, body, None, "")


def test_a_trace_that_arrives_a_moment_later_arrived_whole(jaeger):
    jaeger += [answer(404, {"error": "no trace"}), answer(200, {"result": document(span("a"))})]

    assert verify(document(span("a")), "http://jaeger", "1", wait_seconds=60) == []


def test_each_difference_names_its_span(jaeger):
    jaeger += [answer(200, {"result": document(span("b", kind=2), span("c", parentSpanId="b"))})]

    differences = verify(document(span("a"), span("b")), "http://jaeger", "1", wait_seconds=-1)

    assert differences == [
        Difference("a", "task a", "is missing"),
        Difference("b", "task b", "differs in kind"),
        Difference("c", "task c", "was not recorded here"),
    ]


def test_a_marker_that_a_flow_has_begun_is_no_difference(jaeger):
    started = {"key": "otelflow.run.marker", "value": {"stringValue": "started"}}
    marker = span("m", parentSpanId="a", attributes=[started])
    jaeger += [answer(200, {"result": document(span("a"), marker)})]

    assert verify(document(span("a")), "http://jaeger", "1", wait_seconds=-1) == []


def of_service(name, *spans):
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]}
    return {"resource": resource, "scopeSpans": [{"spans": list(spans)}]}


def test_the_spans_of_others_in_the_same_trace_are_no_difference(jaeger):
    recorded = [span("flow", parentSpanId="request"), span("task", parentSpanId="flow")]
    others = [
        of_service("caller", span("request"), span("sibling", parentSpanId="request")),
        of_service("callee", span("query", parentSpanId="task")),
    ]
    own = of_service("shop", *recorded, span("earlier", parentSpanId="request"))
    jaeger += [answer(200, {"result": {"resourceSpans": [own, *others]}})]

    differences = verify({"resourceSpans": [of_service("shop", *recorded)]}, "http://jaeger", "1", wait_seconds=-1)

    assert differences == []


def test_a_span_of_the_same_process_inside_a_flow_that_was_not_recorded_is_a_difference(jaeger):
    extra = span("inner", parentSpanId="outer"), span("outer", parentSpanId="flow")
    jaeger += [answer(200, {"result": {"resourceSpans": [of_service("shop", span("flow"), *extra)]}})]

    differences = verify({"resourceSpans": [of_service("shop", span("flow"))]}, "http://jaeger", "1", wait_seconds=-1)

    assert [difference.span_id for difference in differences] == ["inner", "outer"]


@pytest.mark.parametrize("links", [[], [{"traceId": "t", "spanId": "other"}], [{"traceId": "u", "spanId": "s"}]])
def test_links_are_compared(jaeger, links):
    recorded = document(span("a", links=[{"traceId": "t", "spanId": "s", "attributes": []}]))
    jaeger += [answer(200, {"result": document(span("a", links=links))})]
    jaeger += [answer(200, {"result": document(span("a", links=[{"spanId": "s", "traceId": "t"}]))})]

    first = verify(recorded, "http://jaeger", "1", wait_seconds=-1)
    second = verify(recorded, "http://jaeger", "1", wait_seconds=-1)

    assert (first, second) == ([Difference("a", "task a", "differs in links")], [])


@pytest.mark.parametrize(("status", "body"), [(404, None), (500, {}), (200, {}), (200, None), (302, None)])
def test_another_server_is_not_taken_for_jaeger(jaeger, status, body):
    jaeger += [answer(status, body)]

    with pytest.raises(http.Unreachable, match=rf"is not Jaeger's query address \(port 16686\): .* answered {status}"):
        verify(document(), "http://jaeger", "1", wait_seconds=0)


@pytest.mark.parametrize(
    "result",
    [
        {"resourceSpans": "x"},
        {"resourceSpans": [7]},
        document("x"),
        document({"name": "no id"}),
        document(span("a", startTimeUnixNano="soon")),
        document(span("a", attributes=[{"value": 1}])),
        document(span("a", attributes=[{"key": "x", "value": {"doubleValue": 10**400}}])),
        document(span("a", attributes=[{"key": "x", "value": {"doubleValue": []}}])),
        [],
    ],
)
def test_json_that_is_no_trace_is_not_taken_for_one(jaeger, result):
    jaeger += [answer(200, {"result": result})]

    with pytest.raises(http.Unreachable, match="answered with JSON that is no trace"):
        verify(document(), "http://jaeger", "1", wait_seconds=0)


def test_names_and_parents_of_any_kind_are_compared(jaeger):
    jaeger += [answer(200, {"result": document(span("a", name=["x"], parentSpanId={"b": 1}), span(7, name=8))})]

    differences = verify(document(span("a", name="x")), "http://jaeger", "1", wait_seconds=-1)

    assert differences == [Difference("a", "x", "differs in parent, name")]


def test_attributes_are_compared_as_jaegers_storage_keeps_them():
    values = {
        "text": {"stringValue": "a"},
        "number": {"intValue": "7"},
        "list": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "b"}]}},
        "none": {},
    }
    attributes = [{"key": key, "value": value} for key, value in values.items()]

    (plain,) = spans_of(document(span("a", attributes=attributes)))

    assert plain["attributes"] == {"text": "a", "number": "7", "list": '[1, "b"]', "none": ""}


def array(*values):
    return {"arrayValue": {"values": [*values]}}


@pytest.mark.parametrize(
    ("stored", "arrived"),
    [
        ({"doubleValue": 0.0}, {"doubleValue": 0}),
        ({"doubleValue": -0.0}, {"doubleValue": 0}),
        ({"doubleValue": 1e16}, {"doubleValue": 10000000000000000}),
        ({"doubleValue": 2.0**60}, {"doubleValue": 1152921504606847000}),
        ({"doubleValue": 1e21}, {"doubleValue": 1e21}),
        ({"doubleValue": "NaN"}, {"doubleValue": "NaN"}),
        ({"intValue": "9007199254740993"}, {"intValue": 9007199254740993}),
        ({"boolValue": True}, {"boolValue": True}),
        ({"bytesValue": "AP8="}, {"bytesValue": "AP8="}),
        ({}, {"stringValue": ""}),
        (
            array({"doubleValue": 0.0}, {"doubleValue": 2.0**60}, {"doubleValue": 1e-7}),
            {"stringValue": "[0,1152921504606847000,1e-7]"},
        ),
        (
            array({"intValue": "9007199254740993"}, {}, {"boolValue": True}),
            {"stringValue": "[9007199254740993,null,true]"},
        ),
        (array({"stringValue": "<é>"}, {"bytesValue": "AP8="}), {"stringValue": '["\\u003cé\\u003e","AP8="]'}),
        (array({"doubleValue": "NaN"}, {"doubleValue": 1.0}), {"stringValue": ""}),
        ({"arrayValue": {}}, {"stringValue": "[]"}),
        (
            {"kvlistValue": {"values": [{"key": "b", "value": {"doubleValue": 1.0}}, {"key": "a"}]}},
            {"stringValue": '{"a":null,"b":1}'},
        ),
        ({"stringValue": "[not JSON"}, {"stringValue": "[not JSON"}),
        ({"stringValue": "[NaN]"}, {"stringValue": "[NaN]"}),
    ],
)
def test_what_jaeger_writes_in_another_form_is_no_difference(jaeger, stored, arrived):
    def with_value(value):
        attributes = [{"key": "x", "value": value}]
        return document(span("a", attributes=attributes, events=[{"name": "e", "attributes": attributes}]))

    jaeger += [answer(200, {"result": with_value(arrived)})]

    assert verify(with_value(stored), "http://jaeger", "1", wait_seconds=-1) == []


@pytest.mark.parametrize(
    ("stored", "arrived"),
    [
        ({"doubleValue": 0.1}, {"doubleValue": 0.2}),
        ({"intValue": "9007199254740993"}, {"intValue": "9007199254740992"}),
        (array({"intValue": "9007199254740993"}), {"stringValue": "[9007199254740992]"}),
        (array({"doubleValue": 1.5}), {"stringValue": ""}),
        ({"stringValue": "[1]"}, {"stringValue": "[2]"}),
        ({"stringValue": "[NaN, 1]"}, {"stringValue": "[NaN, 2]"}),
    ],
)
def test_another_value_is_a_difference(jaeger, stored, arrived):
    jaeger += [answer(200, {"result": document(span("a", attributes=[{"key": "x", "value": arrived}]))})]
    recorded = document(span("a", attributes=[{"key": "x", "value": stored}]))

    differences = verify(recorded, "http://jaeger", "1", wait_seconds=-1)

    assert differences == [Difference("a", "task a", "differs in attributes")]


@pytest.fixture
def empty_jaeger():
    """A server that answers as Jaeger does when it has no such trace."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"error": {"httpCode": 404, "message": "No traces found"}}'
            self.send_response(404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as server:
        yield server.url


def test_a_trace_that_is_not_there_is_told_in_one_line(otelflow, empty_jaeger):
    run = otelflow("run", "flows.py:ratio", "-p", "a=6")
    trace_id = re.search(r"trace ([0-9a-f]{32})", run.err)[1]

    done = otelflow("verify", trace_id, "--jaeger", f"{empty_jaeger}/search?service=shop", "--wait", "0")

    assert done.code == 1
    assert len(done.lines) == 1
    assert f"trace {trace_id} is not in {empty_jaeger}: none of its 2 spans arrived" in done.err


def test_a_trace_that_is_not_stored_is_told_in_one_line(otelflow, empty_jaeger):
    done = otelflow("verify", "ab" * 16, "--jaeger", empty_jaeger)

    assert (done.code, len(done.lines)) == (2, 1)
    assert "ab" * 16 in done.err


def test_what_cannot_be_told_is_one_line_and_no_difference(otelflow):
    run = otelflow("run", "flows.py:ratio", "-p", "a=6")
    trace_id = re.search(r"trace ([0-9a-f]{32})", run.err)[1]

    done = otelflow("verify", trace_id, "--jaeger", "http://127.0.0.1:9", "--wait", "0")

    assert done.code == 3
    assert len(done.lines) == 1
    assert f"trace {trace_id} cannot be compared: http://127.0.0.1:9 does not answer" in done.err
    assert "--jaeger URL" in done.err
