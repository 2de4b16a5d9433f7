import asyncio
import contextlib
import signal
import socket
import textwrap
import threading

import pytest
from opentelemetry import trace

from otelflow.integrations import asgi
from otelflow.integrations.asgi import FlowMiddleware
from support.asgi import application, price
from support.ports import free_ports
from support.servers import (
    PARENT_ID,
    TRACE_ID,
    TRACEPARENT,
    ask,
    ask_twice,
    attributes_of,
    is_listening,
    uvicorn_serving,
    wait_until,
)


def test_a_request_is_a_flow_in_the_trace_of_its_caller(spans):
    headers = {"traceparent": TRACEPARENT, "tracestate": "shop=1", "baggage": "who=ann"}
    with uvicorn_serving(FlowMiddleware(application)) as url:
        answer = ask(url, headers=headers)
        wait_until(lambda: spans.named("flow GET"))

    assert (answer.status, answer.body) == (200, "0.5 ann")
    assert spans.tree() == [("flow GET", "success", [("task price", "success", [])])]
    span = spans.one("flow GET")
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, PARENT_ID)
    assert dict(span.context.trace_state) == {"shop": "1"}
    assert answer.headers["traceresponse"] == f"00-{TRACE_ID}-{span.context.span_id:016x}-01"
    assert attributes_of(span) == {"http.request.method": "GET", "http.response.status_code": 200}


