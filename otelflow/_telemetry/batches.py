"""Deliver what has ended to an exporter, whole: wait for a slow one, give up on a dead one, count what is lost.

A plain thread waits for room. A thread with an event loop drops what has none, since all its tasks would stop.

The SDK's batch processor drops the spans of a busy program without a word, and its ``force_flush`` and ``shutdown``
know no time limit. This one has the same queue, batches and ``OTEL_BSP_*`` variables.
"""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple, Self

from opentelemetry.sdk.environment_variables import (
    OTEL_BLRP_EXPORT_TIMEOUT,
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BLRP_MAX_QUEUE_SIZE,
    OTEL_BLRP_SCHEDULE_DELAY,
    OTEL_BSP_EXPORT_TIMEOUT,
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from otelflow._core.process import clock, forks, losses, shutdown
from otelflow._core.process.asyncio_loop import running_loop
from otelflow._core.process.environment import positive_integer
from otelflow._core.process.ledger import Account, Tally
from otelflow._core.process.worker import LONGEST_SECONDS, SHUTDOWN_SECONDS, Worker, uninstrumented
from otelflow._core.text.redaction import recorded
from otelflow._telemetry.halving import Halving
from otelflow_exporters._otlp.endpoint import CURE, ExportStatus, is_otlp, new_exporter

# How long a program waits for room in the queue while the exporter works, before it loses the oldest item.
_ROOM_SECONDS: Final = 2.0
# What an exporter raises for an item that cannot be written as bytes, and will never be
_ENCODING_ERRORS: Final = (ValueError, TypeError, OverflowError, AttributeError)
_NAME_LENGTH: Final = 100
# How long a program that cannot have a thread leaves an exporter alone that has failed.
_RETRY_SECONDS: Final = 5.0


class QueueOptions(NamedTuple):
    """The queue of one signal: its name in the counts of losses, the word for its items, and its variables."""

    name: str
    items: str
    delay: str
    queue: str
    batch: str
    shutdown_timeout: str


SPAN_QUEUE: Final = QueueOptions(
    "traces",
    "spans",
    OTEL_BSP_SCHEDULE_DELAY,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_EXPORT_TIMEOUT,
)
LOG_RECORD_QUEUE: Final = QueueOptions(
    "logs",
    "log records",
    OTEL_BLRP_SCHEDULE_DELAY,
    OTEL_BLRP_MAX_QUEUE_SIZE,
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BLRP_EXPORT_TIMEOUT,
)

_WARNINGS: Final = {
    "queue_full": "%(exporter)s is slower than the program and its queue is full: %(items)s are lost (%(queue)s)",
    "export_failed": "%(exporter)s could not deliver%(to)s: %(items)s are lost%(cure)s",
    "rejected": "%(exporter)s delivered%(to)s, which rejected some of it (%(message)s): %(items)s are lost",
    "after_shutdown": "%(exporter)s was shut down before these came: %(items)s are lost",
    "interrupted": "%(exporter)s was interrupted, as by Ctrl-C: %(items)s are lost",
    "shutdown": "%(exporter)s had no time left to deliver the last %(items)s: they are lost (%(shutdown_timeout)s)",
}


class BoundedBatchProcessor:
    """Hands what it takes to *exporter* in batches on a thread of its own, which starts with the first item.

    *answer* is what is heard of the exporter's endpoint, if it has one; *renew* makes both anew in a forked child.
    Raises ConfigurationError for a variable of the signal that is no number.
    """

    queue_options: ClassVar[QueueOptions] = SPAN_QUEUE

    def __init__(
        self,
        exporter: Any,
        *,
        schedule_delay_millis: int = 5_000,
        answer: ExportStatus | None = None,
        renew: Callable[[], tuple[Any, ExportStatus]] | None = None,
    ) -> None:
        self.exporter = exporter
        self._answer = answer or ExportStatus()
        self._renew = renew
        self._is_inherited = False
        self._inherited: list[Any] = []
        self._capacity = positive_integer(self.queue_options.queue, 2_048)
        self._batch_size = min(positive_integer(self.queue_options.batch, 512), self._capacity)
        self.worker = Worker(
            self._deliver_batch,
            interval=positive_integer(self.queue_options.delay, schedule_delay_millis) / 1_000,
            is_due=lambda: len(self._queue) >= self._batch_size,
            shutdown_timeout=positive_integer(self.queue_options.shutdown_timeout, round(SHUTDOWN_SECONDS * 1_000))
            / 1_000,
        )
        self._begin()
        forks.begin_anew(self, type(self).begin_anew)  # after the worker: each has its own part
        shutdown.deliver_before_child_ends(self, BoundedBatchProcessor.shutdown)

    @classmethod
    def to(cls, name: str, *, schedule_delay_millis: int = 5_000) -> Self:
        """Return what delivers to the exporter called *name*. Raises ConfigurationError."""
        renew = partial(new_exporter, cls.queue_options.name, name)
        exporter, answer = renew()
        # Another one may have a file, which it would begin anew.
        renew_in_child = renew if is_otlp(name) else None
        return cls(exporter, schedule_delay_millis=schedule_delay_millis, answer=answer, renew=renew_in_child)

    def begin_anew(self) -> None:
        """Leave to the parent what it had, and its connection: what a child sends there would come in between."""
        self._begin()
        if self._renew is not None:
            self._inherited.append(self.exporter)  # not even destroyed: its end would be sent on that connection
            self._is_inherited = True

    def _begin(self) -> None:
        """Start with nothing queued."""
        self._queue: deque[Any] = deque()
        self._tally = Tally()
        self._last_export_worked = True  # the exporter delivered the last batch that it was given
        self._in_flight = 0
        self._is_delivering_here = False
        self._next_try = 0.0  # on clock.monotonic(), where there is no thread
        self._failures = 0
        self._pending_warnings: list[tuple[str, str, object]] = []
        # A child delivers its own, also one of a parent that has ended delivery.
        self._is_shut_down = self._is_given_up = self.worker.is_closed = False

    @property
    def account(self) -> Account:
        """What has become of everything that was taken."""
        with self.worker.lock:
            return self._tally.account(self.queue_options.name, self.exporter)

    # On the program's threads

    def name_of(self, item: Any) -> object:
        """Return the name by which a user finds *item*."""
        return item.name

    def take(self, item: object) -> None:
        """Queue *item*; while the exporter works but is slower than the program, wait for room, but not for ever."""
        forks.notice()
        worker = self.worker
        with worker.lock:
            is_late = worker.is_closed
            self._tally.total += 1
            if not is_late:
                self._queue.append(item)  # first: Ctrl-C may end the wait for room
            if is_late:
                self._lose(1, "after_shutdown")
        if not is_late:
            has_thread = worker.thread is not None or worker.start_thread()
            if not has_thread and len(self._queue) > self._capacity and running_loop() is None:
                self._deliver_here()
            with worker.lock:
                if len(self._queue) == self._batch_size:
                    worker.changed.notify_all()
                if len(self._queue) > self._capacity and not self._wait_for_room():
                    self._queue.popleft()
                    self._lose(1, "queue_full")
        self._log_losses()

    def _deliver_here(self) -> None:
        """Deliver a batch on the program's thread, as there is no other to be had; not to an exporter that is dead."""
        with self.worker.lock:
            if self._is_delivering_here or clock.monotonic() < self._next_try:
                return
            self._is_delivering_here = True
        try:
            self._deliver_batch()
        finally:
            self._is_delivering_here = False
            self._next_try = 0.0 if self._last_export_worked else clock.monotonic() + _RETRY_SECONDS

    def _wait_for_room(self) -> bool:
        """Wait until the item that was added last has room, and tell whether it has; no event loop stands still."""
        if (
            not self._last_export_worked
            or self.worker.thread in (None, threading.current_thread())
            or running_loop() is not None  # all that it runs would wait together
        ):
            return False
        self.worker.wake()
        is_over = self.worker.changed.wait_for(
            lambda: len(self._queue) <= self._capacity or not self._last_export_worked, _ROOM_SECONDS
        )
        if not is_over:
            self._last_export_worked = False  # no more waiting until an export succeeds
        return len(self._queue) <= self._capacity

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what is queued; return False when that took longer, or when some of it was lost."""
        forks.notice()
        worker, timeout = self.worker, min(timeout_millis / 1_000, LONGEST_SECONDS)
        deadline, failures = clock.monotonic() + timeout, self._failures
        while self._queue and worker.thread is None and clock.monotonic() < deadline:
            self._deliver_here()
            if not self._last_export_worked:
                break
        with worker.lock:
            worker.wake()
            is_in_time = worker.changed.wait_for(
                lambda: worker.thread is None or not (self._queue or self._in_flight or self._pending_warnings),
                timeout,
            )
            is_in_time = is_in_time and (worker.thread is not None or not self._queue)
        if not is_in_time or self._failures != failures:
            return False
        seconds = max(0.0, deadline - clock.monotonic())
        return self._is_inherited or succeeds(lambda: self.exporter.force_flush(round(seconds * 1_000)), seconds)

    def shutdown(self) -> None:
        """Deliver what is queued within a bounded time; what is still there then is lost, counted and said."""
        forks.notice()
        with self.worker.lock:
            if self._is_shut_down:
                return
            self._is_shut_down = True
        self.worker.close()
        with self.worker.lock:
            left = len(self._queue) + self._in_flight
            self._queue.clear()
            self._in_flight = 0
            self._is_given_up = True
            if left:
                self._lose(left, "shutdown")
        self._log_losses()
        if self._is_inherited:
            return
        with shutdown.waiting():
            succeeds(self.exporter.shutdown, shutdown.seconds_left(self.worker.shutdown_timeout))

    def _lose(self, count: int, reason: str) -> None:
        self._failures += 1
        self._tally.dropped[reason] += count
        losses.lost(self.queue_options.name, reason, count)
        if reason == "export_failed" and hasattr(self.exporter, "dropped"):
            return  # an exporter that counts what it lost has said why
        exporter = type(self.exporter).__name__
        words = {
            **self.queue_options._asdict(),
            "exporter": exporter,
            "to": self._answer.endpoint and f" to {self._answer.place}",
            "cure": self._answer.endpoint and f"; {CURE}",
            "message": self._answer.message or "it does not say why",
        }
        self._pending_warnings.append(
            (f"delivery {reason} {self.queue_options.name} {exporter}", _WARNINGS[reason], words)
        )

    def _log_losses(self) -> None:
        """Log what is pending, without the lock: a handler of the program may run a task, whose span comes here."""
        for warning in list(self._pending_warnings):
            losses.warn_once(*warning)
            with self.worker.lock:
                if warning in self._pending_warnings:
                    self._pending_warnings.remove(warning)
                self.worker.changed.notify_all()

    # On the worker's thread

    def _deliver_batch(self) -> bool:
        worker = self.worker
        with worker.lock:
            batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
            self._in_flight += len(batch)
        if not batch:
            return False
        is_given_up = worker.is_closed and (not self._last_export_worked or clock.monotonic() > worker.deadline)
        lost = len(batch) if is_given_up else self._export(batch)
        with worker.lock:
            if not self._is_given_up:  # else shutdown() has counted these as lost already
                self._in_flight -= lost
                self._last_export_worked = lost < len(batch)
                if lost:
                    self._lose(lost, "export_failed")
                worker.changed.notify_all()
        self._log_losses()
        return True

    def _export(self, batch: list[Any]) -> int:
        """Export *batch* and return how many items of it were lost, without those that the endpoint rejected.

        One bad item costs itself only: a batch that can never be delivered is halved until that item is alone.
        """
        lost, halving = 0, Halving(batch)
        for piece in halving.pieces():
            if halving.has_begun and self.worker.is_closed and clock.monotonic() > self.worker.deadline:
                lost += len(piece)
                continue
            lost_of_piece, is_for_good = self._export_once(piece)
            if lost_of_piece and is_for_good and len(piece) > 1 and halving.halve(piece):
                continue
            halving.has_succeeded |= lost_of_piece == 0
            lost += lost_of_piece
            if lost_of_piece and is_for_good and len(piece) == 1 and len(batch) > 1:
                losses.warn_once(
                    f"export refused {type(self.exporter)}",
                    "%s could not deliver %s%s: it is lost, and the others are not",
                    type(self.exporter).__name__,
                    f"{type(piece[0]).__name__} {recorded(self.name_of(piece[0]), _NAME_LENGTH)}",
                    self._answer.reason and f" ({self._answer.reason})",
                )
        return lost

    def _export_once(self, batch: list[Any]) -> tuple[int, bool]:
        """Export *batch*; return how many items of it were lost, and whether trying again would lose them again."""
        exporter = type(self.exporter).__name__
        dropped_before = getattr(self.exporter, "dropped", None)
        self._answer.reset()
        try:
            with uninstrumented():
                if self._is_inherited and self._renew is not None:
                    self.exporter, self._answer = self._renew()
                    self._is_inherited = False
                answer = self._answer
                result = self.exporter.export(batch)
        except Exception as error:  # noqa: BLE001 an exporter is foreign code
            losses.warn_once(f"export {type(self.exporter)}", "%s raised", exporter, error=error)
            return len(batch), self._answer.is_for_good or isinstance(error, _ENCODING_ERRORS)
        if getattr(result, "name", "") != "SUCCESS":  # of either signal's enumeration
            # An exporter that counts what it lost knows better than "the whole batch".
            lost = len(batch)
            if dropped_before is not None:
                lost = min(int(self.exporter.dropped) - dropped_before, lost)
            self._settle(len(batch) - lost, 0)
            return lost, dropped_before is None and (answer.is_for_good or answer.was_unsendable)
        if answer.is_refused:  # the endpoint took it and used none of it
            return len(batch), answer.is_for_good
        self._settle(len(batch), min(answer.rejected, len(batch)))
        with self.worker.lock:
            if answer.message and not answer.rejected:  # OTLP's way to warn of what was accepted all the same
                words = {"exporter": exporter, "endpoint": answer.endpoint, "message": answer.message}
                warning = "%(exporter)s: %(endpoint)s says: %(message)s"
                self._pending_warnings.append((f"answer {exporter}", warning, words))
        return 0, False

    def _settle(self, count: int, rejected: int) -> None:
        """Write down that the exporter took *count* items, of which its endpoint *rejected* some."""
        with self.worker.lock:
            if self._is_given_up:
                return
            self._in_flight -= count
            self._tally.delivered += count - rejected
            if rejected:
                self._lose(rejected, "rejected")


class BoundedBatchSpanProcessor(BoundedBatchProcessor, SpanProcessor):
    """Delivers the spans that are sampled."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue *span*, within a bounded time."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.take(span)


def succeeds(call: Callable[[], object], seconds: float) -> bool:
    """Tell whether *call*, of a foreign exporter or provider, came back within *seconds* and did not return False.

    The SDK's own batch processor does not heed the limit that it is given.
    """
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001 an exporter is foreign code
            losses.warn_once("exporter end", "An exporter raised when it was to end or flush", error=error)

    thread = threading.Thread(target=ask, name="otelflow-exporter", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        ask()
    else:
        thread.join(seconds)
    return bool(answers) and answers[0] is not False
