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
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from prometheus_client import REGISTRY, CollectorRegistry, make_asgi_app, make_wsgi_app

from otelflow._core.process import forks, losses
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers
from otelflow._core.text.hints import suggestion
from otelflow.errors import ConfigurationError
from otelflow.metrics._collector import BoardCollector
from otelflow.metrics._counts import Board
from otelflow.metrics._outputs import Way

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

OFF: Final = ("", "off", "none")


class Metrics:
    """The metrics of this process: a board that counts, a registry that shows it, and perhaps a way out.

    ``address`` is where /metrics answers, if this process serves it.
    """

    def __init__(self, parts: "_Parts", choice: "_Choice", way: Way | None) -> None:
        self.board = parts.board
        self.registry = parts.registry
        self.wanted = choice.wanted
        self.way = way
        self._choice = choice
        self._resource = parts.resource
        self._collector = parts.collector
        self._has_left = False

    @property
    def address(self) -> str | None:
        """The address of /metrics, or None."""
        return getattr(self.way, "address", None)

    def asgi_app(self) -> Callable[..., Any]:
        """Return an ASGI application to mount, as ``app.mount("/metrics", metrics.asgi_app())``."""
        return make_asgi_app(_InUse())

    def wsgi_app(self) -> Callable[..., Any]:
        """Return a WSGI application to mount."""
        return make_wsgi_app(_InUse())

    def flush(self, timeout: float = 5.0) -> bool:
        """Bring out the numbers of now within *timeout* seconds; return whether they arrived."""
        return self.way is None or self.way.flush(timeout)

    def shutdown(self) -> None:
        """Bring out the last numbers, in bounded time, and count no more. Runs by itself at exit."""
        if _Process.metrics is self:
            observers.remove_observer(self.board)
            _Process.metrics = _Process.given = None
        self._leave()

    def _leave(self) -> None:
        if self._has_left:
            return  # the board may have another way out by now
        self._has_left = True
        if self.way is not None:
            self.way.close()
        with contextlib.suppress(KeyError):  # somebody else took it out
            self.registry.unregister(self._collector)


class _Process:
    """What this process has chosen; *given* is what an argument said, which a call without one leaves in force."""

    lock: Final = forks.new_lock()
    metrics: Metrics | None = None
    given: "str | CollectorRegistry | None" = None


def use(wanted: str | CollectorRegistry | None = None, *, resource: Resource | None = None) -> Metrics | None:
    """Count every run from now on and bring the numbers out as *wanted* says; None: as said before, or by the settings.

    A registry is added to, and shown by whoever has it. The same choice again changes nothing; another one takes its
    place, and goes on with the same numbers. *resource* tells the name of the service. Raises ConfigurationError for a
    choice that does not exist.
    """
    with _Process.lock:
        known = _Process.metrics
        said, origin = _said(wanted)
        if not said and wanted is None and _Process.given is None and known is not None:
            said, origin = known.wanted, "metrics"  # nobody says anything else
        if resource is None:
            resource = known._resource if known is not None else Resource.create()  # noqa: SLF001 the same module
        choice = _choice(said, origin, resource)
        if choice is None:
            if known is not None:
                known.shutdown()
            found = None
        elif known is not None and known._choice.is_the_same_as(choice):  # noqa: SLF001 the same module
            known.board.limit = settings().metrics_series
            found = known
        else:
            found = _Process.metrics = _started(choice, resource, known)
        if wanted is not None:
            _Process.given = said
        return found


def _said(wanted: str | CollectorRegistry | None) -> tuple[str | CollectorRegistry, str]:
    """Return the choice in force, and who made it."""
    if wanted is not None:
        return wanted, "metrics"
    if _Process.given is not None:
        return _Process.given, "metrics"
    origin = settings().origin("metrics")
    return settings().metrics, origin if origin.isidentifier() and origin.isupper() else "metrics"


def in_use() -> Metrics | None:
    """Return the metrics of this process, if there are any."""
    return _Process.metrics


