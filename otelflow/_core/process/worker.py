"""Bring numbers out on a thread of its own, so that no run waits for a network or a disk."""

import atexit
import threading
import time
from collections.abc import Callable

from opentelemetry import context as otel_context

# The name is private for want of a better place (says its comment); every exporter and instrumentation uses it.
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otelflow._core.process import forks, losses, shutdown

#: How long the end of a process may be kept up
FAREWELL_SECONDS = 5.0


class Courier:
    """Calls *deliver* when woken, every *interval* seconds if given, and a last time at exit when there is news.

    *deliver* gets the moment (``time.monotonic()``) by which it must be done, and raises if nothing arrived; that is
    counted, and said once. Of several wakes while it works, one more delivery comes. There is news after a wake, and
    when *count* has another value than at the last delivery. A forked child begins anew.
    """

    def __init__(
        self,
        deliver: Callable[[float], None],
        what: str,
        *,
        interval: float | None = None,
        count: Callable[[], int] = int,
    ) -> None:
        self._deliver = deliver
        self._what = what
        self._interval = interval
        self._count = count
        self._begin()
        atexit.register(self._close_at_exit)
        forks.begin_anew(self, Courier._begin_in_child)
        shutdown.deliver_before_child_ends(self, Courier.close)

    def _begin(self) -> None:
        self._changed = threading.Condition(forks.new_lock())
        self._thread: threading.Thread | None = None
        self._wanted = 0
        self._done = 0
        self._arrived = True
        self._is_closed = False
        self._deadline = float("inf")
        self._delivered = 0

    def _begin_in_child(self) -> None:
        was_closed = self._is_closed
        self._begin()
        self._is_closed = was_closed

    def start(self) -> None:
        """Deliver soon and in each interval from now on; nothing, if that is so already."""
        if self._thread is None:
            self.wake()

    def wake(self) -> None:
        """Deliver soon."""
        with self._changed:
            self._wanted += 1
            if self._thread is None and not self._is_closed:
                self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="otelflow-metrics", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down; close() delivers
            self._thread = None

    def flush(self, timeout: float) -> bool:
        """Deliver now and wait for it, at most *timeout* seconds; return whether it arrived."""
        with self._changed:
            self.wake()
            wanted = self._wanted
            in_time = self._changed.wait_for(lambda: self._done >= wanted, timeout)
            return in_time and self._arrived

    def close(self) -> None:
        """Deliver a last time if there is news, within a bounded time."""
        atexit.unregister(self._close_at_exit)
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._deadline = time.monotonic() + FAREWELL_SECONDS
            thread = self._thread
            self._changed.notify_all()
        if thread is None:
            self._last_delivery()
            return
        thread.join(FAREWELL_SECONDS + 0.5)
        if thread.is_alive():
            self._lost("had no time left to arrive", None)

    def _close_at_exit(self) -> None:
        shutdown.end_open_runs()  # what the exit cuts short is counted before the last delivery
        self.close()

    def _last_delivery(self) -> None:
        is_wanted = self._wanted > self._done or self._interval is not None or not self._arrived
        if is_wanted or self._count() != self._delivered:
            self._try()

    # On the courier's thread

    def _work(self) -> None:
        is_closed = False
        while not is_closed:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._wanted > self._done, self._interval)
                is_closed, wanted = self._is_closed, self._wanted
            if is_closed:
                self._last_delivery()
            else:
                self._try()
            with self._changed:
                self._done = wanted
                self._changed.notify_all()

    def _try(self) -> None:
        deadline = min(self._deadline, time.monotonic() + FAREWELL_SECONDS)
        count = self._count()
        token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            self._deliver(deadline)
        except Exception as error:  # noqa: BLE001 a network, a disk or an exporter must not end this thread
            self._arrived = False
            self._lost("did not arrive", error)
        else:
            self._arrived = True
            self._delivered = count
        finally:
            otel_context.detach(token)

    def _lost(self, how: str, error: Exception | None) -> None:
        losses.lost("metrics", "export_failed")
        reason = f" ({type(error).__name__}: {error})" if error is not None else ""
        losses.warn_once(f"metrics {self._what}", "Metrics %s %s%s; the flow goes on", self._what, how, reason)
