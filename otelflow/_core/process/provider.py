"""Which tracer provider makes the spans of this process: the global one, or the one that was given."""

import contextlib
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.trace import Span, TracerProvider

from otelflow import semconv
from otelflow._core.process import losses, shutdown
from otelflow._core.process.process import State
from otelflow._version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context

_SDK: Final = "opentelemetry.sdk.trace"
# By name: the core imports nothing that needs the SDK.
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


class _Provider(State):
    """The provider in use, and what makes its spans; looked up again at each run, since a host may come late."""

    provider: TracerProvider | None
    span_maker: SpanMaker | None
    override: TracerProvider | None
    proxy: TracerProvider | None
    is_first_flow: bool

    def reset(self) -> None:
        """Use the global provider, whichever it is by then."""
        self.provider = self.span_maker = self.override = self.proxy = None
        self.is_first_flow = True


_chosen: Final = _Provider()


def use_provider(provider: TracerProvider | None) -> TracerProvider | None:
    """Take spans from *provider* instead of the global one (None: the global one again); return what was in use."""
    previous, _chosen.override = _chosen.override, provider
    return previous


def span_maker() -> SpanMaker | None:
    """Return what makes spans now, or None while nobody has configured OpenTelemetry."""
    if _chosen.proxy is not None and _chosen.override is None and getattr(trace, "_TRACER_PROVIDER", _chosen) is None:
        return None  # nobody has set a provider; the API would look into the environment for one at each call
    try:
        return _maker_of(_chosen.override or trace.get_tracer_provider())
    except Exception as error:  # noqa: BLE001 providers are foreign code, and the environment may name a wrong one
        losses.record("traces", "start_failed", START_FAILED, error=error)
        return None


#: What the log says when a run has no span
START_FAILED: Final = "A span could not be started; the run goes on without it"


def _maker_of(provider: TracerProvider) -> SpanMaker | None:
    if provider is not _chosen.provider:
        shutdown.end_open_runs_at_exit()
        if type(provider) is trace.ProxyTracerProvider:
            _chosen.proxy, _chosen.span_maker = provider, None
        else:
            tracer = provider.get_tracer(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
            _chosen.span_maker = tracer
            if type(tracer).__module__ == _SDK:
                with contextlib.suppress(ImportError):  # of a private name that this SDK does not have
                    _chosen.span_maker = importlib.import_module(_FOR_SDK).quick(tracer)
        _chosen.provider = provider
    return _chosen.span_maker


def is_first_flow() -> bool:
    """Tell whether no flow has asked before."""
    is_first, _chosen.is_first_flow = _chosen.is_first_flow, False
    return is_first