def asgi_app() -> Callable[..., Any]:
    """Return an ASGI application that shows the metrics; without a choice yet, they are only counted.

    It shows what is in use at each request: it may be mounted before ``configure()``.
    """
    _count()
    return make_asgi_app(_InUse())


def wsgi_app() -> Callable[..., Any]:
    """Return a WSGI application that does as ``asgi_app``."""
    _count()
    return make_wsgi_app(_InUse())


def _count() -> None:
    if _Process.metrics is None and use() is None:
        given = _Process.given
        use(CollectorRegistry())
        _Process.given = given


class _InUse(CollectorRegistry):
    """Shows the metrics that are in use at the moment."""

    def collect(self) -> "Iterable[Family]":
        """Return every metric of this moment."""
        found = _Process.metrics
        return () if found is None else found.registry.collect()

    def restricted_registry(self, names: Iterable[str]) -> Any:
        """Return a registry that shows *names* alone."""
        found = _Process.metrics
        return super().restricted_registry(names) if found is None else found.registry.restricted_registry(names)


class _Choice(NamedTuple):
    """Everything that the way out is made of."""

    wanted: str | CollectorRegistry
    origin: str
    make: "Callable[[_Parts], Way | None]"
    where: str
    made_of: object

    def is_the_same_as(self, other: "_Choice") -> bool:
        return (self.make, self.made_of) == (other.make, other.made_of)


# The ways out: each takes what it needs, checks what it was given, and returns itself.


class _Parts:
    """What a way out is made of."""

    def __init__(self, board: Board, where: str, resource: Resource) -> None:
        self.board = board
        self.where = where
        self.resource = resource
        self.service = _service(resource)
        self.registry = CollectorRegistry()
        self.collector: Collector = BoardCollector(self.board)


def _service(resource: Resource) -> str:
    return str(resource.attributes.get(SERVICE_NAME, "unknown_service"))


def _no_way(parts: _Parts) -> None:
    """Somebody has the registry and shows it."""


def _pull(parts: _Parts) -> Way:
    from otelflow.metrics._outputs.pull import Pull  # noqa: PLC0415 only the way that is chosen

    return Pull(parts.registry, parts.where, _certificate())


def _certificate() -> Any:
    from otelflow.metrics._outputs.pull import Certificate  # noqa: PLC0415 only the way that is chosen

    chosen = settings()
    return Certificate(chosen.metrics_certificate, chosen.metrics_key, chosen.metrics_client_ca)


def _multiprocess(parts: _Parts) -> Way:
    from otelflow.metrics._outputs.multiprocess import Multiprocess  # noqa: PLC0415 only the way that is chosen

    way = Multiprocess(parts.board)
    parts.collector = way.collector()
    return way


def _push(parts: _Parts) -> Way:
    from otelflow.metrics._outputs.push import Push  # noqa: PLC0415 only the way that is chosen

    return Push(parts.board, parts.where, parts.service)


def _textfile(parts: _Parts) -> Way:
    from otelflow.metrics._outputs.textfile import Textfile  # noqa: PLC0415 only the way that is chosen

    return Textfile(parts.board, parts.where, parts.service)


def _otlp(parts: _Parts) -> Way:
    from otelflow.metrics._outputs.otlp import Otlp  # noqa: PLC0415 only the way that is chosen

    return Otlp(parts.board, parts.resource)


_WAYS: Final[dict[str, Callable[[_Parts], Way | None]]] = {
    "registry": _no_way,
    "pull": _pull,
    "multiprocess": _multiprocess,
    "push": _push,
    "textfile": _textfile,
    "otlp": _otlp,
}
_WITH_A_PLACE: Final = frozenset({"pull", "push", "textfile"})
_WITH_A_NAME: Final = frozenset({"push", "textfile"})


