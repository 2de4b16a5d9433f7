"""Metrics of all runs, and the one choice of how they get out.

``OTELFLOW_METRICS`` or ``configure(metrics=…)`` is a word, some with a place after a colon:

=====================  =================================================================================
``off`` or nothing     no metrics
``pull[:HOST:PORT]``   serve /metrics, on 127.0.0.1:9464 unless said otherwise
``registry``           add them to prometheus-client's registry, which the application shows itself
``multiprocess``       share them among worker processes through PROMETHEUS_MULTIPROC_DIR
``push[:URL]``         push to a Pushgateway when a flow has ended
``textfile:PATH``      write a file for node_exporter when a flow has ended
``otlp``               export OTLP metrics to where the ``OTEL_EXPORTER_OTLP_*`` variables say
=====================  =================================================================================
"""

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from prometheus_client import REGISTRY, CollectorRegistry, make_asgi_app, make_wsgi_app

from otelflow._core import watching
from otelflow._core.config import settings
from otelflow._core.errors import ConfigurationError, nearest
from otelflow.telemetry import forks
from otelflow.telemetry.board import Board
from otelflow.telemetry.prometheus import BoardCollector
from otelflow.telemetry.ways import Way

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

OFF: Final = ("", "off", "none")


class Metrics:
    """The metrics of this process: a board that counts, a registry that shows it, and perhaps a way out.

    ``address`` is where /metrics answers, if this process serves it.
    """

    def __init__(self, parts: "_Parts", wanted: object, way: Way | None) -> None:
        self.board = parts.board
        self.registry = parts.registry
        self.wanted = wanted
        self.way = way
        self._collector = parts.collector

    @property
    def address(self) -> str | None:
        """The address of /metrics, or None."""
        return getattr(self.way, "address", None)

    def asgi_app(self) -> Callable[..., Any]:
        """Return an ASGI application to mount, as ``app.mount("/metrics", metrics.asgi_app())``."""
        return make_asgi_app(self.registry)

    def wsgi_app(self) -> Callable[..., Any]:
        """Return a WSGI application to mount."""
        return make_wsgi_app(self.registry)

    def flush(self, timeout: float = 5.0) -> bool:
        """Bring out the numbers of now within *timeout* seconds; return whether they arrived."""
        return self.way is None or self.way.flush(timeout)

    def shutdown(self) -> None:
        """Bring out the last numbers, in bounded time, and count no more. Runs by itself at exit."""
        watching.remove_watcher(self.board)
        if self.way is not None:
            self.way.close()
        with contextlib.suppress(KeyError):  # somebody else took it out
            self.registry.unregister(self._collector)
        if _Process.metrics is self:
            _Process.metrics = None


class _Process:
    """What this process has chosen."""

    lock: Final = threading.RLock()
    metrics: Metrics | None = None


forks.renew(_Process.lock)


def use(wanted: str | CollectorRegistry | None = None, *, resource: Resource | None = None) -> Metrics | None:
    """Count every run from now on and bring the numbers out as *wanted* says; None: as the settings say.

    A registry is added to, and shown by whoever has it. The same choice again changes nothing; another one takes its
    place. *resource* tells the name of the service. Raises ConfigurationError for a choice that does not exist.
    """
    origin = "metrics"
    if wanted is None:
        wanted, origin = settings().metrics, settings().origin("metrics")
        if not wanted and _Process.metrics is not None:
            return _Process.metrics  # nobody says anything else
    if isinstance(wanted, str):
        wanted = wanted.strip()
    with _Process.lock:
        known = _Process.metrics
        if known is not None and known.wanted == wanted:
            return known
        way_out = _way_out(wanted, origin)
        chosen = None
        if way_out is not None:
            chosen = _started(wanted, way_out, resource if resource is not None else Resource.create())
        if known is not None:
            known.shutdown()
        _Process.metrics = chosen
        return chosen


def in_use() -> Metrics | None:
    """Return the metrics of this process, if there are any."""
    return _Process.metrics


def asgi_app() -> Callable[..., Any]:
    """Return an ASGI application that shows the metrics; without a choice yet, they are only counted."""
    return _counted().asgi_app()


