"""The order in which a process ends: open runs first, then what delivers them."""

import atexit
import weakref
from collections.abc import Callable
from typing import TypeVar

from otelflow._core.process.process import State

T = TypeVar("T")


class _Shutdown(State):
    """Who ends open runs: the engine, which this room cannot import."""

    end_runs: Callable[[], None] = staticmethod(lambda: None)

    def reset(self) -> None:
        """Keep it: the engine is the same one for the whole process."""


_shutdown = _Shutdown()


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


def deliver_before_child_ends(owner: T, deliver: Callable[[T], None]) -> None:
    """Call *deliver* before a child of ``multiprocessing`` ends, this one or a later one.

    Such a child leaves by ``os._exit``, which runs no exit function; its open runs are ended first.
    """
    import multiprocessing  # noqa: PLC0415 some milliseconds, only for who delivers something
    from multiprocessing import util  # noqa: PLC0415

    def promise(alive: T) -> None:
        util.Finalize(alive, last_words, args=(weakref.ref(alive),), exitpriority=0)

    def last_words(reference: "weakref.ref[T]") -> None:
        end_open_runs()
        alive = reference()
        if alive is not None:
            deliver(alive)

    util.register_after_fork(owner, promise)
    if multiprocessing.parent_process() is not None:
        promise(owner)