def _choice(wanted: str | CollectorRegistry, origin: str, resource: Resource) -> _Choice | None:
    """Return what makes the way out, and all that it is made of. Raises ConfigurationError."""
    if isinstance(wanted, CollectorRegistry):
        return _Choice(wanted, origin, _no_way, "", id(wanted))
    if not isinstance(wanted, str):
        raise ConfigurationError(f"metrics must be a text such as 'pull' or a CollectorRegistry, not {wanted!r:.60}")
    word, colon, where = (part.strip() for part in wanted.partition(":"))
    word = word.lower()
    if word in OFF and not where:
        return None
    if word not in _WAYS:
        raise ConfigurationError(f"{origin}={wanted:.60} is no way out for metrics{suggestion(word, ('off', *_WAYS))}")
    if colon and word not in _WITH_A_PLACE:
        raise ConfigurationError(f"{origin}={wanted:.60}: {word} takes no place after a colon")
    if word == "registry":
        return _Choice(REGISTRY, origin, _no_way, "", id(REGISTRY))
    if word == "otlp" and _is_switched_off():
        return None
    return _Choice(wanted, origin, _WAYS[word], where, _made_of(word, where, origin, resource))


def _made_of(word: str, where: str, origin: str, resource: Resource) -> object:
    if word == "pull":
        from otelflow.metrics._outputs.pull import place  # noqa: PLC0415 only the way that is chosen

        with _named(origin):
            return place(where), _certificate().state()
    if word in _WITH_A_NAME:
        return where, _service(resource)
    return resource if word == "otlp" else where


def _is_switched_off() -> bool:
    for variable, off in ((OTEL_SDK_DISABLED, "true"), (OTEL_METRICS_EXPORTER, "none")):
        if os.environ.get(variable, "").strip().lower() == off:
            losses.logger.info("metrics=otlp exports nothing: %s=%s", variable, off)
            return True
    return False


@contextlib.contextmanager
def _named(origin: str) -> Any:
    """Let an error name the variable that the choice came from."""
    try:
        yield
    except ConfigurationError as error:
        if origin == "metrics" or not str(error).startswith("metrics="):
            raise
        raise ConfigurationError(origin + str(error).removeprefix("metrics")) from None


def _started(choice: _Choice, resource: Resource, known: Metrics | None) -> Metrics:
    """Return the metrics with the way out that was chosen, in the place of those *known*, with the same numbers."""
    board = known.board if known is not None else Board(settings().metrics_series)
    board.limit = settings().metrics_series
    parts = _Parts(board, choice.where, resource)
    if isinstance(choice.wanted, CollectorRegistry):
        parts.registry = choice.wanted
    with _named(choice.origin):
        metrics = Metrics(parts, choice, choice.make(parts))
    try:
        parts.registry.register(parts.collector)
    except ValueError as error:
        raise ConfigurationError(
            f"metrics: this registry has a metric of that name already ({error}); take the other one out, or give "
            "otelflow a CollectorRegistry of its own"
        ) from None
    if choice.make in (_push, _textfile) and parts.service.startswith("unknown_service"):
        losses.warn_once(
            "metrics service",
            "The metrics of this job go by the name %r, and so do those of every other job without a name, which "
            "replaces them: set OTEL_SERVICE_NAME",
            parts.service,
        )
    if not _changed_over(known, metrics):
        assert known is not None  # noqa: S101 it stays
        parts.registry.unregister(parts.collector)
        return known
    observers.add_observer(board)
    return metrics


def _changed_over(known: Metrics | None, new: Metrics) -> bool:
    """Start the way of *new* and end that of *known*; return False if *known* serves on, as *new* cannot."""
    if known is None:
        _start(new)
        return True
    port = getattr(new.way, "port", None)
    is_in_the_way = port is None or (port != 0 and port == getattr(known.way, "port", None))
    if not is_in_the_way:
        if not _start(new):
            return False
        known._leave()  # noqa: SLF001 the same module
        return True
    if port is not None and known.way is not None:
        known.way.close()
        if not _start(new):
            return not _start(known)
    known._leave()  # noqa: SLF001 the same module
    if port is None:
        _start(new)
    return True


def _start(metrics: Metrics) -> bool:
    return metrics.way is None or metrics.way.start()
