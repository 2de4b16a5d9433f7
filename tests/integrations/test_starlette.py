import inspect

import pytest

from otelflow import INJECTED, Flow, flow, task
from otelflow.integrations.starlette import FlowMiddleware
from support.servers import TRACE_ID, TRACEPARENT, ask, attributes_of, parents_of, uvicorn_serving, wait_until

fastapi = pytest.importorskip("fastapi", reason="not installed: pip install 'otelflow[fastapi]'")
MAKES_SPANS = "telemetry" in inspect.signature(fastapi.FastAPI).parameters
# FastAPI's own spans go to the global provider, which is not the test's.
WITHOUT_OWN_SPANS = {"tracing": False}


@task
async def price(fruit):
    return {"apple": 0.5}[fruit]


@flow
async def report():
    await price("apple")


def application(**options):  # noqa: C901 each of its handlers is one line
    from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
    from starlette.responses import StreamingResponse

    app = FastAPI(**({"telemetry": WITHOUT_OWN_SPANS} if MAKES_SPANS else {}))
    router = fastapi.APIRouter(prefix="/orders")
    inner = FastAPI()

    def count(count: int = 1):
        return count

    @router.get("/{fruit}")
    async def order(fruit: str, background: BackgroundTasks, count: int = Depends(count)):
        if fruit == "none":
            raise HTTPException(404)

        async def report_later():
            await report()

        if fruit == "later":
            background.add_task(report_later)
            return "soon"
        return await price(fruit) * count

    @app.get("/pieces")
    def pieces():
        async def body():
            for _ in range(2):
                yield str(await price("apple"))

        return StreamingResponse(body())

    @app.get("/flow")
    @flow(execute_on_call=True)
    async def decorated(fruit: str, count: int = Depends(count)):
        return await price(fruit) * count

    @app.websocket("/ws/{name}")
    async def socket(websocket: WebSocket, name: str):
        await websocket.accept()
        await websocket.send_text(f"{name} {await price('apple')}")
        await websocket.close()

    inner.add_api_route("/deep/{number}", lambda number: number)
    app.include_router(router, prefix="/shop")
    app.mount("/inner", inner)
    app.add_middleware(FlowMiddleware, metrics_path="/metrics", **options)
    return app


def test_a_request_is_a_flow_that_is_called_by_its_route(spans):
    with uvicorn_serving(application()) as url:
        answer = ask(url, "/shop/orders/apple?count=3", headers={"traceparent": TRACEPARENT})
        others = [ask(url, path).status for path in ("/inner/deep/7", "/shop/orders/none", "/nowhere")]
        wait_until(lambda: len(spans.spans) == 5)

    assert (answer.body, others) == ("1.5", [200, 404, 404])
    assert spans.tree() == [
        ("flow GET /shop/orders/{fruit}", "success", [("task price", "success", [])]),
        ("flow GET /inner/deep/{number}", "success", []),
        ("flow GET /shop/orders/{fruit}", "success", []),
        ("flow GET", "success", []),
    ]
    run = spans.spans[0]
    assert f"{run.context.trace_id:032x}" == TRACE_ID == answer.headers["traceresponse"][3:35]
    assert attributes_of(run) == {
        "http.request.method": "GET",
        "http.route": "/shop/orders/{fruit}",
        "http.response.status_code": 200,
    }


def test_an_exception_of_a_handler_is_a_failed_run_and_an_answer(spans):
    with uvicorn_serving(application()) as url:
        answer = ask(url, "/shop/orders/kiwi")
        wait_until(lambda: len(spans.spans) == 2)

    assert (answer.status, answer.body) == (500, "Internal Server Error")
    assert spans.tree() == [("flow GET /shop/orders/{fruit}", "failure", [("task price", "failure", [])])]


@pytest.mark.parametrize("has_handler", [False, True])
def test_the_answer_to_an_exception_that_nobody_handles_tells_of_its_trace(spans, has_handler):
    from starlette.responses import PlainTextResponse

    app = application()
    if has_handler:
        app.add_exception_handler(Exception, lambda request, error: PlainTextResponse("sorry", 500))
    with uvicorn_serving(app) as url:
        answers = [ask(url, path) for path in ("/shop/orders/kiwi", "/shop/orders/apple", "/shop/orders/kiwi")]
        wait_until(lambda: len(spans.spans) == 6)

    assert [answer.status for answer in answers] == [500, 200, 500]
    assert answers[0].body == ("sorry" if has_handler else "Internal Server Error")
    told = [answer.headers["traceresponse"][3:52] for answer in answers]
    flows = [span for span in spans.spans if span.name.startswith("flow ")]
    assert told == [f"{run.context.trace_id:032x}-{run.context.span_id:016x}" for run in flows]


