"""Any WSGI application: each of its requests is a flow, in the trace of who sent it, until its last piece is sent."""

from collections.abc import Callable, Generator, Iterable
from typing import Any, Final

from otelflow import continue_trace
from otelflow.errors import ClientGone, ServerError
from otelflow.integrations._requests import Flows, Requests, describe, describe_answer
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
    tell it. An answer from 500 on is a failed run, one that the server does not take to its end, since the client has
    gone, a cancelled one. The application is called when the server asks for the first piece.

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
            yield from _Answer(start_response, self._requests.answer_header()).pieces(self.app, environ)
            return
        try:
            yield from runner(environ, start_response, method, route)
        except Exception as error:
            if error is not environ.pop(_ANSWERED, None):
                raise

    def _run(
        self, environ: Environ, start_response: StartResponse, method: str, route: str | None
    ) -> Generator[bytes, None, None]:
        """The body of a request's flow. Raises the exception that made it fail, also one that has become an answer."""
        describe(method, route)
        answer = _Answer(start_response, self._requests.answer_header())
        error: BaseException | None = None
        try:
            yield from answer.pieces(self.app, environ)
        except GeneratorExit:
            error = None if method == "HEAD" or answer.is_whole else ClientGone()
        cause = self.error(environ)
        try:
            if answer.status:
                describe_answer(answer.status)
        except ServerError as failure:
            error = cause or failure
            if isinstance(error, StopIteration):  # which no generator can raise
                failure.__cause__ = error
                error = failure
        cause = None  # its traceback may hold this frame, which would hold it
        if error is not None:
            environ[_ANSWERED] = error
            raise error


class _Answer:
    """What an application answers to one request, and how far it was taken."""

    def __init__(self, start_response: StartResponse, header: tuple[str, str] | None) -> None:
        self._start_response: Final = start_response
        self._header: Final = header
        self._length: int | None = None
        self._taken = 0
        self.status = 0

    @property
    def is_whole(self) -> bool:
        """Whether as much was taken as the application has announced."""
        return self._length is not None and self._taken >= self._length

    def pieces(self, app: WsgiApplication, environ: Environ) -> Generator[bytes, None, None]:
        """Yield what *app* answers, and close it."""
        body = app(environ, self._start)
        pieces = body
        try:
            pieces = iter(body)
            for piece in pieces:
                self._taken += len(piece) if hasattr(piece, "__len__") else 0
                yield piece
        finally:
            for part in (pieces, body) if pieces is not body else (body,):
                close = getattr(part, "close", None)
                if close is not None:
                    close()

    def _start(self, line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        self.status = int(line.split(" ", 1)[0])
        lengths = [value for name, value in headers if name.lower() == "content-length" and value.isdecimal()]
        self._length = int(lengths[0]) if lengths else None
        if self._header is not None and all(name.lower() != self._header[0].lower() for name, _ in headers):
            headers = [*headers, self._header]
        write: Callable[[bytes], object] = self._start_response(line, headers, *exc_info)
        return write
