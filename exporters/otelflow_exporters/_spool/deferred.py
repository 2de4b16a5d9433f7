"""Warnings and calls of a spool that come up while its lock is held, and are passed on when it is free."""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from otelflow._core.text.own_logger import log, own_logger

if TYPE_CHECKING:
    from _thread import RLock

_logger: Final = own_logger("otelflow_exporters.spool")


class DeferredCalls:
    """Warnings and calls that wait until their thread has let go of *lock*.

    A log handler may end a span: it would wait for the lock, and whoever logs with the lock held for the handler.
    """

    def __init__(self, lock: "RLock") -> None:
        self._lock = lock
        self._calls: deque[Callable[[], object]] = deque()

    def clear(self) -> None:
        """Tell nothing of what waits."""
        self._calls.clear()

    def add(self, call: Callable[..., object], *args: object) -> None:
        """Have *call*, which is foreign code, called with *args*."""
        self._calls.append(partial(call_logged, call, *args))

    def warn(self, message: str, *args: object, error: Exception | None = None) -> None:
        """Have a warning logged."""
        self._calls.append(partial(log, _logger, logging.WARNING, message, *args, error=error))

    @property
    def is_locked_here(self) -> bool:
        """Whether this thread holds the lock, as when a signal handler has come while it writes.

        Nobody else can send anything then, or do whatever else needs the lock, before this thread goes on.
        """
        is_owned: bool = self._lock._is_owned()  # type: ignore[attr-defined]  # noqa: SLF001 as Condition does
        return is_owned

    def tell(self) -> None:
        """Tell all that waits, unless this thread holds the lock: then it tells once it has let go."""
        while self._calls and not self.is_locked_here:
            try:
                call = self._calls.popleft()
            except IndexError:  # another thread has told the last one
                return
            call()


def call_logged(call: Callable[..., object], *args: object) -> None:
    """Call *call*, which is foreign code, with *args*; an exception of it is logged."""
    try:
        call(*args)
    except Exception as error:  # noqa: BLE001 the spool goes on, whatever becomes of what it tells
        log(_logger, logging.WARNING, "%s raised when it was told of a spool", call, error=error)