def test_without_a_header_no_answer_has_one(spans):
    with uvicorn_serving(application(response_header=None)) as url:
        answers = [ask(url, path) for path in ("/shop/orders/kiwi", "/shop/orders/apple")]

    assert [answer.headers.get("traceresponse") for answer in answers] == [None, None]


def test_background_tasks_and_streamed_answers_are_parts_of_the_run(spans):
    with uvicorn_serving(application()) as url:
        bodies = [ask(url, path).body for path in ("/shop/orders/later", "/pieces")]
        wait_until(lambda: len(spans.spans) == 6)

    assert bodies == ['"soon"', "0.50.5"]
    prices = [("task price", "success", [])]
    assert spans.tree() == [
        ("flow GET /shop/orders/{fruit}", "success", [("flow report", "success", prices)]),
        ("flow GET /pieces", "success", prices * 2),
    ]


def test_a_handler_may_be_a_flow_itself_with_what_it_depends_on(spans):
    with uvicorn_serving(application(flows=False)) as url:
        answer = ask(url, "/flow?fruit=apple&count=2", headers={"traceparent": TRACEPARENT})
        refused = ask(url, "/flow")
        wait_until(lambda: len(spans.spans) == 2)

    assert (answer.body, refused.status) == ("1.0", 422)
    assert spans.tree() == [("flow decorated", "success", [("task price", "success", [])])]
    assert f"{spans.spans[0].context.trace_id:032x}" == TRACE_ID


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of an older TestClient, by a newer anyio
def test_websockets_have_their_route_too(spans):
    from starlette.testclient import TestClient

    with TestClient(application()).websocket_connect("/ws/ann") as websocket:
        text = websocket.receive_text()

    assert text == "ann 0.5"
    assert spans.tree() == [("flow WEBSOCKET /ws/{name}", "success", [("task price", "success", [])])]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # see above
def test_a_route_of_a_host_is_the_name_of_its_requests(spans):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Host, Route, Router
    from starlette.testclient import TestClient

    orders = Router([Route("/orders/{number}", lambda request: PlainTextResponse(request.path_params["number"]))])
    app = Starlette(routes=[Host("api.shop.test", app=orders)])
    app.add_middleware(FlowMiddleware)
    answers = [TestClient(app, base_url=f"http://{host}").get("/orders/2") for host in ("api.shop.test", "other.test")]

    assert [answer.status_code for answer in answers] == [200, 404]
    assert [name for name, *_ in spans.tree()] == ["flow GET /orders/{number}", "flow GET"]


def test_metrics_are_mounted(spans):
    with uvicorn_serving(application()) as url:
        ask(url, "/shop/orders/apple")
        wait_until(lambda: len(spans.spans) == 2)
        shown = ask(url, "/metrics")

    assert 'otelflow_flow_runs_total{flow="GET /shop/orders/{fruit}",result="success"} 1.0' in shown.body


def test_the_span_of_an_instrumentation_is_the_parent(spans):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.fastapi", reason="otelflow[frameworks]")
    from otelflow._core.process import provider

    app = application()
    instrumentation.FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider._chosen.override, exclude_spans=["receive", "send"]
    )
    with uvicorn_serving(app) as url:
        ask(url, "/pieces", headers={"traceparent": TRACEPARENT})
        wait_until(lambda: spans.open_spans == 0 and len(spans.spans) == 4)

    assert parents_of(spans)[:3] == [
        ("GET /pieces", "remote"),
        ("flow GET /pieces", "GET /pieces"),
        ("task price", "flow GET /pieces"),
    ]


def test_a_span_that_fastapi_makes_itself_is_the_parent(spans):
    from otelflow._core.process import provider

    if not MAKES_SPANS:
        pytest.skip("this FastAPI makes no spans")
    app = fastapi.FastAPI(telemetry={"tracer_provider": provider._chosen.override, "operation_spans": False})
    app.add_api_route("/orders/{fruit}", price)
    app.add_middleware(FlowMiddleware)
    with uvicorn_serving(app) as url:
        ask(url, "/orders/apple", headers={"traceparent": TRACEPARENT})
        wait_until(lambda: spans.open_spans == 0 and len(spans.spans) == 3)

    assert parents_of(spans) == [
        ("GET /orders/{fruit}", "remote"),
        ("flow GET /orders/{fruit}", "GET /orders/{fruit}"),
        ("task price", "flow GET /orders/{fruit}"),
    ]


def test_a_flow_that_wants_its_own_object_gets_it_in_a_handler(spans):
    @flow
    def order(this_flow: Flow = INJECTED):
        return this_flow.flow_name

    app = fastapi.FastAPI()

    @app.get("/")
    async def handler():
        return (await order()).flow_return_value

    app.add_middleware(FlowMiddleware)
    with uvicorn_serving(app) as url:
        assert ask(url).body == '"order"'
