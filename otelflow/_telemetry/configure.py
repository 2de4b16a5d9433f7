"""Where telemetry goes: ``configure()``."""

import _thread
import atexit
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.trace import ProxyTracerProvider

from otelflow._core.inside import artifacts, log_capture
from otelflow._core.inside.listener_checks import RunListener
from otelflow._core.inside.listeners import add_listener
from otelflow._core.process import clock, losses
from otelflow._core.process import settings as process_settings
from otelflow._core.process.environment import SWITCH, variable_for
from otelflow._core.process.process import State
from otelflow._core.process.provider import choose_anew, prepare, use_provider
from otelflow._core.process.settings_table import SETTINGS, Settings
from otelflow._core.process.worker import checked_wait
from otelflow._core.text.hints import quotes_in
from otelflow._core.text.own_logger import log
from otelflow._core.text.safe_str import bounded_name, brief_repr
from otelflow.errors import ConfigurationError

try:
    from opentelemetry.sdk.trace import TracerProvider
except ValueError as error:  # it reads its limits when it is imported, and names the variable and what it takes
    raise ConfigurationError(str(error)) from None

from otelflow._core.process import entry_points, forks, shutdown
from otelflow._telemetry import accounts
from otelflow._telemetry.accounts import KeepsAccounts
from otelflow._telemetry.batches import succeeds
from otelflow._telemetry.traces import new_provider
from otelflow_exporters._otlp.resource import encodable

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LoggerProvider
    from prometheus_client import CollectorRegistry

    from otelflow._telemetry.store_spans import StoreSpanProcessor
    from otelflow.metrics import Metrics

#: How long the end of a child may wait for the exporter of the application's provider
_HOST_MILLIS: Final = 5_000
# A provider that heeds its limit may take a moment to say so.
_GRACE_SECONDS: Final = 0.3
# OpenTelemetry's own name for it is not there before its SDK 1.43
_OTEL_CONFIG_FILE: Final = "OTEL_CONFIG_FILE"


class Telemetry:
    """What ``configure()`` has set up.

    *provider* makes the spans; *is_host* tells that the application had one, which is left as it was.
    ``store_directory`` (Path) is the folder of the local store, or None; ``metrics`` are what counts the runs, or None.
    ``logs`` is the provider that sends events as log records, if ``configure()`` has made one. ``service_name`` is the
    one that metrics bear, if one was given; ``store_processor`` is what delivers to the store, or None.

    >>> telemetry = otelflow.configure(tracer_provider=my_provider)
    >>> telemetry.is_host, telemetry.store_directory
    (True, None)
    """

    def __init__(self, provider: trace.TracerProvider, *, is_host: bool) -> None:
        self.provider = provider
        self.is_host = is_host
        if is_host:  # what it keeps would be lost with a child that just leaves
            shutdown.deliver_before_child_ends(self, partial(Telemetry.force_flush, timeout_millis=_HOST_MILLIS))
        self.store_directory: Path | None = None
        self.store_processor: StoreSpanProcessor | None = None
        self.metrics: Metrics | None = None
        self.logs: LoggerProvider | None = None
        self.service_name: str | None = None

    @property
    def dropped(self) -> Mapping[tuple[str, str], int]:
        """How much telemetry this process lost, by signal and reason: ``{("traces", "export_failed"): 512}``."""
        return dict(losses.dropped)

    @property
    def ledger(self) -> accounts.Ledger:
        """What has become of everything that was handed over for delivery: one account for each signal and destination.

        Made is delivered, waiting or dropped, and nothing else. A host's own processors have no account.

        >>> otelflow.configure(tracer_provider=my_provider).ledger
        ()
        """
        providers: list[object] = [self.provider, self.logs]
        entries = [
            account for provider in providers if isinstance(provider, KeepsAccounts) for account in provider.accounts
        ]
        of_metrics = None if self.metrics is None else self.metrics.output.account
        return (*entries, *(() if of_metrics is None else (of_metrics,)))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what is queued, to the store first, within *timeout_millis* milliseconds.

        Returns False when some of it could not be delivered in time. Raises ConfigurationError for what is no time.

        >>> otelflow.configure(tracer_provider=my_provider).force_flush(5_000)
        True
        """
        deadline = clock.monotonic() + checked_wait("force_flush()", timeout_millis, "milliseconds") / 1_000

        def left_millis() -> int:
            return max(int((deadline - clock.monotonic()) * 1_000), 1)

        is_delivered = True
        # A network that hangs costs no stored trace.
        for target in (self.store_processor, self.provider, self.logs):
            is_delivered = _is_flushed(target, left_millis()) and is_delivered
        return (self.metrics is None or self.metrics.flush(left_millis() / 1_000)) and is_delivered

    def shutdown(self) -> None:
        """Deliver what is queued and end delivery; a host's provider is not touched. Runs by itself at exit.

        All signals end side by side, within five seconds; ``configure()`` can begin again afterwards.

        >>> otelflow.configure(tracer_provider=my_provider).shutdown()
        """
        if _configured.telemetry is self:
            _configured.telemetry = None
        with shutdown.end_together():
            if not self.is_host and isinstance(self.provider, TracerProvider):
                _end(self.provider)
            for target in (self.logs, self.metrics):
                if target is not None:
                    _end(target)
        accounts.tell(self.ledger)


class _Configured(State):
    """What this process has configured, and the provider that it made OpenTelemetry's global one."""

    telemetry: Telemetry | None
    provider: TracerProvider | None = None

    def reset(self) -> None:
        """Have nothing configured; OpenTelemetry's global provider is set once, and so the provider is remembered."""
        self.telemetry = None

    def before_configure(self) -> Telemetry | None:
        """Return what is configured. Also registers the report at exit; it must come before anything that delivers."""
        accounts.tell_at_end(lambda: () if self.telemetry is None else self.telemetry.ledger)
        return self.telemetry


