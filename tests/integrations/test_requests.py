"""Which requests are flows, what they are called, and which header tells of the trace: the same for each server."""

import pytest

from otelflow.errors import ConfigurationError
from otelflow.integrations._requests import FlowsByName, joined, name_of
from otelflow.integrations.asgi import FlowMiddleware
from support.asgi import application, price
from support.servers import (
    TRACE_ID,
    TRACEPARENT,
    ask,
    uvicorn_serving,
    wait_until,
)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"flows": lambda scope: f"page {scope['path']}"}, "flow page /200"),
        ({"flows": lambda _: None}, None),
        ({"flows": False}, None),
        ({"flows": lambda _: 1 / 0}, "flow GET"),
    ],
)
def test_the_program_says_which_requests_are_flows_and_their_names(spans, options, name):
    with uvicorn_serving(FlowMiddleware(application, **options)) as url:
        answer = ask(url, "/200", headers={"traceparent": TRACEPARENT})
        wait_until(lambda: spans.named("task price") and (name is None or spans.named(name)))

    assert answer.status == 200
    assert [span.name for span in spans.spans] == [*([name] if name else []), "task price"]
    assert f"{spans.one('task price').context.trace_id:032x}" == TRACE_ID == answer.headers["traceresponse"][3:35]


def test_nonsense_makes_no_series_of_its_own(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        ask(url, method="BREW")
        wait_until(lambda: spans.spans[1:])

    span = spans.one("flow HTTP")
    assert span.attributes["http.request.method"] == "_OTHER"


def test_the_header_may_be_another_or_none(spans):
    with uvicorn_serving(FlowMiddleware(application, response_header="X-Trace-Id")) as url:
        answer = ask(url, headers={"traceparent": TRACEPARENT})
    with uvicorn_serving(FlowMiddleware(application, response_header=None)) as url:
        bare = ask(url, headers={"traceparent": TRACEPARENT})

    assert answer.headers["x-trace-id"] == TRACE_ID
    assert TRACE_ID not in str(bare.headers)


async def name_later(request):
    return "GET"


@pytest.mark.parametrize("name", [7, b"GET", "", " "])
def test_a_name_that_is_no_text_costs_no_answer(spans, caplog, name):
    with uvicorn_serving(FlowMiddleware(application, flows=lambda scope: name)) as url:
        answer = ask(url)
        wait_until(lambda: spans.spans[1:])

    assert answer.status == 200
    assert spans.one("flow GET")
    assert f"TypeError: {name!r} is no name: return a text, or None for no flow" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flows": "GET"}, "flows must be True, False, or a plain function that names them, not 'GET'"),
        ({"flows": name_later}, "flows must be True, False, or a plain function that names them, not <function"),
        ({"metrics_path": "metrics"}, "metrics_path must be a path such as '/metrics', or None, not 'metrics'"),
        ({"response_header": "trace id"}, "response_header must be the name of a header, or None, not 'trace id'"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(options, words):
    with pytest.raises(ConfigurationError, match=words):
        FlowMiddleware(application, **options)


def test_whoever_asks_for_nonsense_makes_no_flow_of_its_own():
    names = [name_of(*asked) for asked in (("GET", None), ("GET", "/orders/<fruit>"), ("BREW", None), ("get", "/"))]

    assert names == ["GET", "GET /orders/<fruit>", "HTTP", "HTTP /"]


def test_headers_that_come_more_than_once_are_one():
    assert joined([("tracestate", "a=1"), ("Accept", "*/*"), ("TraceState", "b=2")]) == {
        "tracestate": "a=1,b=2",
        "accept": "*/*",
    }


def test_of_names_that_a_program_makes_a_thousand_are_kept_and_the_others_are_flows_too(spans):
    flows = FlowsByName("Server", lambda request: f"page {request}")

    runners = [flows.runner(price, number, "GET") for number in range(1_002)]
    again = [flows.runner(price, number, "GET") for number in range(1_002)]

    assert [one is other for one, other in zip(runners, again, strict=True)] == [True] * 1_000 + [False] * 2
    assert again[-1]() == "0.5"
    assert spans.tree() == [("flow page 1001", "success", [("task price", "success", [])])]
