"""Orders that a cluster has been handed can be withdrawn until they begin: each of its processes knows which have."""

import signal
import threading
from typing import Final

from otelflow._core.process import forks
from otelflow._core.process.process import State
from otelflow.runners import _worker

#: What comes back of an order that was withdrawn; no report is empty
WITHDRAWN: Final = b""
# More than a cluster has of one flow at a time, so the oldest have ended and been told of.
_MOST_NAMES: Final = 50_000


class _Orders(State):
    """The names of orders that have begun in this process, and of those that must not, the oldest first."""

    def __init__(self) -> None:
        self.lock: Final = forks.new_lock()
        super().__init__()

    def reset(self) -> None:
        """Know of none."""
        self.begun: dict[bytes, None] = {}
        self.withdrawn: dict[bytes, None] = {}


_orders: Final = _Orders()


def run_order(order: bytes, name: bytes) -> bytes:
    """Run *order*, known by its *name*, and return the report of it, unless it was withdrawn."""
    with _orders.lock:
        if name in _orders.withdrawn:
            return WITHDRAWN
        _remember(_orders.begun, name)
    return _worker.run_order(order)


def withdraw(names: list[bytes]) -> list[bytes]:
    """Let the orders of these *names* not begin here any more; return the names of those that have."""
    with _orders.lock:
        begun = [name for name in names if name in _orders.begun]
        for name in set(names).difference(begun):
            _remember(_orders.withdrawn, name)
    return begun


def _remember(names: dict[bytes, None], name: bytes) -> None:
    names[name] = None
    if len(names) > _MOST_NAMES:
        del names[next(iter(names))]


def run_order_to_its_end(order: bytes) -> bytes:
    """Run *order*; Ctrl-C, by which Ray withdraws an order, ends none that has begun."""
    if threading.current_thread() is not threading.main_thread():
        return _worker.run_order(order)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _worker.run_order(order)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