_lock: Final = forks.new_lock()
_configured: Final = _Configured()


def configure(
    *,
    service_name: str | None = None,
    store: bool | str | Path | None = None,
    listeners: Iterable[RunListener] = (),
    tracer_provider: trace.TracerProvider | None = None,
    metrics: "str | CollectorRegistry | None" = None,
    **settings: Any,
) -> Telemetry:
    """Send every run where the ``OTEL_*`` variables say, and to the local store if that is asked for.

    Explicit and idempotent: a later call adds what an earlier one left open, and warns of what it cannot change. When
    the application has a tracer provider, or ``OTEL_CONFIG_FILE`` is set, it steps back and only attaches *listeners*.

    *service_name* (str): the ``service.name`` of all telemetry; ``OTEL_SERVICE_NAME`` unless given.
    *store* (bool, or a folder as str or Path): the local store; True is its default folder, None ``OTELFLOW_STORE``.
    *listeners* (of ``Listener``, or others that ``add_listener()`` takes): are told of every run.
    *tracer_provider* (OpenTelemetry's ``TracerProvider``): makes otelflow's spans in the place of the global one.
    *metrics* (str such as ``"pull"``, or ``CollectorRegistry``): see ``otelflow.metrics``; None: ``OTELFLOW_METRICS``.
    *settings*: fields that ``otelflow config`` lists, such as ``value_limit`` (int, characters).

    Returns the set-up. Raises ConfigurationError for an argument or variable that says nothing usable, InvalidListener.

    >>> otelflow.configure(service_name="shop", value_limit=1_000, tracer_provider=my_provider).dropped
    {}
    """
    _check(service_name, tracer_provider, listeners, store, settings)
    in_force = process_settings.configure(**settings)
    choose_anew()  # what makes the spans is a setting, too
    with _lock:
        earlier = telemetry = _configured.before_configure()
        if tracer_provider is not None:
            use_provider(tracer_provider)
            if telemetry is None or telemetry.provider is not tracer_provider:
                telemetry = Telemetry(tracer_provider, is_host=True)
        elif telemetry is None or (telemetry.is_host and isinstance(telemetry.provider, ProxyTracerProvider)):
            telemetry = _new_telemetry(service_name)
        _take_over(telemetry, earlier)
        _configured.telemetry = telemetry
        _use_store(telemetry, store, in_force.store)
        if telemetry is earlier:
            _warn_of_ignored(telemetry, service_name, store)
    entry_points.empty_is_unset()(prepare)()
    _use_other_signals(telemetry, in_force, metrics, service_name)
    shutdown.begin_end_at_exit()
    log_capture.capture_configured()
    for listener in listeners:
        add_listener(listener)
    return telemetry


