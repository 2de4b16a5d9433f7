import asyncio
import io
import sys
import types
import weakref

import pytest

from otelflow import task
from otelflow.errors import ConfigurationError
from support.garbage import no_collector
from support.servers import (
    TRACE_ID,
    TRACEPARENT,
    ask,
    attributes_of,
    parents_of,
    uvicorn_serving,
    wait_until,
    wsgi_serving,
)

django = pytest.importorskip("django", reason="not installed: pip install 'otelflow[django]'")


@task
def price():
    return "0.5"


@pytest.fixture(scope="module")
def settings():
    from django.conf import settings
    from django.http import FileResponse, HttpResponse, StreamingHttpResponse
    from django.urls import include, path

    def order(request, fruit):
        return HttpResponse(f"{fruit} {price()}")

    async def order_async(request, fruit):
        await asyncio.sleep(0)
        return HttpResponse(f"{fruit} {price()}")

    def fails(request):
        raise LookupError("no such fruit")

    def stream(request):
        return StreamingHttpResponse(f"{number} {price()}\n" for number in range(3))

    async def stream_async(request):
        async def lines():
            for number in range(3):
                await asyncio.sleep(0)
                yield f"{number} {price()}\n"

        return StreamingHttpResponse(lines())

    def send_file(request):
        return FileResponse(io.BytesIO(b"hello"))

    urls = types.ModuleType("otelflow_django_urls")
    orders = [path("<str:fruit>", order), path("async/<str:fruit>", order_async)]
    urls.urlpatterns = [
        path("orders/", include(orders)),
        path("fails", fails),
        path("stream", stream),
        path("stream/async", stream_async),
        path("file", send_file),
    ]
    sys.modules[urls.__name__] = urls
    settings.configure(
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=["otelflow.integrations.django.FlowMiddleware"],
        OTELFLOW={"metrics_path": "/metrics"},
        ROOT_URLCONF=urls.__name__,
        SECRET_KEY="of a test",
    )
    django.setup()
    return settings


@pytest.fixture(params=["wsgi", "asgi"])
def server(request):
    return request.param


@pytest.fixture
def serving(server, settings):
    if server == "wsgi":
        from django.core.handlers.wsgi import WSGIHandler

        return wsgi_serving(WSGIHandler())
    from django.core.handlers.asgi import ASGIHandler

    return uvicorn_serving(ASGIHandler())


@pytest.mark.filterwarnings("ignore:.*StreamingHttpResponse")
def test_a_request_is_a_flow_that_is_called_by_its_route(spans, serving):
    with serving as url:
        answers = [
            ask(url, path, headers={"traceparent": TRACEPARENT})
            for path in ("/orders/apple", "/orders/async/melon", "/nowhere", "/fails")
        ]
        shown = ask(url, "/metrics")
        wait_until(lambda: spans.open_spans == 0)

    assert [answer.status for answer in answers] == [200, 200, 404, 500]
    assert [answer.body for answer in answers[:2]] == ["apple 0.5", "melon 0.5"]
    assert spans.tree() == [
        ("flow GET /orders/<str:fruit>", "success", [("task price", "success", [])]),
        ("flow GET /orders/async/<str:fruit>", "success", [("task price", "success", [])]),
        ("flow GET", "success", []),
        ("flow GET /fails", "failure", []),
    ]
    assert {answer.headers["traceresponse"][3:35] for answer in answers} == {TRACE_ID}
    failed = spans.one("flow GET /fails")
    assert (failed.attributes["error.type"], f"{failed.context.trace_id:032x}") == ("LookupError", TRACE_ID)
    assert attributes_of(failed)["http.response.status_code"] == 500
    assert 'otelflow_flow_runs_total{flow="GET /fails",result="failure"} 1.0' in shown.body


