"""The order in which a process ends: open runs first, then what delivers them."""

import atexit
import weakref
from collections.abc import Callable
from typing import Final, TypeVar

from otelflow._core.process.process import State

T = TypeVar("T")


class _Shutdown(State):
    """The engine's function that ends open runs: this room cannot import the engine."""

    end_runs: Callable[[], None] = staticmethod(lambda: None)

    def reset(self) -> None:
        """Keep it: the engine is the same one for the whole process."""


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

    Such a child leaves by ``os._exit``, which runs no exit function; its open runs are ended first.
    """
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
