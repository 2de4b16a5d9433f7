"""What the requests of every server have in common: what their run is called, and what their answer tells."""

import contextlib
import inspect
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from opentelemetry import trace

from otelflow import Flow_Run__Config, flow, semconv
from otelflow.errors import ConfigurationError, ServerError
from otelflow.integrations._types import Message

#: Other methods are one, so that nobody who asks for nonsense makes series of it
METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE", "WEBSOCKET"}
)
#: Names that a program makes itself may be many
_MOST_FLOWS: Final = 1_000
SERVER_ERROR: Final = 500
_HEADER: Final = re.compile(r"[A-Za-z0-9_-]+")
_logger: Final = logging.getLogger("otelflow")

#: Whether a request is a flow, or what tells its name
Flows = bool | Callable[[Any], str | None]
#: Where in the scope a layer around an ASGI application wants to know the header that tells of the trace
HEADERS: Final = "otelflow.headers"


class FlowsByName:
    """The flows of one server's requests, as *flows* says: one for each name and body.

    *owner* is what an error about *flows* begins with. Raises ConfigurationError.
    """

    def __init__(self, owner: str, flows: Flows) -> None:
        choice: object = flows
        if not (isinstance(choice, bool) or callable(choice)) or inspect.iscoroutinefunction(choice):
            kinds = "True, False, or a plain function that names them"
            raise ConfigurationError(f"{owner}: flows must be {kinds}, not {flows!r:.60}")
        self.owner: Final = owner
        self.flows: Final = flows
        self._runs: Final[dict[tuple[str, Any], Callable[..., Any]]] = {}

    def runner(self, body: Callable[..., Any], request: Any, usual_name: str) -> Callable[..., Any] | None:
        """Return what runs *body* as a flow for *request*, or None where there is to be none."""
        name: str | None = usual_name
        if callable(self.flows):
            try:
                name = _checked_name(self.flows(request))
            except Exception:  # the program's own function must not cost the answer, nor a log's handler
                with contextlib.suppress(Exception):
                    _logger.exception("%s: flows raised; the flow is called %s as usual", self.owner, usual_name)
        elif not self.flows:
            return None
        if name is None:
            return None
        runner = self._runs.get((name, body))
        if runner is None:
            config = Flow_Run__Config(raise_flow_error=True)  # the server makes an answer of it
            runner = flow(flow_name=name, flow_config=config, execute_on_call=True)(body)
            if len(self._runs) < _MOST_FLOWS:
                self._runs[name, body] = runner
        return runner


def _checked_name(name: object) -> str | None:
    if not isinstance(name, str | None) or (name is not None and not name.strip()):
        raise TypeError(f"{name!r:.60} is no name: return a text, or None for no flow")
    return name


class Requests:
    """How one application sees its requests: as flows or not, where its metrics are, which header bears the trace.

    Raises ConfigurationError.
    """

    def __init__(
        self, run: Callable[..., Any], flows: Flows, metrics_path: str | None, response_header: str | None
    ) -> None:
        self.run: Final = run
        self.flows: Final = FlowsByName("FlowMiddleware", flows)
        wrong = None
        if not str(metrics_path or "/").startswith("/"):
            wrong = f"metrics_path must be a path such as '/metrics', or None, not {metrics_path!r:.60}"
        elif response_header is not None and not _HEADER.fullmatch(str(response_header)):
            wrong = f"response_header must be the name of a header, or None, not {response_header!r:.60}"
        if wrong:
            raise ConfigurationError(f"FlowMiddleware: {wrong}")
        self.metrics_path: Final = metrics_path and str(metrics_path)
        self.response_header: Final = response_header

    def runner(self, request: Any, method: str, route: str | None) -> Callable[..., Any] | None:
        """Return what runs *request* as a flow, or None where it is to be none."""
        return self.flows.runner(self.run, request, name_of(method, route))

    def answer_header(self) -> tuple[str, str] | None:
        """Return the header by which the answer tells of the trace that is current, and its value."""
        if self.response_header is None:
            return None
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        trace_id = trace.format_trace_id(context.trace_id)
        if self.response_header.lower() != "traceresponse":
            return self.response_header, trace_id
        # As the second level of W3C's Trace Context has it
        return "traceresponse", f"00-{trace_id}-{trace.format_span_id(context.span_id)}-{context.trace_flags:02x}"


def with_header(message: Message, header: tuple[str, str]) -> Message:
    """Return *message*, with which an answer begins, with this *header* unless it has one of that name."""
    name, value = (text.encode("latin-1") for text in header)
    headers = list(message.get("headers") or ())
    if all(key.lower() != name.lower() for key, _ in headers):
        headers.append((name.lower(), value))
    return {**message, "headers": headers}


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return *headers* by name; those that came more than once are one, as HTTP has it, and WSGI's servers do."""
    by_name: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        by_name[key] = f"{by_name[key]},{value}" if key in by_name else value
    return by_name


def name_of(method: str, route: str | None) -> str:
    """Return the name of the flow of a request: there are few of them, whatever is asked for."""
    return " ".join(filter(None, (method if method in METHODS else "HTTP", route)))


def describe(method: str, route: str | None) -> None:
    """Write on the span of the run what was asked for."""
    span = trace.get_current_span()
    span.set_attribute(semconv.HTTP_METHOD, method if method in METHODS else "_OTHER")
    if route is not None:
        span.set_attribute(semconv.HTTP_ROUTE, route)


def describe_answer(status: int) -> None:
    """Write *status* on the span of the run. Raises ServerError for one that says that the server failed."""
    trace.get_current_span().set_attribute(semconv.HTTP_STATUS, status)
    if status >= SERVER_ERROR:
        raise ServerError(status)
