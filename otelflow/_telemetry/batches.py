"""Deliver what has ended to an exporter, whole: wait for a slow one, give up on a dead one, count what is lost.

The SDK's batch processor drops the spans of a busy program without a word, and its ``force_flush`` and ``shutdown``
know no time limit. This one has the same queue, batches and ``OTEL_BSP_*`` variables.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

from opentelemetry import context as otel_context

# The name is private for want of a better place (says its comment); every exporter and instrumentation uses it.
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
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

from otelflow._core.process import forks, losses, shutdown
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import CURE, ExportStatus

# How long a program waits for room in the queue while the exporter works, before it loses the oldest item.
_PATIENCE: Final = 2.0
# How long the process may take to deliver its last spans, unless the user says otherwise.
_FAREWELL_MILLIS: Final = 5_000


def _from_environment(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdigit() or int(text) == 0:
        raise ConfigurationError(f"{variable} must be a whole number above 0, not {text!r}")
    return int(text)


class Signal(NamedTuple):
    """What is delivered: its name in the ledger, what one calls its pieces, and the variables that set its queue."""

    name: str
    items: str
    delay: str
    queue: str
    batch: str
    farewell: str


SPANS: Final = Signal(
    "traces",
    "spans",
    OTEL_BSP_SCHEDULE_DELAY,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_EXPORT_TIMEOUT,
)
LOG_RECORDS: Final = Signal(
    "logs",
    "log records",
    OTEL_BLRP_SCHEDULE_DELAY,
    OTEL_BLRP_MAX_QUEUE_SIZE,
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BLRP_EXPORT_TIMEOUT,
)


class Delivery:
    """Hands what it takes to *exporter* in batches on a thread of its own, which starts with the first item.

    *answer* is what is heard of the exporter's endpoint, if it has one. Raises ConfigurationError for a variable of the
    signal that is no number.
    """

    signal: ClassVar[Signal] = SPANS

    def __init__(
        self, exporter: Any, *, schedule_delay_millis: int = 5_000, answer: ExportStatus | None = None
    ) -> None:
        self.exporter = exporter
        self._answer = answer or ExportStatus()
        self._delay = _from_environment(self.signal.delay, schedule_delay_millis) / 1_000
        self._capacity = _from_environment(self.signal.queue, 2_048)
        self._batch = min(_from_environment(self.signal.batch, 512), self._capacity)
        self._farewell = _from_environment(self.signal.farewell, _FAREWELL_MILLIS) / 1_000
        self._begin()
        forks.begin_anew(self, Delivery._begin)
        shutdown.deliver_before_child_ends(self, Delivery.shutdown)

    def _begin(self) -> None:
        """Start with nothing queued; a forked child does so too, since the parent delivers what it had."""
        self._queue: deque[Any] = deque()
        self._changed = threading.Condition(forks.new_lock())
        self._worker: threading.Thread | None = None
        self._is_closed = False
        self._is_alive = True
        self._is_wanted = False
        self._in_flight = 0
        self._failures = 0
        self._unsaid: list[tuple[str, str, object]] = []
        self._deadline: float | None = None

    # On the program's threads

    def take(self, item: object) -> None:
        """Queue *item*; while the exporter works but is slower than the program, wait for room, but not for ever."""
        with self._changed:
            if self._is_closed:
                losses.lost(self.signal.name, "after_shutdown")
                return
            self._queue.append(item)  # first: Ctrl-C may end the wait for room
            if self._worker is None:
                self._start_worker()
            if len(self._queue) == self._batch:
                self._changed.notify_all()
            if len(self._queue) > self._capacity and not self._waits_for_room():
                self._queue.popleft()
                self._lose(1, "queue_full")
        self._say_what_is_lost()

    def _waits_for_room(self) -> bool:
        if not self._is_alive or threading.current_thread() is self._worker:
            return False
        self._is_wanted = True
        self._changed.notify_all()
        if self._changed.wait_for(lambda: len(self._queue) <= self._capacity or not self._is_alive, _PATIENCE):
            return len(self._queue) <= self._capacity
        self._is_alive = False  # no more waiting until an export succeeds
        return False

    def _start_worker(self) -> None:
        self._worker = threading.Thread(target=self._work, name="otelflow-delivery", daemon=True)
        try:
            self._worker.start()
        except RuntimeError:  # the interpreter is shutting down
            self._worker = None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what is queued; return False when that took longer, or when some of it was lost."""
        deadline = time.monotonic() + timeout_millis / 1_000
        with self._changed:
            failures = self._failures
            self._is_wanted = True
            self._changed.notify_all()
            in_time = self._changed.wait_for(self._is_empty, timeout_millis / 1_000)
        if not in_time or self._failures != failures:
            return False
        left = max(0.0, deadline - time.monotonic())
        return _answers(lambda: self.exporter.force_flush(round(left * 1_000)), left)

    def _is_empty(self) -> bool:
        return self._worker is None or not (self._queue or self._in_flight or self._unsaid)

    def shutdown(self) -> None:
        """Deliver what is queued within a bounded time; what is still there then is lost, counted and said."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._deadline = time.monotonic() + self._farewell
            self._changed.notify_all()
        if self._worker is not None:
            self._worker.join(self._farewell + 0.1)
        elif self._queue:
            self._work()  # a program that is ending gets no new thread: what came late is delivered here
        with self._changed:
            left = len(self._queue) + self._in_flight
            self._queue.clear()
            self._in_flight = 0
            if left:
                self._lose(left, "shutdown")
        self._say_what_is_lost()
        _answers(self.exporter.shutdown, self._farewell)

    def _lose(self, count: int, reason: str) -> None:
        self._failures += 1
        losses.lost(self.signal.name, reason, count)
        if reason == "export_failed" and hasattr(self.exporter, "dropped"):
            return  # an exporter that counts what it lost has said why
        words = {
            "exporter": type(self.exporter).__name__,
            "items": self.signal.items,
            "to": self._answer.endpoint and f" to {self._answer.place}",
            "cure": self._answer.endpoint and f"; {CURE}",
            "message": self._answer.message or "it does not say why",
            "queue": self.signal.queue,
            "farewell": self.signal.farewell,
        }
        key = f"delivery {reason} {self.signal.name} {words['exporter']}"
        self._unsaid.append((key, _WARNINGS[reason], words))

    def _say_what_is_lost(self) -> None:
        """Log it, without the lock: a handler of the program may run a task, whose span comes here."""
        for said in list(self._unsaid):
            losses.warn_once(*said)
            with self._changed:
                if said in self._unsaid:
                    self._unsaid.remove(said)
                self._changed.notify_all()

    # On the worker's thread

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, self._delay)
                batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
                self._in_flight = len(batch)
                if not batch:
                    self._is_wanted = False
                    self._changed.notify_all()
                    if self._is_closed:
                        return
                    continue
            self._deliver(batch)
            self._say_what_is_lost()

    def _has_work(self) -> bool:
        return self._is_closed or self._is_wanted or len(self._queue) >= self._batch

    def _deliver(self, batch: list[Any]) -> None:
        is_given_up = self._deadline is not None and (not self._is_alive or time.monotonic() > self._deadline)
        lost = len(batch) if is_given_up else self._export(batch)
        with self._changed:
            if self._is_closed and not self._in_flight:
                return  # shutdown has counted these already
            self._in_flight = 0
            self._is_alive = lost == 0
            if lost:
                self._lose(lost, "export_failed")
            self._changed.notify_all()

    def _export(self, batch: list[Any]) -> int:
        """Export *batch* and return how many items of it were lost."""
        token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        before = getattr(self.exporter, "dropped", None)
        self._answer.reset()
        try:
            result = self.exporter.export(batch)
        except Exception as error:  # noqa: BLE001 an exporter is foreign code
            losses.warn_once(f"export {type(self.exporter)}", "%s raised", type(self.exporter).__name__, error=error)
            return len(batch)
        finally:
            otel_context.detach(token)
        if getattr(result, "name", "") == "SUCCESS":  # of either signal's enumeration
            return self._thrown_away(len(batch))
        # An exporter that counts what it lost knows better than "the whole batch".
        return len(batch) if before is None else int(getattr(self.exporter, "dropped", before)) - before

    def _thrown_away(self, sent: int) -> int:
        """Count what the endpoint rejected of a batch that it took; return *sent* if it took none of it at all."""
        if self._answer.is_refused:
            return sent
        with self._changed:
            if self._answer.rejected:
                self._lose(min(self._answer.rejected, sent), "rejected")
            elif self._answer.message:  # OTLP's way to warn of what was accepted all the same
                who = type(self.exporter).__name__
                words = {"exporter": who, "endpoint": self._answer.endpoint, "message": self._answer.message}
                self._unsaid.append((f"answer {who}", "%(exporter)s: %(endpoint)s says: %(message)s", words))
        return 0


_WARNINGS: Final = {
    "queue_full": "%(exporter)s is slower than the program and its queue is full: %(items)s are lost (%(queue)s)",
    "export_failed": "%(exporter)s could not deliver%(to)s: %(items)s are lost%(cure)s",
    "rejected": "%(exporter)s delivered%(to)s, which rejected some of it (%(message)s): %(items)s are lost",
    "shutdown": "%(exporter)s had no time left to deliver the last %(items)s: they are lost (%(farewell)s)",
}


class DeliverySpanProcessor(Delivery, SpanProcessor):
    """Delivers the spans that are sampled."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue *span*, within a bounded time."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.take(span)


def _answers(call: Callable[[], object], seconds: float) -> bool:
    """Tell whether *call*, of a foreign exporter, came back within *seconds* and did not return False."""
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001 an exporter is foreign code
            losses.warn_once("exporter end", "An exporter raised when it was to end or flush", error=error)
            answers.append(False)

    thread = threading.Thread(target=ask, name="otelflow-farewell", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        ask()
    else:
        thread.join(seconds)
    return bool(answers) and answers[0] is not False
