import weakref

import pytest

from otelflow import flow, task
from otelflow.integrations.flask import FlowMiddleware
from support.garbage import no_collector
from support.servers import TRACE_ID, TRACEPARENT, ask, attributes_of, parents_of, wait_until, wsgi_serving

flask = pytest.importorskip("flask", reason="not installed: pip install 'otelflow[flask]'")

from werkzeug.exceptions import NotFound  # noqa: E402 see above
from werkzeug.test import EnvironBuilder  # noqa: E402


@task
def price():
    return "0.5"


ANSWERS = {
    "503": lambda: ({"error": "no fruit"}, 503),
    "404": lambda: ({"error": "no such fruit"}, 404),
    "raised 404": lambda: flask.abort(404),
    "raised 503": lambda: flask.abort(503),
    "raised answer": lambda: flask.abort(flask.Response("no fruit", 503)),
    "returned 404": lambda: NotFound("no such fruit"),
    "none": lambda: None,
    "handled 404": lambda: {}["kiwi"],
    "handled 503": lambda: [].pop(),
    "handled none": lambda: 1 / 0,
    "handler raises": lambda: "kiwi".decode(),
    "unhandled": lambda: int("kiwi"),
}


def raise_another(_):
    raise KeyError("this one Flask does not handle again")


def shop():
    app = flask.Flask("shop")
    blueprint = flask.Blueprint("orders", "orders", url_prefix="/orders")

    @blueprint.get("/<fruit>")
    def order(fruit):
        return f"{fruit} {price()}"

    @app.get("/pieces")
    def pieces():
        return flask.stream_with_context(price() + flask.request.path for _ in range(2))

    @app.post("/fails")
    def fails():
        raise LookupError("no such fruit")

    @app.get("/handled")
    def handled():
        raise KeyError("kiwi")

    @app.get("/answers/<kind>")
    def answers(kind):
        return ANSWERS[kind]()

    app.register_error_handler(TypeError, lambda _: ("no such type", 404))
    app.register_error_handler(KeyError, lambda _: ("no kiwi", 404))
    app.register_error_handler(IndexError, lambda _: (price(), 503))
    app.register_error_handler(ZeroDivisionError, lambda _: None)
    app.register_error_handler(AttributeError, raise_another)
    app.register_blueprint(blueprint)
    return app


@pytest.fixture
def app():
    app = shop()
    app.wsgi_app = FlowMiddleware(app, metrics_path="/metrics")
    return app


def test_a_request_is_a_flow_that_is_called_by_its_rule(spans, app):
    with wsgi_serving(app) as url:
        answers = [ask(url, "/orders/apple", headers={"traceparent": TRACEPARENT}), ask(url, "/nowhere")]

    assert [(answer.status, answer.body[:9]) for answer in answers] == [(200, "apple 0.5"), (404, "<!doctype")]
    assert spans.tree() == [
        ("flow GET /orders/<fruit>", "success", [("task price", "success", [])]),
        ("flow GET", "success", []),
    ]
    span = spans.one("flow GET /orders/<fruit>")
    assert f"{span.context.trace_id:032x}" == TRACE_ID == answers[0].headers["traceresponse"][3:35]
    assert attributes_of(span)["http.route"] == "/orders/<fruit>"


def test_a_run_fails_with_the_exception_that_flask_has_made_an_answer_of(spans, app):
    with wsgi_serving(app) as url:
        answers = [ask(url, "/fails", method="POST"), ask(url, "/handled")]

    assert [answer.status for answer in answers] == [500, 404]
    failed = spans.one("flow POST /fails")
    assert failed.attributes["error.type"] == "LookupError"
    assert [event.attributes["exception.message"] for event in failed.events] == ["no such fruit"]
    assert spans.one("flow GET /handled").attributes["otelflow.run.result"] == "success"


def test_a_streamed_answer_is_a_part_of_the_run(spans, app):
    with wsgi_serving(app) as url:
        answer = ask(url, "/pieces")

    assert answer.body == "0.5/pieces0.5/pieces"
    assert spans.tree() == [("flow GET /pieces", "success", [("task price", "success", [])] * 2)]


def test_its_test_client_works_and_sees_the_exception(spans, app):
    app.testing = True
    client = app.test_client()

    with pytest.raises(LookupError):
        client.post("/fails")
    with client:
        assert client.get("/orders/melon").text == "melon 0.5"
        assert flask.request.path == "/orders/melon"
    assert spans.one("flow POST /fails").attributes["otelflow.run.result"] == "failure"


def test_metrics_are_shown(spans, app):
    with wsgi_serving(app) as url:
        ask(url, "/orders/apple")
        shown = ask(url, "/metrics")

    assert 'otelflow_flow_runs_total{flow="GET /orders/<fruit>",result="success"}' in shown.body


def test_the_span_of_an_instrumentation_is_the_parent(spans, app):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask", reason="no such instrumentation")
    from otelflow._core.process import provider

    instrumentation.FlaskInstrumentor().instrument_app(app, tracer_provider=provider._chosen.override)
    with wsgi_serving(app) as url:
        ask(url, "/orders/apple", headers={"traceparent": TRACEPARENT})
        wait_until(lambda: spans.open_spans == 0)

    assert sorted(parents_of(spans)) == [
        ("GET /orders/<fruit>", "remote"),
        ("flow GET /orders/<fruit>", "GET /orders/<fruit>"),
        ("task price", "flow GET /orders/<fruit>"),
    ]


