"""Handlers of signals that hold for a while, and in this process alone."""

import contextlib
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final

from otelflow._core.process import process

_SECONDS_OF_A_FORK: Final = 0.01


class OwnHandlers:
    """Has *handler* called for the signals *numbers* until ``give_back()``. Make it on the main thread.

    A child that is forked meanwhile has the handlers of before, unless they *are_inherited*: whoever ends it, as
    ``Pool.terminate()`` does with SIGTERM, waits until it is gone.
    """

    def __init__(
        self, numbers: Iterable[int], handler: Callable[[int, FrameType | None], None], *, are_inherited: bool = False
    ) -> None:
        self._handler = handler
        self._before: dict[int, Any] = {}
        if not are_inherited:
            _own.handlers.add(self)
        for number in numbers:
            self._before[number] = signal.getsignal(number)
            signal.signal(number, self._handle)

    @property
    def numbers(self) -> set[int]:
        """The signals for which it was made."""
        return set(self._before)

    def give_back(self) -> None:
        """Put the handlers of before in the place of this one, unless another has taken it meanwhile."""
        _own.handlers.discard(self)
        for number, before in self._before.items():
            # One in C Python cannot put back, and none on another thread than the main one.
            with contextlib.suppress(TypeError, ValueError):
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if _fork.is_under_way:  # what a handler raises in a hook of Python's is lost
            again = threading.Timer(_SECONDS_OF_A_FORK, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        else:
            self._handler(number, frame)


class _Fork(threading.local):
    """The fork that this thread is making, and its signals of before."""

    is_under_way = False
    mask: Iterable[int] = ()


class _Own(process.State):
    """The handlers that a child shall not have."""

    handlers: weakref.WeakSet[OwnHandlers]

    def reset(self) -> None:
        """Have none."""
        self.handlers = weakref.WeakSet()

    def begin_anew(self) -> None:
        """Be a child, which has none; its signals wait until this is done."""
        for handlers in list(self.handlers):
            handlers.give_back()


_own: Final = _Own()
_fork: Final = _Fork()


def _hold() -> None:
    """Let signals wait while the process forks: Python forgets those that reach a child before its first step."""
    if own := list(_own.handlers):
        _fork.is_under_way = True
        _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, set().union(*(handlers.numbers for handlers in own)))


def _release() -> None:
    if _fork.is_under_way:
        signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)
        _fork.is_under_way = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
