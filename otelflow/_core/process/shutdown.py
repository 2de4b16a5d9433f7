"""The order in which a process ends: open runs first, then what delivers them, side by side in one time limit."""

import atexit
import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from otelflow._core.process import clock
from otelflow._core.process.process import State

T = TypeVar("T")


# What a worker gets at least, even when the others have used up the time.
_LEAST_SECONDS: Final = 0.1


if TYPE_CHECKING:  # making a protocol takes a hundredth of an import
    from types import ModuleType

    class Deliverer(Protocol):
        """Delivers on a thread of its own."""

        def deliver_soon(self) -> None:
            """Deliver what there is, if there is a thread; do not wait for it."""


class _Shutdown(State):
    """The engine's function that ends open runs (this package cannot import the engine), and what ends together.

    *waited* is how many seconds the end of the process, or of its telemetry, has waited for delivery; None before.
    *is_child_leaving*: a child delivers before it leaves without exit functions.
    """

    end_runs: Callable[[], None] = staticmethod(lambda: None)
    deliveries: "dict[int, tuple[weakref.ref[Any], Callable[[Any], object]]]"

    def __init__(self) -> None:
        self.deliverers: Final[weakref.WeakSet[Deliverer]] = weakref.WeakSet()
        self.deliveries = {}
        self.late_modules: Final[list[str]] = []
        self.is_end_registered = False  # so that it begins at the exit of the process
        super().__init__()

    def reset(self) -> None:
        """Wait for nothing; the engine and its deliverers are the same ones for the whole process."""
        self.waited: float | None = None
        self.is_child_leaving = False

    def begin_anew(self) -> None:
        """Have all the time again, also in the child of a process that was ending."""
        self.reset()
        util: Any = sys.modules.get("billiard.util")
        if util is not None:
            # It is called when the child is set up.
            util.register_after_fork(self, _Shutdown.deliver_before_billiard_ends)

    def deliver_before_billiard_ends(self) -> None:
        """Deliver before a process of billiard ends, in which this is called."""
        billiard: Any = sys.modules["billiard"]
        # Its exit functions are those of multiprocessing, which has ours. A worker of its pool, and of Celery, leaves
        # by os._exit() without them, and calls its on_exit before.
        worker: Any = getattr(billiard.current_process(), "_target", None)
        if hasattr(worker, "on_exit"):
            worker.on_exit = functools.partial(self.deliver_after, worker.on_exit)

    def deliver_after(self, on_exit: Callable[..., object] | None, *args: object) -> None:
        """Call *on_exit* as the pool would have, and deliver what it has left, too."""
        try:
            if on_exit is not None:
                on_exit(*args)
        finally:
            self.deliver()

    def deliver(self) -> None:
        """End what is open and deliver everything."""
        self.is_child_leaving = True
        end_open_runs()
        for reference, deliver in reversed(list(self.deliveries.values())):  # as exit functions are called
            owner = reference()
            if owner is not None:
                deliver(owner)


_shutdown: Final = _Shutdown()


def runs_end_with(end_runs: Callable[[], None]) -> None:
    """Let *end_runs* end the runs that are open when the process ends."""
    _shutdown.end_runs = end_runs


def is_too_late(error: Exception) -> bool:
    """Tell whether *error* is that of an import when the interpreter has begun to take itself apart."""
    return isinstance(error, ImportError) and sys.meta_path is None


def late_module(package: str, name: str) -> "ModuleType":
    """Import the module *name* of *package*, whose ``__getattr__`` this is: from then on it is an attribute of that.

    Where a user's call needs it, an import statement would not do: in a ``__del__`` that the end of the interpreter
    calls, those fail also for what is imported already.
    """
    if name.startswith("__"):
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        import importlib  # noqa: PLC0415 not at an import of otelflow

        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{package}.{name}":
            raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
    except ImportError as error:
        if not is_too_late(error):
            raise
        raise ImportError(
            f"{package}.{name} cannot be imported any more, because Python has ended: do it earlier, at the latest in "
            "a function that is registered with atexit"
        ) from None


def load_before_end(name: str) -> None:
    """Import the module *name* when a process ends that had runs: one in a ``__del__`` may be the first to need it."""
    _shutdown.late_modules.append(name)


def _load_late_modules() -> None:
    import importlib  # noqa: PLC0415 not at an import of otelflow

    for name in _shutdown.late_modules:
        with suppress(ImportError):  # of a folder that has been removed, say
            importlib.import_module(name)