def force_flush(timeout_millis: int = 30_000) -> bool:
    """Deliver what is queued in this process within *timeout_millis* milliseconds.

    A provider that the application has set up is asked, too.
    For the end of what may be stopped or frozen without a word: a worker, a function in a cloud. Returns False when
    some of it could not be delivered in time, True also where nothing was set up. Raises ConfigurationError for what is
    no time.

    >>> otelflow.force_flush(5_000)
    True
    """
    telemetry = _configured.telemetry
    if telemetry is not None:
        return telemetry.force_flush(timeout_millis)
    return _is_flushed(trace.get_tracer_provider(), int(checked_wait("force_flush()", timeout_millis, "milliseconds")))


def _end(target: Any) -> None:
    """End *target*: what the application has added to it keeps nothing else from delivering, and its exit goes on."""
    try:
        target.shutdown()
    except Exception as error:  # noqa: BLE001 a processor of the application's is foreign code
        losses.warn_once("shutdown", "Something that the application has added to its telemetry cannot end: %s", error)


def _is_flushed(provider: object, timeout_millis: int) -> bool:
    """Deliver what is queued at *provider*, and tell whether it did in time; one that cannot be asked to has."""

    def flush() -> object:
        try:
            ask = getattr(provider, "force_flush", None)
            return ask is None or ask(timeout_millis)
        except Exception as error:  # noqa: BLE001 a provider is foreign code
            losses.warn_once("flush", "The tracer provider of the application cannot deliver: %s", error)
            return False

    return succeeds(flush, timeout_millis / 1_000 + _GRACE_SECONDS)


def _take_over(telemetry: Telemetry, earlier: Telemetry | None) -> None:
    """Let *telemetry* have what counts the runs and sends their events, which is there once; say what it has not."""
    if telemetry.is_host and process_settings.settings().mark_start:
        losses.warn_once("mark_start", "mark_start does nothing where the application sends its spans itself")
    if earlier is not None:
        telemetry.metrics, telemetry.logs = earlier.metrics, earlier.logs
        telemetry.service_name = earlier.service_name


def _check(
    service_name: object, tracer_provider: object, listeners: object, store: object, settings: Iterable[str]
) -> None:
    """Raise ConfigurationError for an argument of ``configure()`` that it cannot use."""
    wrong: tuple[str, object, str] | None = None
    if service_name is not None and not isinstance(service_name, str):
        wrong = "service_name", service_name, "a text"
    elif tracer_provider is not None and not callable(getattr(tracer_provider, "get_tracer", None)):
        wrong = "tracer_provider", tracer_provider, "a TracerProvider of OpenTelemetry's"
    elif isinstance(listeners, str) or not isinstance(listeners, Iterable):
        wrong = "listeners", listeners, "a list of listeners"
    elif store is not None and not isinstance(store, bool | str | os.PathLike):
        wrong = "store", store, "True, False or a folder"
    if wrong is not None:
        raise ConfigurationError(f"configure(): {wrong[0]} must be {wrong[2]}, not {brief_repr(wrong[1], 60)}")
    for name in settings:
        if name not in SETTINGS:
            keywords = {*(configure.__kwdefaults__ or ()), *SETTINGS}
            raise ConfigurationError(f"configure() has no keyword {name!r}{variable_for(name, keywords)}")


@entry_points.empty_is_unset()
def _new_telemetry(service_name: str | None) -> Telemetry:
    if getattr(trace, "_TRACER_PROVIDER", None) is None:
        entry_points.check_provider("tracer")
        entry_points.check_provider("meter")  # the SDK's spans and log records are counted
    current = trace.get_tracer_provider()
    is_our_old_one = current is _configured.provider
    _warn_of_variables()
    is_disabled = os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
    is_host = not isinstance(current, ProxyTracerProvider) and not is_our_old_one
    if is_host or os.environ.get(_OTEL_CONFIG_FILE) or is_disabled:
        message = "The application configures OpenTelemetry itself; otelflow leaves that as it is"
        log(losses.logger, logging.INFO, message)
        return Telemetry(current, is_host=True)
    if sys.version_info >= (3, 12) and not _thread.daemon_threads_allowed():
        raise ConfigurationError(
            "configure() cannot deliver anything from a subinterpreter, which allows no daemon threads: "
            "call it in the main interpreter, or give it a tracer_provider of your own"
        )
    provider = new_provider(service_name)
    if is_our_old_one:
        use_provider(provider)  # OpenTelemetry's global provider is set once
    else:
        trace.set_tracer_provider(provider)
        _configured.provider = provider
    return Telemetry(provider, is_host=False)