def wsgi_app() -> Callable[..., Any]:
    """Return a WSGI application that shows the metrics; without a choice yet, they are only counted."""
    return _counted().wsgi_app()


def _counted() -> Metrics:
    found = _Process.metrics or use() or use(CollectorRegistry())
    assert found is not None  # noqa: S101 a registry is a choice
    return found


# The ways out: each takes what it needs, checks what it was given, and returns itself.


class _Parts:
    """What a way out is made of."""

    def __init__(self, where: str, resource: Resource) -> None:
        self.board = Board(settings().metrics_series)
        self.where = where
        self.resource = resource
        self.service = str(resource.attributes.get(SERVICE_NAME, "unknown_service"))
        self.registry = CollectorRegistry()
        self.collector: Collector = BoardCollector(self.board)


def _no_way(parts: _Parts) -> None:
    """Somebody has the registry and shows it."""


def _global_registry(parts: _Parts) -> None:
    parts.registry = REGISTRY


def _pull(parts: _Parts) -> Way:
    from otelflow.telemetry.ways.pull import Certificate, Pull  # noqa: PLC0415 only the way that is chosen

    chosen = settings()
    certificate = Certificate(chosen.metrics_certificate, chosen.metrics_key, chosen.metrics_client_ca)
    return Pull(parts.registry, parts.where, certificate)


def _multiprocess(parts: _Parts) -> Way:
    from otelflow.telemetry.ways.multiprocess import Multiprocess  # noqa: PLC0415 only the way that is chosen

    way = Multiprocess(parts.board)
    parts.collector = way.collector()
    return way


def _push(parts: _Parts) -> Way:
    from otelflow.telemetry.ways.push import Push  # noqa: PLC0415 only the way that is chosen

    return Push(parts.board, parts.where, parts.service)


def _textfile(parts: _Parts) -> Way:
    from otelflow.telemetry.ways.textfile import Textfile  # noqa: PLC0415 only the way that is chosen

    return Textfile(parts.board, parts.where, parts.service)


def _otlp(parts: _Parts) -> Way:
    from otelflow.telemetry.ways.otlp import Otlp  # noqa: PLC0415 only the way that is chosen

    return Otlp(parts.board, parts.resource)


_WAYS: Final[dict[str, Callable[[_Parts], Way | None]]] = {
    "registry": _global_registry,
    "pull": _pull,
    "multiprocess": _multiprocess,
    "push": _push,
    "textfile": _textfile,
    "otlp": _otlp,
}
_WITH_A_PLACE: Final = frozenset({"pull", "push", "textfile"})


def _way_out(wanted: str | CollectorRegistry, origin: str) -> tuple[Callable[[_Parts], Way | None], str] | None:
    """Return what makes the way out, and the place that it was given. Raises ConfigurationError."""
    if isinstance(wanted, CollectorRegistry):
        return _no_way, ""
    if not isinstance(wanted, str):
        raise ConfigurationError(f"metrics must be a text such as 'pull' or a CollectorRegistry, not {wanted!r:.60}")
    word, colon, where = wanted.partition(":")
    word = word.strip().lower()
    if word in OFF and not where:
        return None
    if word not in _WAYS:
        raise ConfigurationError(f"{origin}={wanted:.60} is no way out for metrics{nearest(word, ('off', *_WAYS))}")
    if colon and word not in _WITH_A_PLACE:
        raise ConfigurationError(f"{origin}={wanted:.60}: {word} takes no place after a colon")
    return _WAYS[word], where.strip()


def _started(wanted: str | CollectorRegistry, way_out: tuple[Any, str], resource: Resource) -> Metrics:
    make, where = way_out
    parts = _Parts(where, resource)
    if isinstance(wanted, CollectorRegistry):
        parts.registry = wanted
    metrics = Metrics(parts, wanted, make(parts))
    try:
        parts.registry.register(parts.collector)
    except ValueError as error:
        raise ConfigurationError(f"metrics: this registry shows otelflow's metrics already ({error})") from None
    watching.add_watcher(parts.board)
    return metrics
