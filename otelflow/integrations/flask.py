"""Flask: the flow of a request is called by its rule, and fails with the exception that Flask makes an answer of."""

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from otelflow import Flow, continue_trace
from otelflow.errors import MissingExtra, ServerError
from otelflow.integrations import wsgi
from otelflow.integrations._requests import Flows, Requests, describe, describe_answer
from otelflow.integrations._types import Environ, StartResponse

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["FlowMiddleware"]

_ERROR: Final = "otelflow.error"
#: The exception of which Flask knows already that nobody makes an answer of it
_UNHANDLED: Final = "otelflow.unhandled"


class _View:
    """One call of a view, and what it returned, or what the program's handler has made of its exception."""

    def __init__(self, call: Callable[[], Any], handle: Callable[[Exception], Any]) -> None:
        self.call: Final = call
        self.handle: Final = handle
        self.has_answer = False
        self.answer: Any = None


class FlowMiddleware(wsgi.FlowMiddleware):
    """Makes a flow of each request of a Flask application: ``app.wsgi_app = FlowMiddleware(app)``.

    The flow is called ``GET /orders/<fruit>``, also of a blueprint, and lasts until the answer is sent. *app* (a Flask
    application); keywords, and all the rest, are those of ``otelflow.integrations.wsgi.FlowMiddleware``.

    Raises ConfigurationError for a keyword that cannot be used, MissingExtra where Flask is not installed.

    >>> from flask import Flask
    >>> from otelflow.integrations.flask import FlowMiddleware
    >>> app = Flask("shop")
    >>> app.wsgi_app = FlowMiddleware(app, metrics_path="/metrics")
    """

    def __init__(
        self,
        app: "Flask",
        *,
        flows: Flows = True,
        metrics_path: str | None = None,
        response_header: str | None = "traceresponse",
    ) -> None:
        try:
            from flask import got_request_exception  # noqa: PLC0415 only where it is installed
        except ModuleNotFoundError:
            raise MissingExtra("flask") from None
        super().__init__(app.wsgi_app, flows=flows, metrics_path=metrics_path, response_header=response_header)
        self._flask: Final = app
        self._views: Final = Requests(self._view, flows, metrics_path, response_header)
        got_request_exception.connect(_remember_error, app)
        app.dispatch_request = functools.partial(self._dispatch, app.dispatch_request)  # type: ignore[method-assign]
        handle = functools.partial(self._handle, app.handle_user_exception)
        app.handle_user_exception = handle  # type: ignore[method-assign]
        app.make_response = functools.partial(_make_response, app.make_response)  # type: ignore[method-assign]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as the application does; called by the server."""
        if self._has_spans and environ.get("PATH_INFO") != self._requests.metrics_path:
            return self.app(environ, start_response)
        return super().__call__(environ, start_response)

    @property
    def _has_spans(self) -> bool:
        """Whether OpenTelemetry's instrumentation makes spans, which begin inside of all that is WSGI."""
        return bool(getattr(self._flask, "_is_instrumented_by_opentelemetry", False))

    def _dispatch(self, dispatch: Callable[..., Any], *args: Any) -> Any:
        """Call the view, as a flow inside the span of the request if there is one."""
        from flask import request  # noqa: PLC0415 see above

        if not self._has_spans:
            return dispatch(*args)
        rule = None if request.url_rule is None else request.url_rule.rule
        with continue_trace(dict(request.headers)):  # the instrumentation may leave some requests out
            runner = self._views.runner(request.environ, request.method, rule)
            if runner is None:
                return dispatch(*args)
            view = _View(
                functools.partial(dispatch, *args), functools.partial(self._flask.handle_user_exception, *args)
            )
            try:
                runner(view, request.method, rule)
            except Exception:
                if not view.has_answer:
                    raise
            return view.answer  # of what it tells the run failed, or Flask cannot make an answer of it, and says so

    def _handle(self, handle: Callable[..., Any], *args: Any) -> Any:
        """Do as Flask does with an exception, once: what came of it in the flow of a view is not handled again."""
        from flask import request  # noqa: PLC0415 see above
        from werkzeug.exceptions import HTTPException  # noqa: PLC0415 see above

        error: Exception = args[-1]
        if error is request.environ.get(_UNHANDLED):
            raise error
        if not self._has_spans and not isinstance(error, HTTPException):
            request.environ[_ERROR] = error
        return handle(*args)

    def _view(self, view: "_View", method: str, route: str | None) -> None:
        """The body of a view's flow. Raises what made it fail: of which there is no answer, or one from 500 on."""
        from flask import after_this_request, request  # noqa: PLC0415 see above

        describe(method, route)
        header = self._views.answer_header()

        if header is not None:
            name, value = header

            def add_header(response: Any) -> Any:
                response.headers.setdefault(name, value)
                return response

            after_this_request(add_header)
        cause: Exception | None = None
        try:
            view.answer = view.call()
        except Exception as error:  # noqa: BLE001 Flask says what becomes of it
            cause = error
            try:
                view.answer = view.handle(error)
            except Exception as unhandled:
                request.environ[_UNHANDLED] = unhandled
                raise
        view.has_answer = True
        view.answer = self._flask.make_response(view.answer)
        try:
            describe_answer(view.answer.status_code)
        except ServerError as failure:
            cause = cause or failure
        else:
            cause = None  # its traceback holds this frame, which would hold it
        if cause is not None:
            raise cause

    def route(self, environ: Environ) -> str | None:
        """Return the rule that will be chosen, or None where there is none."""
        from werkzeug.exceptions import HTTPException  # noqa: PLC0415 see above

        try:
            adapter = self._flask.create_url_adapter(self._flask.request_class(environ))
            rule = None if adapter is None else adapter.match(return_rule=True)[0]
        except HTTPException:  # it is not found, or found with another method, or the host is none of ours
            return None
        return None if rule is None else rule.rule

    def error(self, environ: Environ) -> BaseException | None:
        """Return the exception of which Flask has made its answer, or None."""
        error: BaseException | None = environ.pop(_ERROR, None)  # its frames hold the environ
        return error


def _make_response(make: Callable[[Any], Any], answer: Any) -> Any:
    """Make a response as Flask does. Raises TypeError for a flow that a view has set up and not run."""
    value = answer[0] if isinstance(answer, tuple) and answer else answer
    if isinstance(value, Flow):
        iter(value)  # its own error says what to do instead; Flask would name its class
    return make(answer)


def _remember_error(sender: Any, exception: BaseException, **_: object) -> None:
    from flask import request  # noqa: PLC0415 see above

    del sender
    request.environ[_ERROR] = exception