@pytest.mark.parametrize(
    ("kind", "status", "result", "attribute"),
    [
        ("503", 503, "failure", 503),
        ("404", 404, "success", 404),
        ("raised 404", 404, "success", 404),
        ("raised 503", 503, "failure", 503),
        ("raised answer", 503, "failure", 503),
        ("returned 404", 404, "success", 404),
        ("none", 500, "failure", None),
        ("handled 404", 404, "success", 404),
        ("handled 503", 503, "failure", 503),
        ("handled none", 500, "failure", None),
        ("handler raises", 500, "failure", None),
        ("unhandled", 500, "failure", None),
    ],
)
def test_beside_an_instrumentation_the_flow_of_a_view_tells_its_answer_which_stays(
    spans, app, kind, status, result, attribute
):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask", reason="no such instrumentation")
    from otelflow._core.process import provider

    for application in (app, plain := shop()):
        application.register_error_handler(NotFound, lambda _: ("handled", 404))
    instrumentation.FlaskInstrumentor().instrument_app(app, tracer_provider=provider._chosen.override)
    answer = ask_client(app, kind)

    assert answer == ask_client(plain, kind)
    assert answer[0] == status
    span = spans.one("flow GET /answers/<kind>")
    attributes = (span.attributes["otelflow.run.result"], span.attributes.get("http.response.status_code"))
    assert attributes == (result, attribute)


def ask_client(app, kind):
    response = app.test_client().get(f"/answers/{kind}")
    return response.status_code, response.text


def test_beside_an_instrumentation_what_handles_an_exception_is_a_part_of_the_flow_that_fails_with_it(spans, app):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask", reason="no such instrumentation")
    from otelflow._core.process import provider

    instrumentation.FlaskInstrumentor().instrument_app(app, tracer_provider=provider._chosen.override)
    assert ask_client(app, "handled 503") == (503, "0.5")

    assert ("task price", "flow GET /answers/<kind>") in parents_of(spans)
    assert spans.one("flow GET /answers/<kind>").attributes["error.type"] == "IndexError"


def test_a_run_fails_with_the_exception_that_the_program_has_made_an_answer_of(spans, app):
    assert ask_client(app, "handled 503") == (503, "0.5")

    assert spans.one("flow GET /answers/<kind>").attributes["error.type"] == "IndexError"


def test_what_an_instrumentation_leaves_out_goes_on_in_the_trace_of_its_caller(spans, app):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask", reason="no such instrumentation")
    from otelflow._core.process import provider

    instrumentation.FlaskInstrumentor().instrument_app(
        app, tracer_provider=provider._chosen.override, excluded_urls="orders"
    )
    assert app.test_client().get("/orders/apple", headers={"traceparent": TRACEPARENT}).status_code == 200

    assert parents_of(spans) == [
        ("flow GET /orders/<fruit>", "remote"),
        ("task price", "flow GET /orders/<fruit>"),
    ]
    assert f"{spans.one('task price').context.trace_id:032x}" == TRACE_ID


def test_a_rule_of_a_subdomain_is_the_name_of_its_requests(spans):
    app = flask.Flask("shop", subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.test"
    app.add_url_rule("/orders/<fruit>", view_func=lambda fruit: fruit, endpoint="order", subdomain="api")
    app.wsgi_app = FlowMiddleware(app)

    assert app.test_client().get("/orders/apple", base_url="http://api.shop.test").text == "apple"

    assert spans.tree() == [("flow GET /orders/<fruit>", "success", [])]


@pytest.mark.parametrize("is_instrumented", [False, True])
@pytest.mark.parametrize("kind", ["view", "pair", "handler"])
def test_a_flow_that_a_view_has_not_run_is_an_error_that_says_what_to_write(spans, kind, is_instrumented):
    runs = []

    def set_up(*_):
        runs.append(flow(len)("ab"))
        return runs[-1]

    app = flask.Flask("shop")
    app.add_url_rule("/view", "view", set_up)
    app.add_url_rule("/pair", "pair", lambda: (set_up(), 201))
    app.add_url_rule("/handler", "handler", lambda: {}["fruit"])
    app.register_error_handler(KeyError, set_up)
    app.wsgi_app = FlowMiddleware(app)
    if is_instrumented:
        instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask", reason="no such instrumentation")
        instrumentation.FlaskInstrumentor().instrument_app(app)
    errors = []
    flask.got_request_exception.connect(lambda _, exception: errors.append(str(exception)), app, weak=False)

    assert app.test_client().get(f"/{kind}").status_code == 500

    assert "returns f(…).execute().flow_return_value" in errors[0]
    assert spans.one(f"flow GET /{kind}").attributes["otelflow.run.result"] == "failure"
    assert [run.execute().flow_return_value for run in runs] == [2]  # what is dropped without a run would be a warning


def test_an_exception_that_no_generator_can_raise_costs_no_answer(spans, app):
    app.add_url_rule("/stops", view_func=lambda: next(iter([])))
    with wsgi_serving(app) as url:
        answer = ask(url, "/stops")

    assert answer.status == 500
    run = spans.one("flow GET /stops")
    assert run.attributes["otelflow.run.result"] == "failure"
    assert "StopIteration" in run.events[0].attributes["exception.stacktrace"]


@pytest.mark.parametrize("is_instrumented", [False, True])
@pytest.mark.parametrize("kind", ["404", "handled 404"])
def test_nothing_of_a_request_stays_that_has_not_failed(spans, app, kind, is_instrumented):
    requests = []

    @app.before_request
    def remember():
        requests.append(weakref.ref(flask.request._get_current_object()))

    if is_instrumented:
        instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask", reason="no such instrumentation")
        instrumentation.FlaskInstrumentor().instrument_app(app)
    with no_collector():
        body = app.wsgi_app(EnvironBuilder(path=f"/answers/{kind}").get_environ(), lambda *_: None)
        list(body)
        body.close()
        del body
        kept = [request() is not None for request in requests]

    assert kept == [False]
