"""Any WSGI application: each of its requests is a flow, in the trace of who sent it, until its last piece is sent."""

from collections.abc import Callable, Generator, Iterable
from typing import Any, Final

from otelflow import continue_trace
from otelflow.integrations._requests import Flows, Requests, ServerError, describe, describe_answer
from otelflow.integrations._steps import Steps
from otelflow.integrations._types import Environ, StartResponse, WsgiApplication
from otelflow.metrics import wsgi_app

__all__ = ["FlowMiddleware"]

#: The exception of a run whose caller has an answer
_ANSWERED: Final = "otelflow.answered"


class FlowMiddleware:
    """Makes a flow of each request of a WSGI application; the flow goes on until the body of the answer has been sent.

    *app* (a WSGI application): what answers. *flows*: True names the flow of a request by its method (and route, where
    a framework tells it); a function gets the environ, and returns the name of the flow, or None where there is to be
    none; with False, only the trace of the caller goes on. *metrics_path* (str, such as ``"/metrics"``): where
    Prometheus may ask for the metrics, in no flow. *response_header* (str, or None): the header by which the answer
    tells of its trace; ``traceresponse`` is that of W3C, any other is the trace's id alone.

    A span that OpenTelemetry's instrumentation has made of the request is the parent; else the headers of the caller
    tell it. An answer from 500 on is a failed run. The application is called when the server asks for the first piece.

    Raises ConfigurationError for an argument that cannot be used.

    >>> from otelflow.integrations.wsgi import FlowMiddleware
    >>> def application(environ, start_response):
    ...     start_response("200 OK", [("Content-Type", "text/plain")])
    ...     return [b"hello"]
    >>> app = FlowMiddleware(application, metrics_path="/metrics")
    """

    def __init__(
        self,
        app: WsgiApplication,
        *,
        flows: Flows = True,
        metrics_path: str | None = None,
        response_header: str | None = "traceresponse",
    ) -> None:
        self.app: Final = app
        self._requests: Final = Requests(self._run, flows, metrics_path, response_header)
        # From now on, runs are counted.
        self._metrics: Final[WsgiApplication | None] = wsgi_app() if self._requests.metrics_path else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as the application does; called by the server."""
        if self._metrics is not None and environ.get("PATH_INFO") == self._requests.metrics_path:
            return self._metrics(environ, start_response)
        # What is current belongs to this request, also while its body is sent, whichever thread does that.
        return Steps(self._steps(environ, start_response))

    def route(self, environ: Environ) -> str | None:
        """Return the route of a request, such as ``/orders/<fruit>``, or None; a subclass for a framework knows it."""
        del environ
        return None

    def error(self, environ: Environ) -> BaseException | None:
        """Return the exception of which the application has made its answer, or None if nobody knows it."""
        del environ
        return None

    def _steps(self, environ: Environ, start_response: StartResponse) -> Generator[bytes, None, None]:
        """Answer in the trace of the caller; all steps are made in one context, which nobody else has."""
        variables = ((name, value) for name, value in environ.items() if name.startswith("HTTP_"))
        headers = {name.removeprefix("HTTP_").replace("_", "-"): value for name, value in variables}
        continue_trace(headers).__enter__()
        method, route = environ["REQUEST_METHOD"], self.route(environ)
        runner = self._requests.runner(environ, method, route)
        if runner is None:
            yield from self._answer(environ, start_response)
            return
        try:
            yield from runner(environ, start_response, method, route)
        except Exception as error:
            if error is not environ.get(_ANSWERED):
                raise

    def _run(
        self, environ: Environ, start_response: StartResponse, method: str, route: str | None
    ) -> Generator[bytes, None, None]:
        """The body of a request's flow. Raises the exception that made it fail, also one that has become an answer."""
        describe(method, route)
        status = yield from self._answer(environ, start_response)
        try:
            describe_answer(status)
        except ServerError as error:
            environ[_ANSWERED] = self.error(environ) or error
            raise environ[_ANSWERED] from None

    def _answer(self, environ: Environ, start_response: StartResponse) -> Generator[bytes, None, int]:
        """Let the application answer, and return the status."""
        header = self._requests.answer_header()
        status = 0

        def start_with_header(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            nonlocal status
            status = int(line.split(" ", 1)[0])
            if header is not None and all(name.lower() != header[0].lower() for name, _ in headers):
                headers = [*headers, header]
            return start_response(line, headers, *exc_info)

        body = self.app(environ, start_with_header)
        try:
            yield from body
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        return status
