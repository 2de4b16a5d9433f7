"""What a future is locked by, and what waits for it waits with."""

import _thread
import threading
from typing import Any


class Condition(_thread.RLock):  # type: ignore[misc]  # only its types say that it is final
    """What ``threading.Condition()`` is to a future, with a tenth of the memory while nobody waits.

    It is the lock itself, which ``with`` takes in C: Ctrl-C comes before or after that, and leaves it to nobody.
    """

    __slots__ = ("_waiting", "call")

    def __init__(self) -> None:
        #: The call behind the future until it is done
        self.call: Any = None
        self._waiting: threading.Condition | None = None

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """Do as a lock: ``wait`` and ``as_completed`` of the standard library call it, which wait then."""
        if self.call is not None:
            self.call.help_beside()
        return super().acquire(*args, **kwargs)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the future is done; it is called with the lock."""
        if self._waiting is None:
            self._waiting = threading.Condition(self)
        return self._waiting.wait(timeout)

    def notify_all(self) -> None:
        """Wake who waits."""
        if self._waiting is not None:
            self._waiting.notify_all()
