"""The one place that makes a span, and the one that writes on it.

``start`` goes through a ``SpanMaker``, so that a faster one can take its place without anybody noticing.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, Status, StatusCode, TracerProvider

from otelflow import semconv
from otelflow._core.process import losses, shutdown

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from otelflow._core.runs.run import Run


_SDK: Final = "opentelemetry.sdk.trace"
_FOR_SDK: Final = "otelflow._telemetry.sdk_spans"


class SpanMaker(Protocol):
    """Makes the span of a run; an OpenTelemetry ``Tracer`` is one."""

    def start_span(
        self,
        name: str,
        context: "Context | None" = None,
        *,
        attributes: Mapping[str, Any],
        start_time: int,
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> Span:
        """Start a span that is not current; its parent is the span of *context*, or the current one."""


class _Choice:
    """The provider whose tracer is in use; looked up again at each run, since a host may come late."""

    provider: TracerProvider | None = None
    tracer: SpanMaker | None = None
    given: TracerProvider | None = None
    proxy: TracerProvider | None = None
    is_first_flow = True


_choice: Final = _Choice()


def use_provider(provider: TracerProvider | None) -> TracerProvider | None:
    """Take spans from *provider* instead of the global one (None: the global one again); return what was in use."""
    previous, _choice.given = _choice.given, provider
    return previous


def maker() -> SpanMaker | None:
    """Return what makes spans now, or None while nobody has configured OpenTelemetry."""
    if _choice.given is None and _choice.proxy is not None and getattr(trace, "_TRACER_PROVIDER", _choice) is None:
        return None  # nobody has set a provider; the API would look into the environment for one at each call
    provider = _choice.given or trace.get_tracer_provider()
    if provider is not _choice.provider:
        shutdown.end_open_runs_at_exit()
        is_proxy = type(provider) is trace.ProxyTracerProvider
        _choice.proxy = provider if is_proxy else _choice.proxy
        _choice.tracer = None if is_proxy else _maker_of(provider)
        _choice.provider = provider
    return _choice.tracer


def _maker_of(provider: TracerProvider) -> SpanMaker:
    tracer = provider.get_tracer(semconv.SCOPE, _version(), semconv.SCHEMA_URL)
    if type(tracer).__module__ != _SDK:
        return tracer
    import importlib  # noqa: PLC0415 by name: the core imports nothing that needs the SDK

    quicker: SpanMaker = importlib.import_module(_FOR_SDK).quick(tracer)
    return quicker


def _version() -> str:
    from otelflow import __version__  # noqa: PLC0415 the package imports this module first

    return __version__


def start(run: "Run", context: "Context | None" = None) -> Span:
    """Start the span of *run*, or return INVALID_SPAN when there is nobody to make one or it failed to."""
    try:
        span_maker = maker()
        if span_maker is None:
            return INVALID_SPAN
        return span_maker.start_span(
            run.span_name(),
            context,
            attributes=run.span_attributes(),
            start_time=run.started_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
    except Exception as error:  # noqa: BLE001 samplers, id generators and processors are foreign code
        message = "A span could not be started; the run goes on without it"
        losses.record("traces", "start_failed", message, error=error)
        return INVALID_SPAN


def end(span: Span, end_time: int) -> None:
    """End *span*; a processor that raises is foreign code and must not replace the user's exception."""
    try:
        span.end(end_time)
    except Exception as error:  # noqa: BLE001
        message = "A span processor raised when a span ended; the run goes on"
        losses.record("traces", "end_failed", message, error=error)


def context_of(span: Span) -> SpanContext | None:
    """Return the ids of *span*, or None when nobody made one; a host's span is foreign code, too."""
    if span is INVALID_SPAN:
        return None
    try:
        return span.get_span_context()
    except Exception as error:  # noqa: BLE001
        losses.warn_once("span_context", "A span does not tell its ids; the run goes on", error=error)
        return None


def fail(span: Span, description: str) -> None:
    """Set the status of *span* to ERROR."""
    span.set_status(Status(StatusCode.ERROR, description))


def environment_parent() -> "Context | None":
    """Return the context of ``TRACEPARENT`` for the first flow of this process, once."""
    if not _choice.is_first_flow:
        return None
    _choice.is_first_flow = False
    traceparent = os.environ.get("TRACEPARENT")
    if not traceparent or trace.get_current_span().get_span_context().is_valid:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier = {"traceparent": traceparent, "tracestate": os.environ.get("TRACESTATE", "")}
    context = TraceContextTextMapPropagator().extract(carrier)
    if not trace.get_current_span(context).get_span_context().is_valid:
        losses.warn_once("traceparent", "TRACEPARENT=%r is not a W3C traceparent; a new trace begins", traceparent)
        return None
    return context
