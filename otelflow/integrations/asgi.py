"""Any ASGI application: each of its requests and websockets is a flow, in the trace of who sent it."""

from typing import Final

from otelflow import continue_trace, force_flush
from otelflow.errors import ClientGone, ServerError
from otelflow.integrations._requests import HEADERS, Flows, Requests, describe, describe_answer, joined, with_header
from otelflow.integrations._types import AsgiApplication, Message, Receive, Scope, Send
from otelflow.metrics import asgi_app

__all__ = ["FlowMiddleware"]

#: Milliseconds that the end of a server may wait for delivery
_LONGEST_FLUSH: Final = 5_000
_STARTS: Final = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_ENDS: Final = (
    "http.response.body",
    "http.response.pathsend",
    "http.response.zerocopysend",
    "websocket.http.response.body",
)
#: What a server answers to a websocket that is closed before it is accepted, says ASGI
_REFUSED: Final = 403
_MOST_ERRORS: Final = 100
# How an application meets a scope of a kind that it does not know, but for words such as Django's
_REFUSALS: Final = (AssertionError, KeyError, NotImplementedError)


class FlowMiddleware:
    """Makes a flow of each request and websocket of an ASGI application.

    *app* (an ASGI application): what answers. *flows*: True names the flow of a request by its method (and route, where
    a framework tells it); a function gets the scope, and returns the name of the flow, or None where there is to be
    none; with False, only the trace of the caller goes on. *metrics_path* (str, such as ``"/metrics"``): where
    Prometheus may ask for the metrics, in no flow. *response_header* (str, or None): the header by which the answer
    tells of its trace; ``traceresponse`` is that of W3C, any other is the trace's id alone.

    A span that OpenTelemetry's instrumentation has made of the request is the parent; else the headers of the caller
    tell it. An answer from 500 on is a failed run; where the server says that the client has gone before the answer was
    whole, the run is cancelled. When the server ends, what waits for delivery is delivered; for that, an application
    without a lifespan has one here.

    Raises ConfigurationError for an argument that cannot be used.

    >>> from otelflow.integrations.asgi import FlowMiddleware
    >>> async def application(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 204})
    ...     await send({"type": "http.response.body"})
    >>> app = FlowMiddleware(application, metrics_path="/metrics")
    """

    def __init__(
        self,
        app: AsgiApplication,
        *,
        flows: Flows = True,
        metrics_path: str | None = None,
        response_header: str | None = "traceresponse",
    ) -> None:
        self.app: Final = app
        self._requests: Final = Requests(self._run, flows, metrics_path, response_header)
        # From now on, runs are counted.
        self._metrics: Final = asgi_app() if self._requests.metrics_path else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does; called by the server."""
        kind = scope["type"]
        if kind == "lifespan":
            await _Lifespan(receive, send).run(self.app, scope)
            return
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self._metrics is not None and kind == "http":
            path = str(self._requests.metrics_path)
            # A server puts that before it under which the application is mounted.
            if scope["path"] in (path, str(scope.get("root_path") or "").rstrip("/") + path):
                await self._metrics(scope, receive, send)
                return
        method = scope["method"] if kind == "http" else "WEBSOCKET"
        headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers") or ())
        with continue_trace(joined(headers)):
            route = self.route(scope)
            runner = self._requests.runner(scope, method, route)
            if runner is None:
                answer = self._answer(scope, receive, send)
                await self.app(scope, answer.receive, answer.send)
                return
            error = None
            try:
                await runner(scope, receive, send, method, route)
            except ServerError:
                pass  # the caller has the answer
            except ClientGone as gone:
                error = gone.__cause__
            if error is not None:
                raise error  # as it was

    def route(self, scope: Scope) -> str | None:
        """Return the route of a request, such as ``/orders/{fruit}``, or None; a subclass for a framework knows it."""
        del scope
        return None

    def _answer(self, scope: Scope, receive: Receive, send: Send) -> "_Answer":
        header = self._requests.answer_header()
        if header is not None:
            scope.get(HEADERS, []).append(header)
        return _Answer(receive, send, header)

    async def _run(self, scope: Scope, receive: Receive, send: Send, method: str, route: str | None) -> None:
        """The body of a request's flow.

        Raises ServerError when the answer says that the server failed, ClientGone when nobody waits for it any more.
        """
        describe(method, route)
        answer = self._answer(scope, receive, send)
        try:
            await self.app(scope, answer.receive, answer.send)
        except Exception as error:
            if answer.is_cause_of(error):
                raise ClientGone from error
            raise
        if answer.status is not None:
            describe_answer(answer.status)
        if answer.is_unwanted:
            raise ClientGone


class _Answer:
    """What an application says to a server, which says when the client has gone."""

    def __init__(self, receive: Receive, send: Send, header: tuple[str, str] | None) -> None:
        self._receive: Final = receive
        self._send: Final = send
        self._header: Final = header
        self.status: int | None = None
        self.has_begun = False
        self.is_whole = False
        self.is_unwanted = False
        self._refusal: OSError | None = None

    async def receive(self) -> Message:
        """Hand over what the server has received."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.is_whole:  # afterwards, it says nothing
            self.is_unwanted = True
        return message

    async def send(self, message: Message) -> None:
        """Send *message*, with the header that tells of the trace. Raises what the server does."""
        kind = message["type"]
        if kind in _STARTS:
            self.has_begun = True
            self.status = message.get("status")
            if self._header is not None:
                message = with_header(message, self._header)
        elif kind == "websocket.close" and not self.has_begun:
            self.status = _REFUSED
        elif kind in _ENDS and not message.get("more_body"):
            self.is_whole = True
        try:
            await self._send(message)
        except OSError as error:
            self._refusal = error
            raise

    def is_cause_of(self, error: BaseException) -> bool:
        """Tell whether *error* came of it that the server could not send."""
        rest: list[BaseException | None] = [error]
        for _ in range(_MOST_ERRORS):
            item = rest.pop() if rest else None
            if item is None or item is self._refusal:
                return item is not None
            rest += filter(None, (item.__context__, item.__cause__, *getattr(item, "exceptions", ())))
        return False


class _Lifespan:
    """The start and the end of a server; before that is told, all telemetry is delivered."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive: Final = receive
        self._send: Final = send
        self._is_used = False

    async def run(self, app: AsgiApplication, scope: Scope) -> None:
        """Let *app* start and end with the server. Raises what it does, if it has a lifespan."""
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:
            # So an application says that it has none; what else it raises is a failure, and the server decides.
            if self._is_used or not (isinstance(error, _REFUSALS) or "lifespan" in str(error)):
                raise
        if not self._is_used:
            for step in ("startup", "shutdown"):
                await self.receive()
                await self.send({"type": f"lifespan.{step}.complete"})

    async def receive(self) -> Message:
        """Hand over what the server says."""
        self._is_used = True
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Tell the server *message*; before the application has ended, deliver."""
        self._is_used = True
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            force_flush(_LONGEST_FLUSH)  # nothing is served any more that would wait for it
        await self._send(message)
