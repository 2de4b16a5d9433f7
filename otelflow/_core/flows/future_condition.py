"""The condition of a future: its lock, with which threads wait for it."""

import _thread
import threading
from typing import Any


class Condition(_thread.RLock):  # type: ignore[misc]  # only its types say that it is final
    """What ``threading.Condition()`` is to a future, with a tenth of the memory while nobody waits.

    It is the lock itself, which ``with`` takes in C: Ctrl-C comes before or after that, and leaves it to nobody.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: threading.Condition | None = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the future is done; it is called with the lock."""
        if self._waiting is None:
            self._waiting = threading.Condition(self)
        return self._waiting.wait(timeout)

    def notify_all(self) -> None:
        """Wake who waits."""
        if self._waiting is not None:
            self._waiting.notify_all()

    def give_back(self) -> None:
        """Release what Ctrl-C has left to this thread, in ``wait`` of the standard library, which locks many in turn.

        Nothing of ours has the lock where this is called.
        """
        while self._is_owned():  # type: ignore[attr-defined]  # of every RLock; threading.Condition calls it, too
            self.release()


class Waiters(list[Any]):
    """Those that wait for a future by ``wait`` and ``as_completed`` of the standard library."""

    __slots__ = ("call",)

    def __init__(self) -> None:
        #: The call behind the future until it is done
        self.call: Any = None

    def append(self, waiter: Any) -> None:
        """Add *waiter*, whose thread may be the one that would run the call."""
        if self.call is not None:
            self.call.help_in_thread()
        super().append(waiter)
