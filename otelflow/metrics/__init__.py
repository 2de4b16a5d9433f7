"""Metrics of all runs, and the one choice of how they get out.

``OTELFLOW_METRICS`` or ``configure(metrics=…)`` is a word, some with a place after a colon:

=====================  =================================================================================
``off`` or nothing     no metrics
``pull[:HOST:PORT]``   serve /metrics, on 127.0.0.1:9464 unless another address is chosen
``registry``           add them to prometheus-client's registry, which the application shows itself
``multiprocess``       share them among worker processes through PROMETHEUS_MULTIPROC_DIR
``push[:URL]``         push to a Pushgateway when a flow has ended
``textfile:PATH``      write a file for node_exporter when a flow has ended
``otlp``               export OTLP metrics to where the ``OTEL_EXPORTER_OTLP_*`` variables say
=====================  =================================================================================
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from opentelemetry.sdk.resources import SERVICE_NAMESPACE, Resource
from prometheus_client import CollectorRegistry, core, make_asgi_app, make_wsgi_app

from otelflow._core.process import forks
from otelflow._core.process.process import State
from otelflow._core.process.provider import expect_no_configure
from otelflow._core.process.settings import settings
from otelflow._core.process.worker import checked_wait
from otelflow._core.runs import observers
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs import parse
from otelflow.metrics._outputs.output import Choice, Output, service_of
from otelflow_exporters._otlp.resource import encodable

__all__ = ["Metrics", "asgi_app", "check", "in_use", "use", "wsgi_app"]


class Metrics:
    """The metrics of this process, as ``use()`` and ``configure().metrics`` return them.

    ``registry`` is the CollectorRegistry that shows them; ``aggregator`` counts the runs, ``output`` delivers.

    >>> metrics = otelflow.metrics.use("pull:0")
    >>> metrics.address
    'http://127.0.0.1:.../metrics'
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self.aggregator = output.aggregator
        self.registry = output.registry
        try:
            self.registry.register(output.collector)
        except ValueError as error:
            raise ConfigurationError(
                f"metrics: this registry has a metric of that name already ({error}); take the other one out, or give "
                "otelflow a CollectorRegistry of its own"
            ) from None

    @property
    def address(self) -> str | None:
        """The URL of /metrics if this process serves it, or None."""
        return self.output.address

    def asgi_app(self) -> Callable[..., Any]:
        """Return an ASGI application that shows the metrics in use.

        >>> app.mount("/metrics", otelflow.metrics.use("registry").asgi_app())
        """
        return make_asgi_app(_CurrentRegistry())

    def wsgi_app(self) -> Callable[..., Any]:
        """Return a WSGI application that shows the metrics in use.

        >>> app.mount("/metrics", otelflow.metrics.use("registry").wsgi_app())
        """
        return make_wsgi_app(_CurrentRegistry())

    def flush(self, timeout: float = 5.0) -> bool:
        """Deliver the numbers of now within *timeout* seconds; return whether they arrived.

        Raises ConfigurationError for what is no time.

        >>> otelflow.metrics.use("textfile:otelflow.prom").flush(2)
        True
        """
        return self.output.flush(checked_wait("flush()", timeout, "seconds"))

    def shutdown(self) -> None:
        """Deliver the last numbers, in bounded time, and count no more. Runs by itself at exit.

        >>> otelflow.metrics.use("textfile:otelflow.prom").shutdown()
        """
        if _state.metrics is self:
            _state.forget()
        _close(self)


class _MetricsState(State):
    """The metrics in use, what chose them, and the last argument, which a call without one leaves in force."""

    lock: Final = forks.new_lock()
    metrics: Metrics | None = None

    def reset(self) -> None:
        """Count no more, and deliver nothing."""
        metrics = self.metrics
        self.forget()
        if metrics is not None:
            _close(metrics, deliver=False)

    def forget(self) -> None:
        """Count no more."""
        if self.metrics is not None:
            observers.remove_observer(self.metrics.aggregator)
        self.metrics = None
        self.choice: Choice | None = None
        self.setting: str | CollectorRegistry = ""
        self.resource: Resource | None = None
        self.argument: str | CollectorRegistry | None = None


_state: Final = _MetricsState()


