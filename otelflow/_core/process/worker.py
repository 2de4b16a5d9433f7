"""Work on a thread of its own, so that no run waits for a network or a disk."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import context as otel_context

# The name is private for want of a better place (says its comment); every exporter and instrumentation uses it.
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otelflow._core.process import clock, forks, losses, shutdown
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError

#: How long the end of a process may be kept up, unless the user says otherwise
SHUTDOWN_SECONDS: Final = 4.5
#: The longest wait, three years: the system refuses much longer ones, which a variable may name
LONGEST_SECONDS: Final = 1e8
# How long a worker does nothing after an exception: what is due then is due for ever.
_PAUSE_SECONDS: Final = 1.0
# A piece of work that ends in time may take a moment to say so.
_JOIN_SECONDS: Final = 0.3


def checked_wait(owner: str, length: Any, unit: str) -> float:
    """Return *length*, for which *owner* is to wait at most, as one that the system takes. Raises ConfigurationError.

    *unit* is what it counts, seconds or milliseconds. Who is beyond a deadline already has less than none.
    """
    if isinstance(length, bool) or not isinstance(length, int | float) or not length < math.inf:
        raise ConfigurationError(f"{owner} waits for a number of {unit}, not {brief_repr(length, 60)}")
    return max(0.0, float(min(length, LONGEST_SECONDS)))


class Worker:
    """Calls *work* on a daemon thread: after ``wake()``, when *is_due*, every *interval* seconds, and at the end.

    *work* does one piece, and returns whether more may be left: after ``wake()`` or ``close()`` it is
    called again until it returns False. *interval* is in seconds (None: only when woken or due), *shutdown_timeout* is
    how many seconds ``close()`` takes at most. A forked child begins anew, without a thread. ``lock`` is that of
    whatever the worker and its owner share, and ``changed`` its condition. To be taken is the lock: the condition's way
    to it is a function of Python, in which Ctrl-C may come when it is taken, and then it would never be released.
    """

    def __init__(
        self,
        work: Callable[[], bool],
        *,
        interval: float | None = None,
        is_due: Callable[[], bool] = bool,
        shutdown_timeout: float = SHUTDOWN_SECONDS,
    ) -> None:
        self._work = work
        self._interval = None if interval is None else min(interval, LONGEST_SECONDS)
        self._is_due = is_due
        self.shutdown_timeout = min(shutdown_timeout, LONGEST_SECONDS)
        self.is_closed = False
        self.begin_anew()
        forks.begin_anew(self, type(self).begin_anew)
        shutdown.deliver_together(self)

    def begin_anew(self) -> None:
        """Have no thread, and nothing to answer; a forked child begins so, too."""
        self.lock = forks.new_lock()
        self.changed = threading.Condition(self.lock)
        self.thread: threading.Thread | None = None
        self.deadline = float("inf")  # of the shutdown, on clock.monotonic()
        self._wakes = 0
        self._answered_wakes = 0
        self._has_ended = False  # no thread answers a wake any more

    @property
    def is_behind(self) -> bool:
        """Whether a wake has not been answered yet."""
        return self._answered_wakes < self._wakes

    def start_thread(self) -> bool:
        """Have a thread from now on, unless the worker is closed; tell whether there is one. Not to be called locked.

        A thread that starts lets others come in between, where threads are greenlets: those would share the lock.
        """
        with self.lock:
            if self.thread is not None or self.is_closed:
                return self.thread is not None
            thread = self.thread = threading.Thread(target=self._run, name="otelflow-worker", daemon=True)
        # Not earlier: of a program that OpenTelemetry sets up, all providers and their exit functions are there by now.
        shutdown.begin_end_at_exit(is_moved=False)
        try:
            thread.start()
        except RuntimeError:  # there is none to be had, or the interpreter is shutting down: the owner works itself
            with self.lock:
                self.thread = None
                self.changed.notify_all()
            return False
        return True

    def wake(self) -> None:
        """Let the thread, if there is one, work until nothing is left; of several wakes meanwhile, once more."""
        with self.lock:
            self._wakes += 1
            self.changed.notify_all()

    def deliver_soon(self) -> None:
        """Work until nothing is left, if there is a thread."""
        if self.thread is not None and not self.is_closed:
            self.wake()

    def flush(self, timeout: float) -> bool:
        """Wake it and wait until nothing is left, at most *timeout* seconds; return whether that was in time."""
        with self.lock:
            self.wake()
            wakes = self._wakes
            return self.changed.wait_for(
                lambda: self._answered_wakes >= wakes or self._has_ended, min(timeout, LONGEST_SECONDS)
            )

    def close(self) -> bool:
        """Work until nothing is left, within the shutdown timeout; return whether that was in time.

        Of that timeout the others that end together with this one may have used up a part.
        """
        with self.lock:
            if self.is_closed:
                return True
            self.is_closed = True
            self.deadline = clock.monotonic() + shutdown.seconds_left(self.shutdown_timeout)
            thread = self.thread
            self.changed.notify_all()
        # A program that is ending gets no new thread: what came late is done on this one. The same when the worker
        # closes itself, or is closed before its thread has started.
        with shutdown.waiting():
            if thread is None or thread is threading.current_thread() or thread.ident is None:
                while self._is_more_left():
                    pass
                self._has_ended = True
                return True
            seconds = shutdown.seconds_left(self.shutdown_timeout + _JOIN_SECONDS)
            if self.lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 as Condition does
                # A signal handler closes it while this thread holds the lock, without which its thread cannot end.
                self.changed.wait_for(lambda: self._has_ended, seconds)
                seconds = _JOIN_SECONDS if self._has_ended else 0.0
            thread.join(seconds)
        return not thread.is_alive()

    def close_soon(self) -> None:
        """Let its thread end after the piece of work that is on its way, and wait for nothing."""
        with self.lock:
            self.is_closed = True
            self.changed.notify_all()

    def work_here(self, deadline: float) -> bool:
        """Work on this thread, as there is no other to be had, until *deadline*; tell whether nothing is left."""
        while self._work():
            if clock.monotonic() > deadline:
                return False
        return True

    # On the worker's thread

    def _is_more_left(self) -> bool:
        """Work, and tell whether more may be left; after an exception, not before a pause."""
        try:
            return self._work()
        except Exception as error:  # noqa: BLE001 without its thread, nothing would be delivered any more
            losses.warn_once(f"worker {type(error)}", "What works in the background raised; it goes on", error=error)
        with self.lock:
            self.changed.wait_for(lambda: self.is_closed, _PAUSE_SECONDS)
        return False

    def _run(self) -> None:
        import signal  # noqa: PLC0415 only where something is delivered

        # A connection that an endpoint has closed is an error for who writes, and a signal, by which a program may end
        # that has set SIGPIPE as filters do. It comes to the writing thread. Where threads are greenlets, that is the
        # program's own, and stays as it is.
        if hasattr(signal, "pthread_sigmask") and threading.get_native_id() != threading.main_thread().native_id:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        while True:
            with self.lock:
                self.changed.wait_for(lambda: self.is_closed or self.is_behind or self._is_due(), self._interval)
                is_closed, wakes = self.is_closed, self._wakes
            is_done = not self._is_more_left()
            with self.lock:
                if is_done:
                    self._answered_wakes = wakes
                self._has_ended = is_done and is_closed
                self.changed.notify_all()
            if self._has_ended:
                return


@contextmanager
def uninstrumented() -> Iterator[None]:
    """Let no instrumentation make spans of what is sent inside: they would be sent, too, and so on for ever."""
    token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        otel_context.detach(token)
