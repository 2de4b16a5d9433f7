"""What waits in memory, since there is no folder for it, or the disk is full: so many bytes, the oldest go first."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from otelflow._core.process import forks
from otelflow._core.text.safe_str import comes_from_outside
from otelflow_exporters._spool.batches import Item
from otelflow_exporters._spool.delivery import Delivery
from otelflow_exporters._spool.signals import SPANS, Signal
from otelflow_exporters._store.writer import SegmentWriter

if TYPE_CHECKING:
    from _thread import RLock

#: In bytes
LARGEST_MEMORY: Final = 16 * 1024 * 1024


class Memory:
    """Encoded items, in order; those that are on their way to the endpoint are still among them.

    *lock* is that of its owner, if that holds it while it changes what is here.
    """

    def __init__(self, signal: Signal = SPANS, lock: "RLock | None" = None) -> None:
        self._read = signal.read
        self._lock = lock or forks.new_lock()
        self._bodies: deque[bytes] = deque()
        self._size = 0
        self._in_flight: list[bytes] = []

    def __len__(self) -> int:
        return len(self._bodies) + len(self._in_flight)

    def add(self, body: bytes) -> int:
        """Keep *body*; return how many had to go."""
        surplus = 0
        with self._lock:
            self._bodies.append(body)
            self._size += len(body)
            while self._size > LARGEST_MEMORY and self._bodies:
                self._size -= len(self._bodies.popleft())
                surplus += 1
        return surplus

    def send(self, delivery: Delivery, count: int) -> int:
        """Send some of the oldest *count*; return how many have gone."""
        bodies = self.take(count)
        tried, is_done = delivery.send_records([self._read(body, 0) or Item(0, [], 1) for body in bodies])
        return self.give_back(bodies, tried, is_done=is_done)

    def take(self, count: int) -> list[bytes]:
        """Return the oldest *count*, which are on their way from now on."""
        with self._lock:
            self._in_flight = [self._bodies.popleft() for _ in range(min(len(self._bodies), count))]
            return self._in_flight

    def give_back(self, bodies: list[bytes], tried: int, *, is_done: bool) -> int:
        """Keep *bodies*, but for so many of them that were *tried* if that *is_done*: return how many have gone.

        What was tried in vain is taken after the others. Nothing has gone that was given up meanwhile.
        """
        with self._lock:
            if self._in_flight is not bodies:
                return 0
            self._in_flight = []
            self._bodies.extendleft(reversed(bodies[tried:]))
            if not is_done:
                self._bodies.extend(bodies[:tried])
                return 0
            self._size -= sum(map(len, bodies[:tried]))
            return tried

    def take_back(self) -> None:
        """Keep what is on its way as if it had not been taken: whether it arrives, nobody will hear."""
        with self._lock:
            self._bodies.extendleft(reversed(self._in_flight))
            self._in_flight = []

    def move_first(self, write: Callable[[bytes], object], writer: SegmentWriter) -> bool:
        """Give the oldest to *write*, and keep it no more once *writer* has it, also if *write* raises.

        Return False if nothing is here that could be moved, or there is no room for it.
        """
        with self._lock:
            spans = writer.spans
            if not self._bodies:
                return False
            try:
                write(self._bodies[0])
            except OSError as error:
                if comes_from_outside(error):
                    raise
                return False
            finally:
                if writer.spans > spans:
                    self._size -= len(self._bodies.popleft())
            return True

    def give_up(self) -> int:
        """Keep nothing any more; return how many that were."""
        with self._lock:
            count = len(self)
            self._bodies.clear()
            self._in_flight = []
            self._size = 0
            return count