def end_open_runs() -> None:
    """End each run that is still open: it will not get any further."""
    _shutdown.end_runs()


def end_open_runs_at_exit() -> None:
    """End open runs at exit, before whatever has registered an exit function until now.

    Exit functions are called in reverse order: this is to be called again when the tracer provider is another one.
    """
    for function in (end_open_runs, _load_late_modules):
        atexit.unregister(function)
        atexit.register(function)


def deliver_together(deliverer: "Deliverer") -> None:
    """Let *deliverer* begin with its last delivery when the first of them ends, and have one time limit with them."""
    _shutdown.deliverers.add(deliverer)


def begin_end() -> None:
    """Let everything begin to deliver that will end soon: a collector that hangs is then waited for once."""
    if _shutdown.waited is None:
        _shutdown.waited = 0.0
    deliverers = list(_shutdown.deliverers)
    if len(deliverers) > 1:
        for deliverer in deliverers:
            deliverer.deliver_soon()


def begin_end_at_exit(*, is_moved: bool = True) -> None:
    """Call ``begin_end()`` at exit, before whatever has registered an exit function until now.

    Unless *is_moved*, a place that it has among them already stays as it is.
    """
    if is_moved or not _shutdown.is_end_registered:
        _shutdown.is_end_registered = True
        atexit.unregister(begin_end)
        atexit.register(begin_end)


@contextmanager
def end_together() -> Iterator[None]:
    """Let what ends inside have one time limit; the program goes on afterwards."""
    is_process_ending = _shutdown.waited is not None
    begin_end()
    try:
        yield
    finally:
        if not is_process_ending:
            _shutdown.waited = None


def is_ending() -> bool:
    """Tell whether the process, or its telemetry, is about to end."""
    return _shutdown.waited is not None


def is_child_leaving() -> bool:
    """Tell whether this is a child that leaves, in which each owner of ``deliver_before_child_ends()`` delivers now."""
    return _shutdown.is_child_leaving


def seconds_left(timeout: float, least: float = _LEAST_SECONDS) -> float:
    """Return *timeout* without the seconds that the end has waited for others; never less than a moment."""
    return timeout if _shutdown.waited is None else max(timeout - _shutdown.waited, least)


@contextmanager
def waiting() -> Iterator[None]:
    """Count the time inside as time that the end has waited."""
    began = clock.monotonic()
    try:
        yield
    finally:
        if _shutdown.waited is not None:
            _shutdown.waited += clock.monotonic() - began


def deliver_before_child_ends(owner: T, deliver: Callable[[T], object]) -> None:
    """Call *deliver* with *owner*, as long as it lives, before a child of ``multiprocessing`` ends, now or later.

    Such a child leaves by ``os._exit``, which runs no exit function before Python 3.13; its open runs are ended first.
    So does a child of billiard, the copy of ``multiprocessing`` with which Celery works.
    """
    key = id(owner)
    deliveries = _shutdown.deliveries  # an owner may go when the interpreter has emptied this module
    deliveries[key] = weakref.ref(owner, lambda _: deliveries.pop(key, None)), deliver
    import multiprocessing  # noqa: PLC0415 some milliseconds, only for programs that deliver something
    from multiprocessing import util  # noqa: PLC0415

    def register(owner: T) -> None:
        # With the owner as its object it would be called when that goes, too: in the middle of the program.
        reference = weakref.ref(owner, lambda _: ending.cancel())
        ending = util.Finalize(None, at_exit, args=(reference,), exitpriority=0)

    def at_exit(reference: "weakref.ref[T]") -> None:
        _shutdown.is_child_leaving = True
        end_open_runs()
        begin_end()
        owner = reference()
        if owner is not None:
            deliver(owner)

    util.register_after_fork(owner, register)
    if multiprocessing.parent_process() is not None:
        register(owner)
    billiard: Any = sys.modules.get("billiard")
    if "billiard.util" in sys.modules and getattr(billiard.current_process(), "_parent_pid", None):
        _shutdown.deliver_before_billiard_ends()


def end_signals() -> list[int]:
    """Return the signals, besides Ctrl-C, that end a program: also a closed terminal, unless ``nohup`` ignores it."""
    import signal  # noqa: PLC0415 only for programs that handle signals

    signals: list[int] = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not on Windows
        signals.append(signal.SIGHUP)
    return signals
