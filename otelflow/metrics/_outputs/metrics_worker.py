"""Bring numbers out on a thread of its own, so that no run waits for a network or a disk."""

import atexit
from collections.abc import Callable

from otelflow._core.process import clock, losses, shutdown
from otelflow._core.process.ledger import Account, Tally
from otelflow._core.process.worker import SHUTDOWN_SECONDS, Worker, uninstrumented
from otelflow._core.text.safe_str import error_text


class Refusal(ConnectionError):
    """The receiver answered, and did not take everything: asking it once more is no wait."""


class MetricsWorker(Worker):
    """Calls *deliver* when woken, every *interval* seconds if given, and a last time at exit when there is news.

    *deliver* gets the moment (``clock.monotonic()``) by which it must be done, and raises if nothing arrived; that is
    counted, and said once of each *target*, such as "for the Pushgateway …". There is news after a wake, and when
    *count* has another value than at the last delivery.
    """

    def __init__(
        self,
        deliver: Callable[[float], None],
        target: str,
        *,
        interval: float | None = None,
        count: Callable[[], int] = int,
    ) -> None:
        self._deliver = deliver
        self._target = target
        self._is_periodic = interval is not None
        self.is_discarding = False  # what is left is not delivered any more
        self._count = count
        super().__init__(self._deliver_news, interval=interval)
        atexit.register(self._close_at_exit)
        shutdown.begin_end_at_exit()
        shutdown.deliver_before_child_ends(self, MetricsWorker.close)

    def begin_anew(self) -> None:
        """Have no thread, and nothing to deliver."""
        super().begin_anew()
        self._has_arrived = True
        self._delivered_count = 0
        self._tally = Tally()
        self._is_delivering = False
        self._has_failed_at_end = False

    def account_of(self, output: object) -> Account:
        """Return what has become of the deliveries of *output*."""
        with self.lock:
            return self._tally.account("metrics", output)

    def start(self) -> None:
        """Deliver soon and in each interval from now on; nothing, if that is so already."""
        if self.thread is None:
            self.wake()

    def wake(self) -> None:
        """Deliver soon."""
        with self.lock:
            super().wake()
            self.start_thread()

    def deliver_soon(self) -> None:
        """Deliver, if there is a thread and anything new."""
        if self._count() != self._delivered_count or self._is_periodic:
            super().deliver_soon()

    def flush(self, timeout: float) -> bool:
        """Deliver now and wait for it, at most *timeout* seconds; return whether it arrived."""
        return super().flush(timeout) and self._has_arrived

    def close(self) -> bool:
        """Deliver a last time if there is news, within a bounded time; return whether there was time enough."""
        atexit.unregister(self._close_at_exit)
        is_in_time = super().close()
        if not is_in_time:
            with self.lock:
                if not self._is_delivering:  # it has not even come to that
                    self._tally.total += 1
                self._is_delivering = True
            self._end_delivery(has_arrived=False)
            self._record_loss("had no time left to arrive")
        return is_in_time

    def _close_at_exit(self) -> None:
        shutdown.end_open_runs()  # what the exit cuts short is counted before the last delivery
        self.close()

    def _deliver_news(self) -> bool:
        count = self._count()
        has_news = self.is_behind or not self._has_arrived or count != self._delivered_count
        if self.is_discarding or (self.is_closed and not has_news and not self._is_periodic):
            return False
        if self._has_failed_at_end and shutdown.is_ending():  # what just did not answer is not waited for again
            return False
        with self.lock:
            self._tally.total += 1
            self._is_delivering = True
        try:
            with uninstrumented():
                self._deliver(min(self.deadline, clock.monotonic() + SHUTDOWN_SECONDS))
        except Exception as error:  # noqa: BLE001 a network, a disk or an exporter must not end this thread
            self._has_arrived = False
            self._has_failed_at_end = shutdown.is_ending() and not isinstance(error, Refusal)
            if self._end_delivery(has_arrived=False):
                self._record_loss(f"did not arrive ({error_text(type(error).__name__, str(error))})")
        else:
            self._has_arrived = True
            self._delivered_count = count
            self._end_delivery(has_arrived=True)
        return False

    def _end_delivery(self, *, has_arrived: bool) -> bool:
        """Write down how the delivery ended; False if ``close()`` has counted it as lost already."""
        with self.lock:
            if not self._is_delivering:
                return False
            self._is_delivering = False
            self._tally.delivered += has_arrived
            if not has_arrived:
                self._tally.dropped["export_failed"] += 1
            return True

    def _record_loss(self, reason: str) -> None:
        message = "Metrics %s %s; the flow goes on"
        losses.record("metrics", "export_failed", message, self._target, reason, key=self._target)
