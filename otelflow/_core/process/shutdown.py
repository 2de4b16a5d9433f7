"""The order in which a process ends: open runs first, then what delivers them."""

import atexit
import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

from otelflow._core.process.process import State

T = TypeVar("T")


class _Shutdown(State):
    """The engine's function that ends open runs, as this room cannot import the engine, and what delivers them."""

    end_runs: Callable[[], None] = staticmethod(lambda: None)
    deliveries: "dict[int, tuple[weakref.ref[Any], Callable[[Any], object]]]"

    def __init__(self) -> None:
        self.deliveries = {}
        super().__init__()

    def reset(self) -> None:
        """Keep them: the engine is the same one for the whole process, and what delivers lives as long as its owner."""

    def begin_anew(self) -> None:
        """Deliver before this child ends, if it is one of billiard's: Celery loads that when it pleases."""
        util: Any = sys.modules.get("billiard.util")
        if util is not None:
            util.register_after_fork(
                self, _Shutdown.deliver_before_billiard_ends
            )  # which runs when the child is set up

    def deliver_before_billiard_ends(self) -> None:
        """Deliver before a process of billiard ends, in which this is called."""
        billiard: Any = sys.modules["billiard"]
        if not billiard.util.Finalize.__module__.startswith("multiprocessing"):  # else it runs what that has, too
            billiard.util.Finalize(self, self.deliver, exitpriority=0)
        # A worker of its pool, and of Celery, leaves by os._exit() without that; what it calls before is an attribute.
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
        end_open_runs()
        for reference, deliver in list(self.deliveries.values()):
            owner = reference()
            if owner is not None:
                deliver(owner)


_shutdown: Final = _Shutdown()


def runs_end_with(end_runs: Callable[[], None]) -> None:
    """Let *end_runs* end the runs that are open when the process ends."""
    _shutdown.end_runs = end_runs


def end_open_runs() -> None:
    """End each run that is still open: it will not get any further."""
    _shutdown.end_runs()


def end_open_runs_at_exit() -> None:
    """End open runs at exit, before whatever has registered an exit function until now.

    Exit functions are called in reverse order: this is to be called again when the tracer provider is another one.
    """
    atexit.unregister(end_open_runs)
    atexit.register(end_open_runs)


def deliver_before_child_ends(owner: T, deliver: Callable[[T], object]) -> None:
    """Call *deliver* with *owner*, as long as it lives, before a child of ``multiprocessing`` ends, now or later.

    Such a child leaves by ``os._exit``, which runs no exit function; its open runs are ended first. So does a child of
    billiard, the copy of ``multiprocessing`` with which Celery works.
    """
    key = id(owner)
    _shutdown.deliveries[key] = weakref.ref(owner, lambda _: _shutdown.deliveries.pop(key, None)), deliver
    import multiprocessing  # noqa: PLC0415 some milliseconds, only for programs that deliver something
    from multiprocessing import util  # noqa: PLC0415

    def register(owner: T) -> None:
        util.Finalize(owner, at_exit, args=(weakref.ref(owner),), exitpriority=0)

    def at_exit(reference: "weakref.ref[T]") -> None:
        end_open_runs()
        owner = reference()
        if owner is not None:
            deliver(owner)

    util.register_after_fork(owner, register)
    if multiprocessing.parent_process() is not None:
        register(owner)
    billiard: Any = sys.modules.get("billiard")
    if "billiard.util" in sys.modules and getattr(billiard.current_process(), "_parent_pid", None):
        _shutdown.deliver_before_billiard_ends()