def use(choice: str | CollectorRegistry | None = None, *, resource: Resource | None = None) -> Metrics | None:
    """Count every run from now on and deliver the numbers as *choice* says.

    *choice* (str, or prometheus-client's ``CollectorRegistry``): a word of the table above, or the registry to add the
    metrics to, which its application shows. None is the choice of an earlier call, or else the setting ``metrics``.
    *resource* (OpenTelemetry's ``Resource``): tells the name of the service; None is that of an earlier call, or else
    of the ``OTEL_*`` variables.

    Returns the metrics in use, or None if the choice is ``off``. The same choice again changes nothing; another one
    takes its place and goes on with the same numbers. Raises ConfigurationError for a choice that does not exist, or
    whose place, files or variables cannot be used.

    >>> from otelflow.metrics import use
    >>> metrics = use("push:http://gateway:9091")
    """
    with _state.lock:
        setting, origin = choice if choice is not None else _state.argument, "metrics"
        if setting is None:
            setting, origin = settings().metrics, settings().origin("metrics")
            if not setting and _state.metrics is not None:
                setting, origin = _state.setting, "metrics"
        with _named(origin):
            _change_to(setting, encodable(resource) if resource else _state.resource or encodable(Resource.create()))
        if choice is not None:
            _state.argument = choice
            expect_no_configure()
        return _state.metrics


def check() -> None:
    """Look at the setting ``metrics``, and open nothing: ``configure()`` will take it, as far as that can be told.

    Raises ConfigurationError for an output that does not exist, or whose place, files or variables cannot be used.

    >>> otelflow.metrics.check()
    """
    in_force = settings()
    with _named(in_force.origin("metrics")):
        choice = parse(in_force.metrics, encodable(Resource.create()))
        if choice is not None:
            choice.check()


@contextlib.contextmanager
def _named(origin: str) -> Iterator[None]:
    """Inside, an error that speaks of ``metrics=`` names the variable that said so, if *origin* is one."""
    try:
        yield
    except ConfigurationError as error:
        if not str(error).startswith("metrics="):
            raise
        variable = origin if origin.isidentifier() and origin.isupper() else "metrics"
        raise ConfigurationError(variable + str(error).removeprefix("metrics")) from None


def in_use() -> Metrics | None:
    """Return the metrics of this process, or None while nothing is counted.

    >>> otelflow.metrics.in_use() is None
    True
    """
    return _state.metrics


def asgi_app() -> Callable[..., Any]:
    """Return an ASGI application that shows the metrics; without a choice yet, they are only counted.

    It shows the metrics in use at each request: it may be mounted before ``configure()``. Raises ConfigurationError
    when the setting ``metrics`` cannot be used.

    >>> app.mount("/metrics", otelflow.metrics.asgi_app())
    """
    _count()
    return make_asgi_app(_CurrentRegistry())


def wsgi_app() -> Callable[..., Any]:
    """Return a WSGI application that shows the metrics, as ``asgi_app()`` does.

    Raises ConfigurationError when the setting ``metrics`` cannot be used.

    >>> app.mount("/metrics", otelflow.metrics.wsgi_app())
    """
    _count()
    return make_wsgi_app(_CurrentRegistry())


def _count() -> None:
    with _state.lock:
        if _state.metrics is None and use() is None:
            argument = _state.argument
            use(CollectorRegistry())
            _state.argument = argument  # mounting an application is no choice


class _CurrentRegistry(CollectorRegistry):
    """Shows the metrics that are in use at the moment."""

    def collect(self) -> Iterable[core.Metric]:
        """Return every metric of this moment."""
        metrics = _state.metrics
        return () if metrics is None else metrics.registry.collect()

    def restricted_registry(self, names: Iterable[str]) -> Any:
        """Return a registry that shows *names* alone."""
        metrics = _state.metrics
        registry = CollectorRegistry() if metrics is None else metrics.registry
        return registry.restricted_registry(names)


def _change_to(setting: str | CollectorRegistry, resource: Resource) -> None:
    """Replace the output by the one that *setting* chooses, unless that is in use already."""
    choice, current = parse(setting, resource), _state.metrics
    if choice is None:
        if current is not None:
            current.shutdown()
        return
    aggregator = current.aggregator if current is not None else Aggregator()
    aggregator.limit = settings().metrics_series
    aggregator.others.own = str(resource.attributes.get(SERVICE_NAMESPACE, "")), service_of(resource)
    if choice == _state.choice:
        return
    metrics = Metrics(choice.open(aggregator))
    output = metrics.output
    if current is None:
        output.start()
    else:
        takes_port = bool(output.port) and output.port == current.output.port
        if takes_port or output.port is None:
            current.output.close()  # first: two cannot have the same port, nor deliver the same numbers
        if not output.start() and (not takes_port or current.output.start()):
            _close(metrics)  # it cannot start, and the one before serves on
            return
        _close(current)
    _state.metrics, _state.choice, _state.setting, _state.resource = metrics, choice, setting, resource
    observers.add_observer(aggregator)


def _close(metrics: Metrics, *, deliver: bool = True) -> None:
    metrics.output.close(deliver=deliver)
    with contextlib.suppress(KeyError):  # the application has taken the collector out of its registry
        metrics.registry.unregister(metrics.output.collector)
