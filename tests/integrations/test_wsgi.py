import threading

import pytest
from opentelemetry import trace

from otelflow import task
from otelflow.integrations.wsgi import FlowMiddleware
from support.servers import PARENT_ID, TRACE_ID, TRACEPARENT, ask, ask_twice, attributes_of, wait_until, wsgi_serving


@task
def price():
    return b"0.5"


class Pieces:
    """A body that does its work while it is sent."""

    closed = 0

    def __iter__(self):
        yield price()
        yield price()

    def close(self):
        Pieces.closed += 1


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raises":
        raise LookupError("no such fruit")
    status = path.removeprefix("/") if path[1:].isdigit() else "200"
    start_response(f"{status} So", [("Content-Type", "text/plain")])
    return Pieces() if path == "/pieces" else [price()]


def test_a_request_is_a_flow_in_the_trace_of_its_caller(spans):
    with wsgi_serving(FlowMiddleware(application)) as url:
        answer = ask(url, headers={"traceparent": TRACEPARENT})

    assert (answer.status, answer.body) == (200, "0.5")
    assert spans.tree() == [("flow GET", "success", [("task price", "success", [])])]
    span = spans.one("flow GET")
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, PARENT_ID)
    assert answer.headers["traceresponse"] == f"00-{TRACE_ID}-{span.context.span_id:016x}-01"
    assert attributes_of(span) == {"http.request.method": "GET", "http.response.status_code": 200}


def test_the_run_goes_on_until_the_body_was_sent(spans):
    Pieces.closed = 0
    with wsgi_serving(FlowMiddleware(application)) as url:
        answer = ask(url, "/pieces")

    assert (answer.body, Pieces.closed) == ("0.50.5", 1)
    assert spans.tree() == [("flow GET", "success", [("task price", "success", [])] * 2)]


def test_a_body_that_nobody_reads_to_its_end_is_closed_and_so_is_the_run(spans):
    Pieces.closed = 0
    body = FlowMiddleware(application)({"REQUEST_METHOD": "GET", "PATH_INFO": "/pieces"}, lambda *_: None)
    next(iter(body))
    assert spans.open_spans == 1
    body.close()

    assert (Pieces.closed, spans.open_spans) == (1, 0)
    run = spans.one("flow GET")
    assert run.attributes["otelflow.run.result"] == "cancellation"
    assert attributes_of(run) == {"http.request.method": "GET", "http.response.status_code": 200}
    assert run.events[0].attributes["exception.message"] == "the client went away before it had the whole answer"


@pytest.mark.parametrize(
    ("method", "status", "headers", "result"),
    [
        ("GET", "200 OK", [("Content-Length", "6")], "cancellation"),
        ("GET", "200 OK", [("Content-Length", "3")], "success"),
        ("GET", "503 No", [], "failure"),
        ("GET", "503 No", [("Content-Length", "3")], "failure"),
        ("HEAD", "200 OK", [], "success"),
        ("HEAD", "503 No", [], "failure"),
    ],
)
def test_what_is_not_taken_to_its_end_is_cancelled_unless_it_was_whole_or_failed(
    spans, method, status, headers, result
):
    def application(environ, start_response):
        start_response(status, headers)
        return iter([b"abc", b"def"])

    body = FlowMiddleware(application)({"REQUEST_METHOD": method, "PATH_INFO": "/"}, lambda *_: None)
    next(body)
    body.close()

    assert spans.tree() == [(f"flow {method}", result, [])]
    assert attributes_of(spans.spans[0])["http.response.status_code"] == int(status[:3])


def test_of_two_parents_none_is_taken(spans):
    with wsgi_serving(FlowMiddleware(application)) as url:
        ask_twice(url, ("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT.replace("4bf9", "5bf9")))

    assert spans.one("flow GET").parent is None


def test_a_failure_is_one_and_comes_out_as_it_was(spans):
    with wsgi_serving(FlowMiddleware(application)) as url:
        answers = [ask(url, path).status for path in ("/raises", "/503", "/404")]

    assert answers == [500, 503, 404]
    runs = spans.named("flow GET")
    assert [run.attributes["otelflow.run.result"] for run in runs] == ["failure", "failure", "success"]
    assert [run.attributes.get("error.type", "") for run in runs] == [
        "LookupError",
        "otelflow.errors.ServerError",
        "",
    ]


def test_requests_on_many_threads_do_not_mix(spans):
    with wsgi_serving(FlowMiddleware(application)) as url:
        headers = [{"traceparent": f"00-{number:032x}-{PARENT_ID}-01"} for number in range(1, 11)]
        threads = [threading.Thread(target=ask, args=(url, "/pieces"), kwargs={"headers": each}) for each in headers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        wait_until(lambda: len(spans.named("flow GET")) == 10)

    assert [root.children for root in spans.tree()] == [[("task price", "success", [])] * 2] * 10
    assert {span.context.trace_id for span in spans.named("task price")} == set(range(1, 11))


@pytest.mark.parametrize("flows", [False, lambda _: None])
def test_without_a_flow_the_trace_of_the_caller_goes_on(spans, flows):
    with wsgi_serving(FlowMiddleware(application, flows=flows)) as url:
        ask(url, "/pieces", headers={"traceparent": TRACEPARENT})

    assert [span.name for span in spans.spans] == ["task price"] * 2
    assert {f"{span.parent.span_id:016x}" for span in spans.spans} == {PARENT_ID}


def test_the_span_of_an_instrumentation_is_the_parent(spans):
    wsgi = pytest.importorskip("opentelemetry.instrumentation.wsgi", reason="not installed: otelflow[frameworks]")
    from otelflow._core.process import provider

    app = wsgi.OpenTelemetryMiddleware(FlowMiddleware(application), tracer_provider=provider._chosen.override)
    with wsgi_serving(app) as url:
        ask(url, headers={"traceparent": TRACEPARENT})
        wait_until(lambda: spans.open_spans == 0 and len(spans.spans) == 3)

    server = next(span for span in spans.spans if span.kind is trace.SpanKind.SERVER)
    assert f"{server.parent.span_id:016x}" == PARENT_ID
    assert spans.one("flow GET").parent.span_id == server.context.span_id


def test_metrics_are_shown_and_are_no_flow(spans):
    with wsgi_serving(FlowMiddleware(application, metrics_path="/metrics")) as url:
        ask(url, "/metrics")
        ask(url)
        shown = ask(url, "/metrics")

    assert 'otelflow_flow_runs_total{flow="GET",result="success"} 1.0' in shown.body
    assert len(spans.named("flow GET")) == 1
