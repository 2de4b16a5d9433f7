"""Send batches, and learn from each answer how large the next one may be, and when it may be sent."""

import enum
from collections.abc import Callable
from typing import Final

from otelflow._core.process import clock
from otelflow_exporters._otlp.sender import Sender
from otelflow_exporters._spool.batches import Item, request_of
from otelflow_exporters._spool.pieces import backoff

#: (reason, number of spans)
OnLoss = Callable[[str, int], None]


class Verdict(enum.Enum):
    """What is to become of a batch."""

    DONE = enum.auto()  # it arrived, or never will
    SPLIT = enum.auto()  # a part of it may arrive
    WAIT = enum.auto()


def _weight(item: Item) -> int:
    """Return how much of a batch *item* takes; also one that has only started takes some."""
    return item.spans or bool(item.parts)


class Delivery:
    """Sends with *sender* batches of *largest_batch* spans at most; *on_loss* is told of each that was ``rejected``."""

    def __init__(self, sender: Sender, largest_batch: int, on_loss: OnLoss) -> None:
        self._sender: Final = sender
        self._on_loss: Final = on_loss
        self.largest_batch: Final = largest_batch
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin as if nothing had been sent."""
        self._batch_size = self.largest_batch
        self._failures = 0
        self.reason = ""  # why a request did not arrive lately
        self.not_before = 0.0  # on clock.monotonic()
        # Of records that are in no file: when they are refused, files go on, and the other way round.
        self._size_of_records = self.largest_batch
        self.records_not_before = 0.0
        #: How many requests were sent, and how many of them arrived
        self.requests = self.arrivals = 0

    @property
    def is_refused(self) -> bool:
        """Whether the endpoint has not taken the last request."""
        return self._failures > 0

    @property
    def is_silent(self) -> bool:
        """Whether the endpoint has left the last request without an answer."""
        return self.is_refused and self._sender.status.is_silent

    @property
    def may_take_others(self) -> bool:
        """Whether what was refused last may be at fault itself, and not the endpoint."""
        return self._sender.status.may_take_others

    def try_once_more(self) -> None:
        """Forget every delay."""
        self.not_before = self.records_not_before = 0.0

    def first_of(self, items: list[Item]) -> list[Item]:
        """Return of *items*, of which there is one at least, as many as make one batch."""
        batch: list[Item] = []
        spans = 0
        for item in items:
            spans += _weight(item)
            if batch and spans > self._batch_size:
                break
            batch.append(item)
        return batch

    def halve(self, batch: list[Item]) -> None:
        """Let the next batch be half of this one."""
        self._batch_size = max(1, sum(map(_weight, batch)) // 2)

    def send(self, batch: list[Item]) -> Verdict:
        """Send *batch*, and tell what is to become of it."""
        count = sum(item.spans for item in batch)
        if not any(item.parts for item in batch):
            return Verdict.DONE
        sender, status = self._sender, self._sender.status
        self.requests += 1
        sender.send(request_of(batch))
        if not status.is_refused:
            self.arrivals += 1
            self._failures = 0
            self.not_before = 0.0
            self._batch_size = min(self.largest_batch, self._batch_size * 2)
            if status.rejected:
                self._on_loss("rejected", min(status.rejected, count))
            return Verdict.DONE
        if status.is_for_good and not status.is_mendable:
            self.not_before = 0.0
            refused = [item for item in batch if item.parts]
            if len(refused) > 1:  # a bad one costs itself only
                return Verdict.SPLIT
            if refused and len(refused[0].parts) > 1:
                return self.send_each(refused[0])
            if count:
                self._on_loss("rejected", count)
            return Verdict.DONE
        self._failures += 1
        self.reason = status.place
        if self._failures > 1 or sender.retry_after or not status.may_take_others:  # else the next is tried at once
            self.not_before = clock.monotonic() + (sender.retry_after or backoff(self._failures))
        return Verdict.WAIT

    def send_each(self, item: Item) -> Verdict:
        """Send the parts of *item*, which lie together, one after the other: what is refused now is lost."""
        for part in item.parts:
            if self.send([Item(item.end, [part], 1)]) is Verdict.WAIT:
                if not self.may_take_others:
                    return Verdict.WAIT
                self._on_loss("rejected", 1)
        return Verdict.DONE

    def send_records(self, items: list[Item]) -> tuple[int, bool]:
        """Send *items*, which are in no file, as far as they fit in one batch.

        Return how many that were, and whether they are done with.
        """
        if clock.monotonic() < max(self.not_before, self.records_not_before):
            return 0, False
        size_of_files, self._batch_size = self._batch_size, self._size_of_records
        batch = self.first_of(items)
        verdict = self.send(batch)
        # The one that is refused is alone soon.
        self._size_of_records = self._batch_size if verdict is Verdict.DONE else max(1, len(batch) // 2)
        self._batch_size = size_of_files
        if verdict is Verdict.WAIT and self.may_take_others:
            self.records_not_before, self.not_before = self.not_before, 0.0
        return len(batch), verdict is Verdict.DONE

    def close(self) -> None:
        """Leave the endpoint alone."""
        self._sender.close()
