"""How a trace goes on in another process: read from what a caller has sent, written into what is sent to others."""

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from opentelemetry import context, trace
from opentelemetry.propagators.textmap import DefaultGetter

from otelflow._core.process import losses

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context


class continue_trace:
    """Inside ``with continue_trace(headers):`` flows and tasks are parts of the trace of who has sent *headers*.

    *headers* (mapping of texts; upper and lower case are the same): of an HTTP request, a message or a job;
    ``OTEL_PROPAGATORS`` says which of them tell of the trace and of its baggage, ``traceparent``, ``tracestate`` and
    ``baggage`` unless it is set. Where a span of this process is current, it stays the parent: an instrumentation of
    OpenTelemetry has read the headers before. Headers that say nothing, or nothing usable, begin a new trace.

    >>> import otelflow
    >>> @otelflow.flow(execute_on_call=True)
    ... def answer():
    ...     return otelflow.trace_headers()["traceparent"]
    >>> headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    >>> with otelflow.continue_trace(headers):
    ...     answer()
    '00-4bf92f3577b34da6a3ce929d0e0e4736-...-01'
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self._token: Token[Context] | None = None

    def __enter__(self) -> Self:
        span_context = trace.get_current_span().get_span_context()
        if not span_context.is_valid or span_context.is_remote:
            try:
                carrier: dict[str, str] = {}
                for name, value in self.headers.items():  # of a framework: with each that came more than once
                    key = name.lower()
                    carrier[key] = f"{carrier[key]},{value}" if carrier.get(key, value) != value else value
                if "," in carrier.get("traceparent", ""):  # of several, none is the parent, says W3C's own test suite
                    del carrier["traceparent"]
                self._token = context.attach(context_of(carrier))
            except Exception as error:  # noqa: BLE001 a propagator is foreign code
                losses.record("traces", "trace_broken", _UNREADABLE, error=error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            context.detach(token)


class _LowerCase(DefaultGetter):
    """Finds a header by any spelling: propagators ask for their own, such as ``X-Amzn-Trace-Id``."""

    def get(self, carrier: "Mapping[str, list[str] | str]", key: str) -> list[str] | None:
        return super().get(carrier, key.lower())


def context_of(headers: "Mapping[str, str]") -> "Context":
    """Return the context that *headers*, whose names are in lower case, tell of; ``OTEL_PROPAGATORS`` says which do."""
    from opentelemetry import propagate  # noqa: PLC0415 it reads OTEL_PROPAGATORS, and may refuse it

    return propagate.extract(headers, getter=_LowerCase())


_UNREADABLE: Final = "The parent in the headers of a caller cannot be read; a new trace begins"
_UNWRITABLE: Final = "The headers that tell others of a trace cannot be written; what they do is a trace of its own"


def trace_headers() -> dict[str, str]:
    """Return the headers that tell others of the trace and the run that are current, to be sent to them.

    Returns a dict, ``traceparent`` among its keys unless ``OTEL_PROPAGATORS`` says otherwise; empty outside of a trace.

    >>> otelflow.trace_headers()
    {}
    """
    headers: dict[str, str] = {}
    try:
        from opentelemetry import propagate  # noqa: PLC0415 see above

        propagate.inject(headers)
    except Exception as error:  # noqa: BLE001 a propagator is foreign code
        losses.record("traces", "trace_broken", _UNWRITABLE, error=error)
    return headers


def trace_environment() -> dict[str, str]:
    """Return the variables that tell a child process of the trace and the run that are current.

    Returns a dict, ``TRACEPARENT`` among its keys unless ``OTEL_PROPAGATORS`` says otherwise; empty outside of a trace.
    The first flow of a child that has them goes on in this trace, and so does ``otelflow exec`` in a shell script.

    >>> import os, subprocess, sys, otelflow
    >>> @otelflow.flow(execute_on_call=True)
    ... def parent():
    ...     environment = os.environ | otelflow.trace_environment()
    ...     command = [sys.executable, "-c", "import os; print(os.environ['TRACEPARENT'])"]
    ...     return subprocess.check_output(command, env=environment, text=True).strip()
    >>> with otelflow.continue_trace({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}):
    ...     parent()
    '00-4bf92f3577b34da6a3ce929d0e0e4736-...-01'
    """
    return {name.upper().replace("-", "_"): value for name, value in trace_headers().items()}
