"""Django: a line in ``MIDDLEWARE`` makes a flow of each request, which is called by its route."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from opentelemetry import context

from otelflow import continue_trace
from otelflow.errors import ConfigurationError, MissingExtra, ServerError
from otelflow.integrations._requests import Requests, describe, describe_answer
from otelflow.integrations._types import WsgiApplication
from otelflow.metrics import wsgi_app

__all__ = ["FlowMiddleware"]

_SETTING: Final = "OTELFLOW"
_EXCHANGE: Final = "_otelflow"
_LOCALE_MIDDLEWARE: Final = "LocaleMiddleware"
_DEFAULTS: Final = {"flows": True, "metrics_path": None, "response_header": "traceresponse"}


class _Request(Protocol):
    """What is used of Django's request."""

    META: dict[str, Any]
    method: str
    path_info: str
    headers: dict[str, str]


class _Exchange:
    """One request with its answer, and the exception that Django has made an answer of."""

    def __init__(self, request: _Request, route: str | None) -> None:
        self.request: Final = request
        self.route: Final = route
        self.response: Any = None
        self.error: BaseException | None = None

    def end(self) -> None:
        """Let go of the request and its error, which would hold this, too, until the garbage collector comes."""
        vars(self.request).pop(_EXCHANGE, None)
        self.error = None


class FlowMiddleware:
    """Makes a flow of each request: ``MIDDLEWARE = ["otelflow.integrations.django.FlowMiddleware", …]``.

    The flow is called ``GET /orders/<str:fruit>``, and ends when the view has returned its answer; it fails when that
    is from 500 on, with the exception of the view. Under WSGI and ASGI. The setting ``OTELFLOW`` is a dict with the
    keywords of ``otelflow.integrations.wsgi.FlowMiddleware``; its ``flows`` may be a function of Django's request.

    *get_response*: what answers, given by Django. Raises ConfigurationError for a setting that cannot be used,
    MissingExtra where Django is not installed.

    >>> MIDDLEWARE = ["otelflow.integrations.django.FlowMiddleware"]
    >>> OTELFLOW = {"metrics_path": "/metrics"}
    """

    sync_capable: Final = True
    async_capable: Final = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        try:
            from asgiref.sync import iscoroutinefunction, markcoroutinefunction  # noqa: PLC0415 Django's own
            from django.conf import settings  # noqa: PLC0415 only where it is installed
            from django.core.signals import got_request_exception  # noqa: PLC0415 as above
        except ModuleNotFoundError:
            raise MissingExtra("django") from None
        self.get_response: Final = get_response
        self.is_async: Final = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        options = getattr(settings, _SETTING, {})
        for name in options:
            if name not in _DEFAULTS:
                raise ConfigurationError(f"{_SETTING} has no key {name!r}, it has {', '.join(_DEFAULTS)}")
        self._requests: Final = Requests(self._run_async if self.is_async else self._run, **{**_DEFAULTS, **options})
        got_request_exception.connect(_remember_error, dispatch_uid=_EXCHANGE)
        # From now on, runs are counted.
        self._metrics: Final = wsgi_app() if self._requests.metrics_path else None

    def __call__(self, request: _Request) -> Any:
        """Answer as the application does; called by Django."""
        return self._answer_async(request) if self.is_async else self._answer(request)

    def process_exception(self, request: Any, exception: BaseException) -> None:
        """Remember what a view raised; called by Django, which makes an answer of it."""
        exchange = getattr(request, _EXCHANGE, None)
        if exchange is not None:
            exchange.error = exception

    def _answer(self, request: _Request) -> Any:
        if self._metrics is not None and request.path_info == self._requests.metrics_path:
            return _response_of(self._metrics, request)
        with continue_trace(request.headers):
            exchange, runner = self._exchange(request)
            if runner is None:
                return self._finished(self.get_response(request))
            try:
                runner(exchange)
            except Exception:
                if exchange.response is None:
                    raise
            finally:
                exchange.end()
            return exchange.response  # of what it tells the run failed, and Django has made it of the exception

    async def _answer_async(self, request: _Request) -> Any:
        if self._metrics is not None and request.path_info == self._requests.metrics_path:
            return _response_of(self._metrics, request)
        with continue_trace(request.headers):
            exchange, runner = self._exchange(request)
            if runner is None:
                return self._finished(await self.get_response(request))
            try:
                await runner(exchange)
            except Exception:
                if exchange.response is None:
                    raise
            finally:
                exchange.end()
            return exchange.response  # as above

    def _exchange(self, request: _Request) -> tuple[_Exchange, Callable[..., Any] | None]:
        """Return the exchange of *request*, and the function that runs it as a flow, if it is to be one."""
        exchange = _Exchange(request, _route_of(request))
        runner = self._requests.runner(request, request.method, exchange.route)
        if runner is not None:
            vars(request)[_EXCHANGE] = exchange
        return exchange, runner

    def _run(self, exchange: _Exchange) -> None:
        """The body of a request's flow. Raises the exception of which Django has made an answer."""
        describe(exchange.request.method, exchange.route)
        self._take(exchange, self.get_response(exchange.request))

    async def _run_async(self, exchange: _Exchange) -> None:
        describe(exchange.request.method, exchange.route)
        self._take(exchange, await self.get_response(exchange.request))

    def _take(self, exchange: _Exchange, response: Any) -> None:
        exchange.response = self._finished(response)
        match = getattr(exchange.request, "resolver_match", None)
        if match is not None and f"/{match.route}" != exchange.route:  # a middleware has chosen other routes
            describe(exchange.request.method, f"/{match.route}")
        try:
            describe_answer(response.status_code)
        except ServerError as error:
            raise exchange.error or error from None

    def _finished(self, response: Any) -> Any:
        """Return *response* with the header of its trace, in which its pieces are made, too, if it has some."""
        header = self._requests.answer_header()
        if header is not None:
            response.headers.setdefault(*header)
        if response.streaming and getattr(response, "file_to_stream", None) is None:  # a file, which a server may send
            steps = _async_steps if response.is_async else _steps
            response.streaming_content = steps(response.streaming_content, context.get_current())
        return response


