"""Ship what waits in a spool: batch after batch, in order, until the endpoint has taken it."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from otelflow._core.process import forks
from otelflow._core.process.files import Folder
from otelflow_exporters._otlp.sender import Sender
from otelflow_exporters._spool.batches import CLOSED, Item, Request, lost_spans, read_piece
from otelflow_exporters._spool.claims import Claim, claim, forget, remove_left
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.pruning import is_live
from otelflow_exporters._store.records import LARGEST_SEGMENT, spans_of

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

_FIRST_BACKOFF_SECONDS: Final = 1.0
_LONGEST_BACKOFF_SECONDS: Final = 60.0
_JITTER: Final = 0.2

#: (reason, number of spans)
OnLoss = Callable[[str, int], None]


class Outcome(NamedTuple):
    """What one step has done: how many spans need not be sent any more, and whether there may be more to do at once.

    *own* are those that this process has written, *others* those of other processes; *vanished* are own spans whose
    segment was removed before they were sent.
    """

    own: int = 0
    others: int = 0
    vanished: int = 0
    is_more: bool = False


class Shipper:
    """Sends what waits in *directory* with *sender*: of this process and of those that are gone, or *is_for_all*.

    *own* says how many spans this process has written, by segment. *on_loss* is told of each span that was sent in
    vain: ``rejected`` by the endpoint, or ``unreadable``.
    """

    def __init__(
        self,
        directory: Path,
        sender: Sender,
        *,
        batch_size: int,
        on_loss: OnLoss,
        own: Callable[[], dict[str, int]] = dict,
        is_for_all: bool = False,
    ) -> None:
        self._directory = directory
        self._sender = sender
        self._largest_batch = batch_size
        self._on_loss = on_loss
        self._own = own
        self._is_for_all = is_for_all
        # A program's own random numbers must not be drawn for this.
        self._random = random.SystemRandom()
        self._claims: dict[str, Claim] = {}
        self._begin()
        forks.begin_anew(self, Shipper._begin)

    def _begin(self) -> None:
        """Begin with nothing claimed; a forked child leaves to its parent what that ships."""
        for held in self._claims.values():
            held.release()
        self._claims.clear()
        self._items: dict[str, list[Item]] = {}  # read, and not sent yet
        self._recovered: dict[str, TracesData] = {}
        self._sent: Counter[str] = Counter()  # spans, by segment
        self._batch_size = self._largest_batch
        self._failures = 0
        self._is_tidy = False
        self.not_before = 0.0  # on time.monotonic()
        #: How many requests were sent, and how many of them arrived
        self.requests = self.arrivals = 0

    @property
    def failure(self) -> str:
        """Why nothing arrives at the moment, in words; empty when all is well."""
        return self._sender.status.place if self._failures else ""

    def ship(self) -> Outcome:
        """Send one batch, unless the endpoint is to be left alone. Raises OSError when the folder cannot be used."""
        if time.monotonic() < self.not_before:
            return Outcome()
        try:
            with open_store(self._directory, kind="spool") as folder:
                return self._ship_from(folder)
        except FileNotFoundError:
            return Outcome()

    def ship_records(self, items: list[Item]) -> int:
        """Send *items*, which are in no file, as far as they fit in one batch; return how many are done with."""
        if time.monotonic() < self.not_before:
            return 0
        batch = self._first_of(items)
        return len(batch) if self._is_done_with(batch) else 0

    def _ship_from(self, folder: Folder) -> Outcome:
        own = self._own()
        written = dict(own)  # before the look at the folder: another segment may begin meanwhile
        files = sorted(segment_files(folder))  # their names begin with the time
        shipped, vanished = forget(folder, own, self._sent, written.keys() - {file.name for file in files})
        if shipped or vanished:
            return Outcome(own=shipped, vanished=vanished, is_more=True)
        if not self._is_tidy:
            self._is_tidy = True
            remove_left(folder)
        self._release(self._claims.keys() - {file.name for file in files})
        for file in files:
            is_finished = not is_live(folder, file.name)
            if file.name not in self._claims and (self._is_for_all or file.name in own or is_finished):
                held = claim(folder, file)
                if held is not None:
                    self._claims[file.name] = held
            if file.name in self._claims:
                outcome = self._ship_segment(folder, self._claims[file.name], is_finished=is_finished)
                if outcome is not None:
                    return outcome
        return Outcome()

    def _ship_segment(self, folder: Folder, held: Claim, *, is_finished: bool) -> Outcome | None:
        """Send the next batch of a segment; None if there is nothing to send in it."""
        items = self._items.get(held.name)
        if not items:
            piece = read_piece(folder, held.name, held.offset, is_finished=is_finished)
            if piece.unreadable:
                self._on_loss("unreadable", 1)  # how many spans it was, nobody can tell
                held.advance(piece.end)
            items = self._items[held.name] = piece.items
        if not items:
            return self._finish(folder, held) if is_finished else None
        batch = self._first_of(items)
        if not self._is_done_with(batch):
            return self._next_try()
        del items[: len(batch)]
        held.advance(batch[-1].end)
        count = sum(item.spans for item in batch)
        if held.name not in self._own():
            return Outcome(others=count, is_more=True)
        self._sent[held.name] += count
        return Outcome(own=count, is_more=True)

    def _finish(self, folder: Folder, held: Claim) -> Outcome | None:
        """Report the runs that were open when the process was lost that wrote this segment, and remove it."""
        lost = self._recovered.get(held.name)
        if lost is None:
            file = folder.file(held.name)
            last_sign = round(file.modified * 1e9) if file is not None else 0
            is_own = held.name in self._own()  # its end could not be written on a full disk: nothing is lost
            content = CLOSED if is_own else folder.read(held.name, LARGEST_SEGMENT)
            lost = self._recovered[held.name] = lost_spans(content, last_sign)
        count = sum(1 for _ in spans_of(lost))
        if count and not self._is_done_with([Item(held.offset, lost, count)]):
            return self._next_try()
        held.remove(folder)
        own = self._own()
        vanished = own.pop(held.name, 0) - self._sent.pop(held.name, 0)  # what was unreadable of it
        self._release([held.name])
        return Outcome(others=count, vanished=vanished, is_more=True) if count or vanished else None

    def _release(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._claims.pop(name).release()
            self._items.pop(name, None)
            self._recovered.pop(name, None)

    def _next_try(self) -> Outcome:
        return Outcome(is_more=time.monotonic() >= self.not_before)

    def _first_of(self, items: list[Item]) -> list[Item]:
        batch: list[Item] = []
        spans = 0
        for item in items:
            spans += item.spans
            if batch and spans > self._batch_size:
                break
            batch.append(item)
        return batch

    def _is_done_with(self, batch: list[Item]) -> bool:
        """Send *batch*; tell whether it need not be sent again: it has arrived, or was refused for good."""
        count = sum(item.spans for item in batch)
        if not count:
            return True
        request = Request()
        for item in batch:
            request.add(item.traces)
        sender, status = self._sender, self._sender.status
        self.requests += 1
        sender.send(request.encoded())
        if not status.is_refused:
            self.arrivals += 1
            self._failures = 0
            self._batch_size = min(self._largest_batch, self._batch_size * 2)
            if status.rejected:
                self._on_loss("rejected", min(status.rejected, count))
            return True
        if status.is_for_good and sum(1 for item in batch if item.spans) > 1:  # a bad one costs itself only
            self._batch_size = max(1, count // 2)
            self.not_before = 0.0
            return False
        if status.is_for_good:
            self._on_loss("rejected", count)
            return True
        self._failures += 1
        seconds = min(_FIRST_BACKOFF_SECONDS * 2 ** (self._failures - 1), _LONGEST_BACKOFF_SECONDS)
        seconds = sender.retry_after or seconds * self._random.uniform(1 - _JITTER, 1 + _JITTER)
        self.not_before = time.monotonic() + seconds
        return False

    def close(self) -> None:
        """Leave what is left to others."""
        self._release(self._claims)
        self._sender.close()
