"""OpenTelemetry's own instrumentations stand around flows and inside of them, in one tree, on both sides of a call."""

import contextlib
from concurrent import futures

import pytest
from opentelemetry import trace

from otelflow import flow, task
from otelflow._core.process import provider
from otelflow.integrations.grpc import flow_interceptor
from otelflow.integrations.wsgi import FlowMiddleware
from support.servers import parents_of, wait_until, wsgi_serving


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [price()]


@task
def price():
    return b"0.5"


def instrumentation_of(name):
    return pytest.importorskip(f"opentelemetry.instrumentation.{name}", reason="otelflow[frameworks]")


@contextlib.contextmanager
def instrumented(instrumentor):
    instrumentor.instrument(tracer_provider=provider._chosen.override)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def test_a_request_of_requests_is_a_part_of_the_task_and_the_flow_of_the_server_is_a_part_of_it(spans):
    requests = pytest.importorskip("requests")
    session = requests.Session()
    session.trust_env = False

    @task
    def order(url):
        return session.get(url, timeout=20).text

    with (
        instrumented(instrumentation_of("requests").RequestsInstrumentor()),
        wsgi_serving(FlowMiddleware(application)) as url,
    ):
        assert order(url) == "0.5"
        wait_until(lambda: spans.open_spans == 0)

    assert parents_of(spans) == [
        ("task order", None),
        ("GET", "task order"),
        ("flow GET", "GET"),
        ("task price", "flow GET"),
    ]


def test_a_request_of_httpx_is_a_part_of_the_flow_also_in_a_loop(spans):
    httpx = pytest.importorskip("httpx")

    @flow
    async def order(url):
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url)).text

    with (
        instrumented(instrumentation_of("httpx").HTTPXClientInstrumentor()),
        wsgi_serving(FlowMiddleware(application)) as url,
    ):
        assert order(url).execute().flow_return_value == "0.5"
        wait_until(lambda: spans.open_spans == 0)

    assert parents_of(spans) == [
        ("flow order", None),
        ("GET", "flow order"),
        ("flow GET", "GET"),
        ("task price", "flow GET"),
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_call_of_a_grpc_service_is_a_flow_inside_of_its_span(spans):
    grpc = pytest.importorskip("grpc")
    instrumentation = instrumentation_of("grpc")
    tracers = provider._chosen.override

    method = grpc.unary_unary_rpc_method_handler(lambda request, context: price())
    server = grpc.server(
        futures.ThreadPoolExecutor(1),
        handlers=[grpc.method_handlers_generic_handler("Shop", {"charge": method})],
        interceptors=[instrumentation.server_interceptor(tracers), flow_interceptor()],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    @flow
    def order():
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            intercepted = instrumentation.intercept_channel(channel, instrumentation.client_interceptor(tracers))
            return intercepted.unary_unary("/Shop/charge")(b"apple", timeout=20)

    try:
        assert order().execute().flow_return_value == b"0.5"
        wait_until(lambda: spans.named("flow Shop/charge") and spans.open_spans == 0)
    finally:
        server.stop(None).wait(10)

    kinds = {span.kind: span.name for span in spans.spans if span.kind is not trace.SpanKind.INTERNAL}
    assert set(kinds) == {trace.SpanKind.CLIENT, trace.SpanKind.SERVER}
    assert [parent for _, parent in parents_of(spans)] == [
        None,
        "flow order",
        kinds[trace.SpanKind.CLIENT],
        kinds[trace.SpanKind.SERVER],
        "flow Shop/charge",
    ]


def test_a_job_of_a_scheduler_may_be_a_flow_that_its_store_finds_by_name(spans):
    background = pytest.importorskip("apscheduler.schedulers.background", reason="not installed: otelflow[docs]")
    scheduler = background.BackgroundScheduler(timezone="UTC")
    scheduler.start()
    try:
        job = scheduler.add_job(nightly, "date")
        wait_until(lambda: spans.named("flow nightly"))
    finally:
        scheduler.shutdown()

    assert job.func_ref.endswith(":nightly")
    spans.assert_tree("nightly > price")


@flow(execute_on_call=True)
def nightly():
    return price()