def _remember_error(*, request: Any = None, **_: object) -> None:
    """Remember what Django is about to make an answer of, such as the exception of a middleware."""
    exchange = getattr(request, _EXCHANGE, None)
    if exchange is not None:
        exchange.error = sys.exc_info()[1] or exchange.error


def _steps(pieces: Iterable[bytes], trace: context.Context) -> Iterator[bytes]:
    """Yield *pieces*, each of which is made in *trace*; what is done with it is not."""
    iterator = iter(pieces)
    while True:
        token = context.attach(trace)
        try:
            piece = next(iterator)
        except StopIteration:
            return
        finally:
            context.detach(token)
        yield piece


async def _async_steps(pieces: AsyncIterator[bytes], trace: context.Context) -> AsyncIterator[bytes]:
    iterator = aiter(pieces)
    while True:
        token = context.attach(trace)
        try:
            piece = await anext(iterator)
        except StopAsyncIteration:
            return
        finally:
            context.detach(token)
        yield piece


def _route_of(request: _Request) -> str | None:
    """Return the route that will be chosen for *request*, or None where there is none."""
    from django.conf import settings  # noqa: PLC0415 see above
    from django.conf.urls.i18n import is_language_prefix_patterns_used  # noqa: PLC0415 see above
    from django.urls import Resolver404, resolve  # noqa: PLC0415 see above
    from django.utils import translation  # noqa: PLC0415 see above

    urlconf = getattr(request, "urlconf", None)
    language: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    has_prefixes, has_prefix_of_default = is_language_prefix_patterns_used(urlconf or settings.ROOT_URLCONF)
    has_languages = has_prefixes or any(name.endswith(_LOCALE_MIDDLEWARE) for name in settings.MIDDLEWARE)
    if has_languages and not hasattr(request, "LANGUAGE_CODE"):
        # Django's LocaleMiddleware is yet to come: the language of this thread is that of the request before.
        code = translation.get_language_from_request(request, check_path=has_prefixes)
        if has_prefixes and not has_prefix_of_default and not translation.get_language_from_path(request.path_info):
            code = settings.LANGUAGE_CODE
        language = translation.override(code)
    try:
        with language:
            return f"/{resolve(request.path_info, urlconf).route}"
    except Resolver404:
        return None


def _response_of(application: WsgiApplication, request: _Request) -> Any:
    """Return what a WSGI *application* answers."""
    from django.http import HttpResponse  # noqa: PLC0415 see above

    response = HttpResponse()

    def start(line: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
        response.status_code = int(line.split(" ", 1)[0])
        for name, value in headers:
            response.headers[name] = value
        write: Callable[[bytes], object] = response.write
        return write

    environ = {name: value for name, value in request.META.items() if isinstance(value, str)}
    response.content = b"".join(application({"PATH_INFO": "/", **environ}, start))
    return response