@pytest.mark.filterwarnings("ignore:.*StreamingHttpResponse")
@pytest.mark.parametrize("flows", [True, False])
@pytest.mark.parametrize("path", ["/stream", "/stream/async"])
def test_what_makes_a_streamed_answer_is_in_the_trace_of_its_request(request, spans, settings, server, path, flows):
    from django.test import override_settings

    with override_settings(OTELFLOW={"flows": flows}), request.getfixturevalue("serving") as url:
        answer = ask(url, path, headers={"traceparent": TRACEPARENT})
        wait_until(lambda: spans.open_spans == 0)

    assert answer.body == "0 0.5\n1 0.5\n2 0.5\n"
    assert parents_of(spans) == [
        *([(f"flow GET {path}", "remote")] if flows else []),
        *[("task price", f"flow GET {path}" if flows else "remote")] * 3,
    ]
    assert {f"{span.context.trace_id:032x}" for span in spans.spans} == {TRACE_ID}


def test_a_file_stays_what_a_server_can_send_by_itself(spans, settings):
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import RequestFactory

    files = []
    environ = RequestFactory().get("/file").environ
    answer = WSGIHandler()({**environ, "wsgi.file_wrapper": lambda file, size: files.append(file)}, lambda *_: None)
    for file in files:
        file.close()

    assert (answer, len(files)) == (None, 1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_request_fails_with_the_exception_of_a_middleware(request, spans, settings, server, when):
    from django.test import override_settings

    middlewares = ["otelflow.integrations.django.FlowMiddleware", f"{__name__}.fails_{when}"]
    with override_settings(MIDDLEWARE=middlewares), request.getfixturevalue("serving") as url:
        answer = ask(url, "/orders/apple")
        wait_until(lambda: spans.open_spans == 0)

    assert answer.status == 500
    failed = spans.one("flow GET /orders/<str:fruit>")
    assert (failed.attributes["otelflow.run.result"], failed.attributes["error.type"]) == ("failure", "BlockingIOError")


def fails_before(get_response):
    def answer(request):
        raise BlockingIOError

    return answer


def fails_after(get_response):
    def answer(request):
        get_response(request)
        raise BlockingIOError

    return answer


@pytest.mark.parametrize("order", [("flow", "locale"), ("locale", "flow")], ids=["outside", "inside"])
def test_a_flow_is_called_by_the_route_in_the_language_of_its_request(spans, settings, order):
    from django.conf.urls.i18n import i18n_patterns
    from django.http import HttpResponse
    from django.test import Client, override_settings
    from django.urls import path
    from django.utils import translation

    urls = types.ModuleType("otelflow_django_languages")
    urls.urlpatterns = i18n_patterns(
        path("orders/", lambda _: HttpResponse(translation.get_language())), prefix_default_language=False
    )
    middlewares = {
        "flow": "otelflow.integrations.django.FlowMiddleware",
        "locale": "django.middleware.locale.LocaleMiddleware",
    }
    sys.modules[urls.__name__] = urls
    paths = ["/orders/", "/de/orders/", "/orders/", "/fr/orders/", "/de/orders/"]
    with (
        override_settings(
            LANGUAGES=[("en", "English"), ("de", "German"), ("fr", "French")],
            LANGUAGE_CODE="en",
            MIDDLEWARE=[middlewares[name] for name in order],
            ROOT_URLCONF=urls.__name__,
        ),
        translation.override("en"),
    ):
        answers = [Client().get(path).content.decode() for path in paths]

    assert answers == ["en", "de", "en", "fr", "de"]
    assert [name for name, *_ in spans.tree()] == [f"flow GET {path}" for path in paths]


def test_a_route_that_is_translated_is_that_in_the_language_of_its_request(spans, settings):
    from django.http import HttpResponse
    from django.test import Client, override_settings
    from django.urls import path
    from django.utils.translation import gettext_lazy

    urls = types.ModuleType("otelflow_django_translated")
    urls.urlpatterns = [path(gettext_lazy("Monday"), lambda _: HttpResponse())]
    sys.modules[urls.__name__] = urls
    with override_settings(
        LANGUAGES=[("en", "English"), ("de", "German")],
        LANGUAGE_CODE="en",
        MIDDLEWARE=[
            "otelflow.integrations.django.FlowMiddleware",
            "django.middleware.locale.LocaleMiddleware",
        ],
        ROOT_URLCONF=urls.__name__,
    ):
        asked = [("/Montag", "de"), ("/Monday", "en"), ("/Montag", "de"), ("/Montag", "en")]
        answers = [Client().get(path, headers={"accept-language": language}) for path, language in asked]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
    routes = [name.removeprefix("flow GET") for name, *_ in spans.tree()]
    assert routes == [" /Montag", " /Monday", " /Montag", ""]


@pytest.mark.parametrize("flows", [True, False])
def test_nothing_of_a_request_stays_that_has_not_failed(spans, settings, flows):
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse
    from django.test import RequestFactory, override_settings
    from django.urls import path

    requests = []

    def remember(request):
        requests.append(weakref.ref(request))
        return HttpResponse()

    urls = types.ModuleType("otelflow_django_remembers")
    urls.urlpatterns = [path("orders", remember)]
    sys.modules[urls.__name__] = urls
    with override_settings(ROOT_URLCONF=urls.__name__, OTELFLOW={"flows": flows}):
        handler = WSGIHandler()
        with no_collector():
            body = handler(RequestFactory().get("/orders").environ, lambda *_: None)
            body.close()
            del body
            kept = [request() is not None for request in requests]

    assert kept == [False]
    assert len(spans.spans) == flows


def choosing_routes(get_response):
    """Do as a middleware that has other routes for each host."""

    def choose(request):
        request.urlconf = "otelflow_django_of_host"
        return get_response(request)

    return choose


def test_a_request_tells_the_route_that_was_taken_when_a_middleware_has_chosen_others(spans, settings):
    from django.http import HttpResponse
    from django.test import Client, override_settings
    from django.urls import path

    urls = types.ModuleType("otelflow_django_of_host")
    urls.urlpatterns = [path("orders/<int:number>", lambda _, number: HttpResponse(str(number)))]
    sys.modules[urls.__name__] = urls
    middlewares = ["otelflow.integrations.django.FlowMiddleware", f"{__name__}.choosing_routes"]
    with override_settings(MIDDLEWARE=middlewares):
        assert Client().get("/orders/2").content == b"2"

    (span,) = spans.spans
    assert attributes_of(span)["http.route"] == "/orders/<int:number>"


def test_the_span_of_an_instrumentation_is_the_parent(spans, settings):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.django", reason="otelflow[frameworks]")
    from django.core.handlers.wsgi import WSGIHandler

    from otelflow._core.process import provider

    before = list(settings.MIDDLEWARE)
    instrumentation.DjangoInstrumentor().instrument(tracer_provider=provider._chosen.override)
    try:
        with wsgi_serving(WSGIHandler()) as url:
            ask(url, "/orders/apple", headers={"traceparent": TRACEPARENT})
            wait_until(lambda: spans.open_spans == 0)
    finally:
        instrumentation.DjangoInstrumentor().uninstrument()
        settings.MIDDLEWARE = before

    assert parents_of(spans) == [
        ("GET orders/<str:fruit>", "remote"),
        ("flow GET /orders/<str:fruit>", "GET orders/<str:fruit>"),
        ("task price", "flow GET /orders/<str:fruit>"),
    ]


def test_a_setting_that_it_does_not_have_is_named(settings):
    from otelflow.integrations.django import FlowMiddleware

    before, settings.OTELFLOW = settings.OTELFLOW, {"metric_path": "/metrics"}
    try:
        with pytest.raises(ConfigurationError, match="OTELFLOW has no key 'metric_path', it has flows, metrics_path,"):
            FlowMiddleware(lambda request: None)
    finally:
        settings.OTELFLOW = before
