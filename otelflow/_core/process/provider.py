"""Which tracer provider makes the spans of this process: the global one, or the one that was given."""

import importlib
import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.trace import Span, Tracer, TracerProvider

from otelflow import semconv
from otelflow._core.process import forks, losses, shutdown
from otelflow._core.process.environment import SWITCH
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.text.own_logger import log
from otelflow._core.text.safe_str import comes_from_outside
from otelflow._version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context

_SDK: Final = "opentelemetry.sdk.trace"
# By name: the core imports nothing that needs the SDK.
_FOR_SDK: Final = "otelflow._telemetry.sdk_spans"


if TYPE_CHECKING:  # making a protocol takes a hundredth of an import

    class SpanMaker(Protocol):
        """Makes the spans of runs."""

        def start(
            self, name: str, context: "Context | None", attributes: Callable[[], dict[str, Any]], start_time: int
        ) -> Span:
            """Start a span that is not current; its parent is the span of *context*, or the current one.

            *attributes* is called if the span records them. What it returns is the span's from then on; keys and values
            are texts, and no key is empty.
            """


class TracerSpanMaker:
    """Lets *tracer* make the spans, whosever it is."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer: Final = tracer

    def start(
        self, name: str, context: "Context | None", attributes: Callable[[], dict[str, Any]], start_time: int
    ) -> Span:
        """Start a span that is not current; its parent is the span of *context*, or the current one."""
        return self.tracer.start_span(
            name,
            context,
            attributes=attributes(),
            start_time=start_time,
            record_exception=False,
            set_status_on_exception=False,
        )


class _Provider(State):
    """The provider in use, and what makes its spans; looked up again at each run, since a host may come late."""

    provider: TracerProvider | None
    span_maker: "SpanMaker | None"
    override: TracerProvider | None
    proxy: TracerProvider | None
    is_configured: bool
    # The threads that ask a provider for a tracer right now
    asking: set[int]
    # What sets telemetry up when the first run finds that nobody has
    configure: Callable[[], None] | None

    def reset(self) -> None:
        """Use the global provider, whichever it is by then."""
        self.provider = self.span_maker = self.override = self.proxy = None
        self.is_configured = False
        self.asking = set()
        self.configure = None

    def begin_anew(self) -> None:
        """Ask again in a child: no other thread of the parent is there."""
        self.asking = set()


_chosen: Final = _Provider()
_lock: Final = forks.new_lock()


def use_provider(provider: TracerProvider | None) -> TracerProvider | None:
    """Take spans from *provider* instead of the global one (None: the global one again); return what was in use."""
    previous, _chosen.override = _chosen.override, provider
    return previous


def provider_in_use() -> TracerProvider:
    """Return the provider that the spans of this process come from."""
    return _chosen.override or trace.get_tracer_provider()


def choose_anew() -> None:
    """Look at the provider again at the next run: the setting ``span`` may be another one."""
    _chosen.provider = None


def prepare() -> None:
    """Ask the provider for its tracer when ``configure()`` has chosen it, before the first run.

    That may be in a signal handler, which would wait for ever for an import or a lock that it has interrupted.
    """
    _chosen.is_configured = True
    if threading.get_ident() in _chosen.asking:
        return
    try:
        _maker_of(provider_in_use())
    except Exception as error:  # providers are foreign code; the first run says so
        if comes_from_outside(error):
            raise


def expect_no_configure() -> None:
    """Say nothing of variables that only ``configure()`` reads: the program sets its telemetry up another way."""
    _chosen.is_configured = True


def configure_with_first_run(configure: Callable[[], None] | None) -> None:
    """Call *configure*, once, if the first run finds that nobody has configured OpenTelemetry (None: nothing)."""
    _chosen.configure = configure


def span_maker() -> "SpanMaker | None":
    """Return what makes spans now, or None while OpenTelemetry is not configured."""
    if _chosen.override is None:
        provider = getattr(trace, "_TRACER_PROVIDER", _chosen)
        if provider is not None:
            if provider is _chosen.provider:
                return _chosen.span_maker
        elif _chosen.proxy is not None:
            return None  # no provider is set; the API would look into the environment for one at each call
    elif _chosen.override is _chosen.provider:
        return _chosen.span_maker
    try:
        if threading.get_ident() in _chosen.asking:
            losses.record("traces", "start_failed", START_INSIDE)
            return None
        return _maker_of(provider_in_use())
    except Exception as error:  # noqa: BLE001 providers are foreign code, and the environment may name a wrong one
        if shutdown.is_too_late(error):
            losses.record("traces", "start_failed", START_TOO_LATE)
        else:
            losses.record("traces", "start_failed", START_FAILED, error=error)
        return None


#: What the log says when a run has no span
START_FAILED: Final = "A span could not be started; the run goes on without it"
#: What it says of a run in a ``__del__`` that is called when the interpreter ends
START_TOO_LATE: Final = (
    "A run began while the interpreter ends, when no module can be imported any more: it has no span"
)
#: What it says of a run in a signal handler that has interrupted the first run of its thread
START_INSIDE: Final = (
    "A run began inside of the one that asks OpenTelemetry for a tracer, such as in a signal handler: it has no span; "
    "with configure() before the first run it has"
)


def _maker_of(provider: TracerProvider) -> "SpanMaker | None":
    """Return what makes the spans of *provider*, which this thread does not ask already: it may hold a lock for it."""
    thread = threading.get_ident()
    _chosen.asking.add(thread)
    try:
        return _ask(provider)
    finally:
        _chosen.asking.discard(thread)


def _ask(provider: TracerProvider) -> "SpanMaker | None":
    if _chosen.configure is not None and type(provider) is trace.ProxyTracerProvider:
        with _lock:
            configure = _chosen.configure
            try:
                if configure is not None:
                    configure()
            finally:
                _chosen.configure = None
        provider = trace.get_tracer_provider()
    if provider is not _chosen.provider:
        shutdown.end_open_runs_at_exit()
        if type(provider) is trace.ProxyTracerProvider:
            _chosen.proxy, _chosen.span_maker = provider, None
            if not _chosen.is_configured:
                _tell_what_waits_for_configure()
        else:
            tracer = provider.get_tracer(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
            _chosen.span_maker = TracerSpanMaker(tracer)
            if type(tracer).__module__ == _SDK and settings().span == "otelflow":
                try:
                    _chosen.span_maker = importlib.import_module(_FOR_SDK).span_maker(tracer)
                except Exception as error:  # a later SDK may miss any name
                    if comes_from_outside(error):
                        raise
                    log(losses.logger, logging.DEBUG, "The OpenTelemetry SDK makes the spans itself: %s", error)
        _chosen.provider = provider
    return _chosen.span_maker


def _tell_what_waits_for_configure() -> None:
    """Say once that the environment asks for telemetry, and that runs begin without anybody who reads that."""
    variables = {name: os.environ.get(name, "").strip() for name in _READ_BY_CONFIGURE}
    variables_set = [name for name, text in variables.items() if text and SWITCH.get(text.lower(), True)]
    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if "otelflow" in exporters:
        variables_set.append("OTEL_TRACES_EXPORTER")
    is_off = exporters == "none" or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if variables_set and not is_off:
        losses.warn_once("not configured", NOT_CONFIGURED, " and ".join(variables_set), kind="not configured")


#: What the log says when a flow or task runs in a program that the environment, but no code, has configured
NOT_CONFIGURED: Final = (
    "%s says where telemetry goes, but nobody has called otelflow.configure(), which reads that: call it before the "
    "first flow, or start the program with `otelflow run` or `opentelemetry-instrument`; runs are not recorded"
)
_READ_BY_CONFIGURE: Final = (
    "OTELFLOW_STORE",
    "OTELFLOW_METRICS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


class _FirstFlow(State):
    """Whether the first flow of this process is to come, which goes on with the trace that the environment names."""

    is_to_come: bool

    def reset(self) -> None:
        """Have had none."""
        self.is_to_come = True


first_flow: Final = _FirstFlow()