def test_requests_without_a_caller_are_traces_of_their_own(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        answers = [ask(url), ask(url, headers={"traceparent": "nonsense"})]
        wait_until(lambda: len(spans.named("flow GET")) == 2)

    ids = {f"{span.context.trace_id:032x}" for span in spans.named("flow GET")}
    assert len(ids) == 2
    assert {answer.headers["traceresponse"].split("-")[1] for answer in answers} == ids


def test_an_answer_that_says_that_the_server_failed_is_a_failed_run(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        statuses = [ask(url, f"/{status}").status for status in (404, 503)]
        wait_until(lambda: len(spans.named("flow GET")) == 2)

    assert statuses == [404, 503]
    assert [span.attributes["otelflow.run.result"] for span in spans.named("flow GET")] == ["success", "failure"]
    assert spans.named("flow GET")[1].status.description == "the answer was 503"


def test_an_exception_comes_out_as_it_was_and_is_a_failed_run(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        status = ask(url, "/raises").status
        wait_until(lambda: spans.named("flow GET"))

    assert status == 500
    assert spans.one("flow GET").attributes["error.type"] == "LookupError"


def test_the_run_of_a_streamed_answer_ends_with_it_and_a_header_of_the_application_stays(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        answer = ask(url, "/pieces")
        wait_until(lambda: spans.named("flow GET"))

    assert (answer.body, answer.headers["traceresponse"]) == ("ab", "mine")
    assert spans.tree() == [("flow GET", "success", [("task price", "success", [])] * 2)]


def test_the_run_ends_when_the_client_has_gone(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1_000)
        wait_until(lambda: spans.named("flow GET"))

    assert spans.open_spans == 0
    assert spans.one("flow GET").attributes["otelflow.run.result"] == "cancellation"
    assert spans.one("flow GET").attributes["error.type"] == "otelflow.errors.ClientGone"


async def streaming(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await receive()
    await send({"type": "http.response.body"})


async def careless(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
    await receive()


async def broken(scope, receive, send):
    await receive()
    raise LookupError("no such fruit")


async def failing(scope, receive, send):
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await receive()


@pytest.mark.parametrize(
    ("application", "result"),
    [(streaming, "cancellation"), (careless, "success"), (broken, "failure"), (failing, "failure")],
)
def test_a_client_that_has_gone_cancels_what_is_not_whole_and_hides_no_failure(spans, application, result):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(_):
        pass

    with contextlib.suppress(LookupError):
        asyncio.run(FlowMiddleware(application)({"type": "http", "method": "GET", "path": "/"}, receive, send))

    assert spans.tree() == [("flow GET", result, [])]


def test_a_server_that_refuses_to_send_cancels_and_its_error_comes_out_as_it_was(spans):
    class Stopped(Exception):
        pass

    refusal = BrokenPipeError("gone")

    async def send(_):
        raise refusal

    async def translating(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except OSError as error:
            raise Stopped from error

    async def other(scope, receive, send):
        raise BrokenPipeError("of the database")

    errors = []
    for app in (careless, translating, other):
        with pytest.raises((OSError, Stopped)) as caught:
            asyncio.run(FlowMiddleware(app)({"type": "http", "method": "GET", "path": "/"}, None, send))
        errors.append(caught.value)

    assert (errors[0], errors[1].__cause__, errors[0].__context__) == (refusal, refusal, None)
    assert [span.attributes["otelflow.run.result"] for span in spans.spans] == ["cancellation"] * 2 + ["failure"]
    assert all("the client went away" in span.events[0].attributes["exception.message"] for span in spans.spans[:2])


def test_of_two_parents_none_is_taken_and_the_other_headers_are_joined(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        ask_twice(url, ("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT.replace("4bf9", "5bf9")))
        ask_twice(url, ("traceparent", TRACEPARENT), ("tracestate", "shop=1"), ("tracestate", "till=2"))
        wait_until(lambda: len(spans.named("flow GET")) == 2)

    alone, child = spans.named("flow GET")
    assert alone.parent is None
    assert f"{alone.context.trace_id:032x}"[4:] != TRACE_ID[4:]
    assert dict(child.context.trace_state) == {"shop": "1", "till": "2"}


def test_requests_at_the_same_time_do_not_mix(spans):
    with uvicorn_serving(FlowMiddleware(application)) as url:
        headers = [{"traceparent": f"00-{number:032x}-{PARENT_ID}-01"} for number in range(1, 21)]
        threads = [threading.Thread(target=ask, args=(url, "/pieces"), kwargs={"headers": each}) for each in headers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        wait_until(lambda: len(spans.named("flow GET")) == 20)

    assert sorted(root.children for root in spans.tree()) == [[("task price", "success", [])] * 2] * 20
    assert {span.context.trace_id for span in spans.named("task price")} == set(range(1, 21))


def test_the_span_of_an_instrumentation_is_the_parent(spans):
    asgi = pytest.importorskip("opentelemetry.instrumentation.asgi", reason="not installed: otelflow[frameworks]")
    from otelflow._core.process import provider

    app = asgi.OpenTelemetryMiddleware(
        FlowMiddleware(application), tracer_provider=provider._chosen.override, exclude_spans=["receive", "send"]
    )
    with uvicorn_serving(app) as url:
        answer = ask(url, headers={"traceparent": TRACEPARENT})
        wait_until(lambda: spans.named("GET /"))

    server, run = spans.one("GET /"), spans.one("flow GET")
    assert (f"{server.parent.span_id:016x}", server.kind) == (PARENT_ID, trace.SpanKind.SERVER)
    assert run.parent.span_id == server.context.span_id
    assert answer.headers["traceresponse"][3:35] == TRACE_ID


def test_metrics_are_shown_and_are_no_flow(spans):
    with uvicorn_serving(FlowMiddleware(application, metrics_path="/metrics")) as url:
        before = ask(url, "/metrics")
        ask(url)
        wait_until(lambda: spans.named("flow GET"))
        after = ask(url, "/metrics")

    assert before.status == 200
    assert 'otelflow_flow_runs_total{flow="GET",result="success"} 1.0' in after.body
    assert len(spans.named("flow GET")) == 1


def test_metrics_are_shown_where_the_application_is_mounted(spans):
    app = FlowMiddleware(application, metrics_path="/metrics")
    bodies = {}

    async def ask_for(path, root_path):
        async def send(message):
            bodies.setdefault((path, root_path), message.get("body"))
            bodies[path, root_path] = bodies[path, root_path] or message.get("body")

        scope = {"type": "http", "method": "GET", "path": path, "root_path": root_path, "headers": []}
        await app(scope, receive, send)

    async def receive():
        return {"type": "http.request"}

    for path in ("/api/metrics", "/metrics", "/200"):
        asyncio.run(ask_for(path, "/api"))
    asyncio.run(ask_for("/api/metrics", "/api/"))

    are_metrics = [body.startswith(b"# HELP") for body in bodies.values()]
    assert are_metrics == [True, True, False, True]


def test_what_waits_is_delivered_also_when_the_end_of_the_application_fails(spans, monkeypatch):
    flushes = []
    monkeypatch.setattr(asgi, "force_flush", flushes.append)

    async def failing_at_its_end(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.failed"})

    async def send(message):
        flushes.append(message["type"])

    asyncio.run(FlowMiddleware(failing_at_its_end)({"type": "lifespan"}, None, send))

    assert flushes == ["lifespan.startup.complete", 5_000, "lifespan.shutdown.failed"]


LIFESPANS = {
    "its own": """
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        """,
    "refused": "raise ValueError('I can only handle HTTP connections, not lifespan.')",
    "left out": "pass",
}


@pytest.mark.parametrize("lifespan", LIFESPANS)
def test_what_waits_is_delivered_before_a_signal_ends_the_server(program, lifespan):
    pytest.importorskip("uvicorn", reason="not installed: pip install 'otelflow[hosts]'")
    [port] = free_ports(1)
    program.start(
        """
        import uvicorn
        from otelflow.integrations.asgi import FlowMiddleware

        provide()
        """,
        "async def live(receive, send):\n" + textwrap.indent(textwrap.dedent(LIFESPANS[lifespan]), "    "),
        f"""
        async def application(scope, receive, send):
            if scope["type"] == "lifespan":
                await live(receive, send)
            else:
                await send({{"type": "http.response.start", "status": 200, "headers": []}})
                await send({{"type": "http.response.body"}})

        uvicorn.run(FlowMiddleware(application), port={port}, log_level="error")
        """,
    )
    wait_until(lambda: is_listening(port))
    ask(f"http://127.0.0.1:{port}")
    program.send(signal.SIGTERM)
    program.done()

    assert program.results() == [("flow GET", "success")]


def test_an_application_that_fails_when_it_starts_or_ends_says_so_to_the_server():
    async def receive():
        return {"type": "lifespan.startup"}

    async def failing(scope, receive, send):
        await receive()
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        asyncio.run(FlowMiddleware(failing)({"type": "lifespan"}, receive, None))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of an older TestClient, by a newer anyio
def test_what_fails_before_it_listens_fails_as_without_the_middleware():
    async def broken(scope, receive, send):
        raise RuntimeError("the address of the database is missing")

    with pytest.raises(RuntimeError, match="the address of the database is missing"):
        asyncio.run(FlowMiddleware(broken)({"type": "lifespan"}, None, None))


def test_websockets_are_flows_until_they_are_closed(spans):
    pytest.importorskip("starlette", reason="not installed: pip install 'otelflow[docs]'")
    from starlette.testclient import TestClient

    async def application_of_sockets(scope, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        message = await receive()
        price()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close"})

    with TestClient(FlowMiddleware(application_of_sockets)).websocket_connect(
        "/ws", headers={"traceparent": TRACEPARENT}
    ) as websocket:
        websocket.send_text("hello")
        text = websocket.receive_text()

    assert text == "hello"
    assert spans.tree() == [("flow WEBSOCKET", "success", [("task price", "success", [])])]
    assert f"{spans.one('flow WEBSOCKET').context.trace_id:032x}" == TRACE_ID


@pytest.mark.parametrize(("status", "result"), [(403, "success"), (503, "failure")])
def test_a_websocket_that_is_refused_with_an_answer_tells_its_status(spans, status, result):
    sent = []

    async def refusing(scope, receive, send):
        await receive()
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"full"})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "extensions": {"websocket.http.response": {}}}
    asyncio.run(FlowMiddleware(refusing)(scope, receive, send))

    assert [message["type"][-5:] for message in sent] == ["start", ".body"]
    assert [name for name, _ in sent[0]["headers"]] == [b"traceresponse"]
    span = spans.one("flow WEBSOCKET")
    attributes = (span.attributes["otelflow.run.result"], span.attributes["http.response.status_code"])
    assert attributes == (result, status)


def test_a_websocket_that_is_closed_before_it_is_accepted_tells_what_the_server_answers(spans):
    async def refusing(scope, receive, send):
        await send({"type": "websocket.close", "code": 1008})

    async def closing(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    async def send(_):
        pass

    for app in (refusing, closing):
        asyncio.run(FlowMiddleware(app)({"type": "websocket", "path": "/ws"}, None, send))

    assert [span.attributes.get("http.response.status_code") for span in spans.spans] == [403, None]
    assert spans.tree() == [("flow WEBSOCKET", "success", [])] * 2


def test_a_request_that_is_cancelled_is_a_cancellation_and_nothing_stays_current(spans):
    async def main():
        started = asyncio.Event()

        async def waiting(scope, receive, send):
            started.set()
            await asyncio.sleep(60)

        scope = {"type": "http", "method": "GET", "path": "/"}
        request = asyncio.create_task(FlowMiddleware(waiting)(scope, None, None))
        await started.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        return request.cancelled(), trace.get_current_span().get_span_context().is_valid

    assert asyncio.run(main()) == (True, False)
    assert spans.tree() == [("flow GET", "cancellation", [])]