def _use_store(telemetry: Telemetry, store: bool | str | Path | None, setting: str) -> None:
    in_force = SWITCH.get(setting.lower(), setting)
    origin = "configure(): store"
    if store is None or store is True:
        store, origin = in_force or bool(store), process_settings.settings().origin("store")
        origin = origin if origin.isupper() else f"{origin}: store"  # a file has many
    elif isinstance(store, str):
        store = SWITCH.get(store.lower(), store)
    if store is False or in_force is False or telemetry.store_directory is not None:
        return
    if telemetry.is_host or not isinstance(telemetry.provider, TracerProvider):
        message = "The application's tracer provider is left as it is; add a StoreSpanExporter to it yourself"
        log(losses.logger, logging.INFO, message)
        return
    from otelflow._telemetry.store_spans import StoreSpanProcessor  # noqa: PLC0415 only for programs that want a store
    from otelflow_exporters._store.limits import absolute, default_directory  # noqa: PLC0415
    from otelflow_exporters.store import StoreSpanExporter  # noqa: PLC0415

    if store is True:
        try:
            store = default_directory()
        except ConfigurationError as error:  # it was not named by anybody, and runs need none
            losses.warn_once("store", "Nothing is stored: %s", error)
            return
    exporter = StoreSpanExporter(absolute(store, origin))
    if exporter.directory is None or exporter.payloads is None:
        return
    telemetry.store_processor = StoreSpanProcessor(exporter)
    telemetry.provider.add_span_processor(telemetry.store_processor)
    artifacts.keep_payloads(exporter.payloads.keep)
    telemetry.store_directory = Path(exporter.directory)


def _warn_of_variables() -> None:
    """Warn of variables of OpenTelemetry that mean something else than it seems; their values may be secret."""
    for name, value in sorted(os.environ.items()):
        if name.startswith("OTEL_") and quotes_in(value.strip()):
            message = "%s stands in quotes, which are a part of its value: write it without them"
            losses.warn_once(f"quotes {name}", message, name)
    disabled = os.environ.get(OTEL_SDK_DISABLED, "").strip()
    if disabled.lower() not in ("", "true", "false"):
        losses.warn_once("disabled", "%s=%.40s counts as false: only true disables", OTEL_SDK_DISABLED, disabled)


def _warn_of_ignored(telemetry: Telemetry, service_name: str | None, store: bool | str | Path | None) -> None:
    """Warn of what this call of ``configure()`` asked for and an earlier one has settled."""
    ignored = []
    resource: Resource | None = None if telemetry.is_host else getattr(telemetry.provider, "resource", None)
    name = None if service_name is None else bounded_name(service_name)
    if resource is not None and name not in (None, resource.attributes.get(SERVICE_NAME)):
        ignored.append(f"service_name={service_name!r} (it is {resource.attributes.get(SERVICE_NAME)!r})")
    directory = telemetry.store_directory
    if directory is not None and store is not None and store is not True:
        is_same = store is not False and Path(store).expanduser().resolve() == directory.resolve()
        if not is_same:
            ignored.append(f"store={store} (it is {directory})")
    if ignored:
        names = " and ".join(ignored)
        losses.warn_once(
            f"configure again {names}",
            "configure() ignores %s: an earlier call has settled that for the whole process; say it in the first one",
            names,
        )


def _use_other_signals(
    telemetry: Telemetry, in_force: Settings, metrics: "str | CollectorRegistry | None", service_name: str | None
) -> None:
    """Let log records and metrics go where they are wanted."""
    if in_force.events != "span" and isinstance(telemetry.provider, TracerProvider):
        from otelflow._telemetry.logs import use_logs  # noqa: PLC0415 the SDK starts threads for that import

        telemetry.logs = use_logs(encodable(telemetry.provider.resource))
    if metrics is None and not in_force.metrics and telemetry.metrics is None:
        return
    from otelflow.metrics import use  # noqa: PLC0415 prometheus-client only for programs that want metrics

    telemetry.service_name = service_name or telemetry.service_name
    resource: Resource = getattr(telemetry.provider, "resource", None) or encodable(Resource.create())
    if telemetry.service_name:  # also beside the provider of a host, which goes by its own
        resource = resource.merge(Resource({SERVICE_NAME: bounded_name(telemetry.service_name)}))
    telemetry.metrics = use(metrics, resource=resource)
    if not telemetry.is_host and isinstance(telemetry.provider, TracerProvider):
        # Before the metrics end: a spool may tell of runs that were lost, and those are counted, too.
        atexit.unregister(telemetry.provider.shutdown)
        atexit.register(telemetry.provider.shutdown)
        shutdown.end_open_runs_at_exit()
