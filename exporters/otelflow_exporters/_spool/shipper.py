"""Send what waits in a spool, batch by batch; a batch that is refused is set aside and tried again."""

import contextlib
import enum
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from otelflow._core.process import clock, forks
from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._otlp.endpoint import wants_open_spans
from otelflow_exporters._otlp.sender import Sender
from otelflow_exporters._spool.aside import Aside, Piece, backoff
from otelflow_exporters._spool.batches import Item, live_item_of, lost_spans, read_piece, read_range, request_of
from otelflow_exporters._spool.claims import Claim, claim, forget, remove_orphans
from otelflow_exporters._spool.compacting import compact
from otelflow_exporters._spool.signals import SPANS, Signal
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.pruning import is_live
from otelflow_exporters._store.records import LARGEST_SEGMENT

_TIDYING_SECONDS: Final = 3_600.0
# For each segment that is begun so many are written anew: all are soon, and none takes long.
_COMPACTED_AT_ONCE: Final = 2
_LOOK_SECONDS: Final = 0.5
# How often the same batch is tried in a row by an endpoint that takes nothing: it may be the batch that it cannot take.
_TRIES_IN_PLACE: Final = 3
# How often an endpoint that takes others may refuse one and the same span before that is lost
_MOST_REFUSALS: Final = 10

#: (reason, number of spans)
OnLoss = Callable[[str, int], None]


class Outcome(NamedTuple):
    """What one step has done: how many items are finished (sent, rejected or gone), and whether more may wait.

    *own* were written by this process, *others* by other processes; *vanished* are own items whose segment was removed
    before they were sent.
    """

    own: int = 0
    others: int = 0
    vanished: int = 0
    is_more: bool = False


class _Answer(enum.Enum):
    DONE = enum.auto()  # it arrived, or never will
    SPLIT = enum.auto()  # a part of it may arrive
    WAIT = enum.auto()


def _weight(item: Item) -> int:
    """Return how much of a batch *item* takes; also one that has only started takes some."""
    return item.spans or bool(item.parts)


class Shipper:
    """Sends with *sender* what this process, and processes that have ended, left in *directory*.

    *is_for_all*: what running processes wrote, too.

    *own* says how many spans this process has written, by segment. *on_loss* is told of each span that was sent in
    vain: ``rejected`` by the endpoint, or ``unreadable``. *check* raises StoreUnreadable for a folder of others.
    *on_told* is given what was sent of processes that were lost: ``TracesData`` with what they had begun.
    """

    def __init__(
        self,
        directory: Path | None,
        sender: Sender,
        *,
        batch_size: int,
        on_loss: OnLoss,
        own: Callable[[], dict[str, int]] = dict,
        is_for_all: bool = False,
        check: Callable[[Folder], object] = bool,  # which does nothing
        on_told: Callable[[bytes], object] = bool,  # which does nothing
        signal: Signal = SPANS,
    ) -> None:
        self._signal = signal
        self._read = live_item_of if signal.has_runs and wants_open_spans() else signal.read
        self._check = check
        self._on_told = on_told
        self._directory = directory
        self._sender = sender
        self._largest_batch = batch_size
        self._on_loss = on_loss
        self._own = own
        self._is_for_all = is_for_all
        self._claims: dict[str, Claim] = {}
        self._begin()
        forks.begin_anew(self, Shipper._begin)

    def _begin(self) -> None:
        """Begin with nothing claimed; a forked child leaves to its parent what that ships."""
        for held in self._claims.values():
            held.release()
        self._claims.clear()
        self._items: dict[str, list[Item]] = {}  # read, and not sent yet
        self._aside = Aside()
        self._files: dict[str, StoredFile] = {}  # the segments that were there at the last look
        self._next_look = 0.0  # on clock.monotonic()
        self._unreadable: set[str] = set()  # segments
        self._told: set[str] = set()  # segments whose lost runs are sent, or wait
        self._compact: set[str] = set()  # segments that were written anew, or cannot be
        self._sent: Counter[str] = Counter()  # spans, by segment
        self._batch_size = self._largest_batch
        self._failures = self._failures_in_place = 0
        self._reason = ""
        self._next_tidying = 0.0  # on clock.monotonic()
        self._is_turn_of_heads = False
        self.not_before = 0.0  # on clock.monotonic()
        # Of what is in no file: what is refused of that holds up no file, and the other way round.
        self._size_of_records = self._largest_batch
        self.records_not_before = 0.0
        #: How many requests were sent, and how many of them arrived
        self.requests = self.arrivals = 0

    @property
    def failure(self) -> str:
        """Why something does not arrive at the moment, in words; empty when all is well."""
        return self._reason if self._failures or self._aside else ""

    @property
    def is_silent(self) -> bool:
        """Whether the endpoint has left the last request without an answer."""
        return bool(self._failures) and self._sender.status.is_silent

    def sent_of(self, name: str) -> int | None:
        """Return how many spans of the segment *name* are done with; None if another process ships it."""
        return self._sent[name] if name in self._claims else None

    def try_once_more(self) -> None:
        """Forget every delay: the next call tries everything."""
        self.not_before = self.records_not_before = 0.0
        self._aside.try_all()

    def ship(self) -> Outcome:
        """Send one batch, unless the endpoint is to be left alone. Raises OSError when the folder cannot be used."""
        if self._directory is None or clock.monotonic() < self.not_before:
            return Outcome()
        try:
            with open_store(self._directory, kind="spool") as folder:
                self._check(folder)
                return self._ship_from(folder)
        except FileNotFoundError:
            return Outcome()

    def make_room(self, most_bytes: int, pruning: contextlib.AbstractContextManager[object]) -> None:
        """Write some segments of this process, none of which was sent, anew if the folder has more than *most_bytes*.

        *pruning* is held by who removes segments.
        """
        if self._directory is None or not self._signal.batch:  # a report of metrics is one piece
            return
        with contextlib.suppress(OSError), open_store(self._directory, kind="spool") as folder:
            files = sorted(segment_files(folder))
            if sum(file.size for file in files) <= most_bytes:
                return
            names = self._own().keys() - self._compact
            whole = [file for file in files if file.name in names and not is_live(folder, file.name)]
            for file in whole[:_COMPACTED_AT_ONCE]:
                self._compact.add(file.name)
                held = self._claimed(folder, file)
                if held is not None and not held.offset and not self._aside.has(file.name):
                    self._items.pop(file.name, None)
                    compact(folder, file, self._signal, pruning)

    def ship_records(self, items: list[Item]) -> tuple[int, bool]:
        """Send *items*, which are in no file, as far as they fit in one batch.

        Return how many that were, and whether they are done with.
        """
        if clock.monotonic() < max(self.not_before, self.records_not_before):
            return 0, False
        size_of_files, self._batch_size = self._batch_size, self._size_of_records
        batch = self._first_of(items)
        answer = self._send(batch)
        # The one that is refused is alone soon.
        self._size_of_records = self._batch_size if answer is _Answer.DONE else max(1, len(batch) // 2)
        self._batch_size = size_of_files
        if answer is _Answer.WAIT and self._sender.status.may_take_others:
            self.records_not_before, self.not_before = self.not_before, 0.0
        return len(batch), answer is _Answer.DONE

    def _ship_from(self, folder: Folder) -> Outcome:
        is_new = clock.monotonic() >= self._next_look
        outcome = (self._look(folder) if is_new else None) or self._ship_what_is_there(folder)
        if outcome is None and not is_new:  # something may have come meanwhile
            outcome = self._look(folder) or self._ship_what_is_there(folder)
        return outcome or Outcome()

    def _look(self, folder: Folder) -> Outcome | None:
        """Look which segments there are: not before each batch, since there may be thousands."""
        self._next_look = clock.monotonic() + _LOOK_SECONDS
        own = self._own()
        written = dict(own)  # before the look at the folder: another segment may begin meanwhile
        self._files = {file.name: file for file in sorted(segment_files(folder))}  # their names begin with the time
        self._release(self._claims.keys() - self._files.keys())
        shipped, vanished = forget(folder, own, self._sent, written.keys() - self._files.keys())
        if shipped or vanished:
            return Outcome(own=shipped, vanished=vanished, is_more=True)
        if clock.monotonic() >= self._next_tidying:
            self._next_tidying = clock.monotonic() + _TIDYING_SECONDS
            remove_orphans(folder)
        return None

    def _ship_what_is_there(self, folder: Folder) -> Outcome | None:
        self._release(name for name, held in self._claims.items() if not held.is_held)
        if self._is_turn_of_heads:
            return self._ship_heads(folder) or self._ship_aside(folder)
        return self._ship_aside(folder) or self._ship_heads(folder)

    # What nobody has tried yet

    def _ship_heads(self, folder: Folder) -> Outcome | None:
        self._is_turn_of_heads = False
        own = self._own()
        for file in list(self._files.values()):
            if file.size > LARGEST_SEGMENT:
                self._give_up(file.name)
                continue
            is_finished = not is_live(folder, file.name)
            is_ours = file.name in self._claims or self._is_for_all or file.name in own or is_finished
            held = self._claimed(folder, file) if is_ours else None
            if held is not None and folder.file(file.name) is not None:
                try:
                    outcome = self._ship_segment(folder, held, is_finished=is_finished)
                except FileNotFoundError:
                    outcome = None
                except OSError:  # of its own: the folder can be read
                    self._give_up(file.name)
                    continue
                if outcome is not None:
                    return outcome
        return None

    def _claimed(self, folder: Folder, file: StoredFile) -> Claim | None:
        """Return the right to ship *file*, which nobody else has now; None if somebody has."""
        if file.name not in self._claims and (held := claim(folder, file)) is not None:
            self._claims[file.name] = held
            if file.name in self._own():
                self._sent[file.name] += 0  # by nobody else from now on
            self._aside.add(Piece(held.name, place) for place in held.aside)
        return self._claims.get(file.name)

    def _give_up(self, name: str) -> None:
        """Leave the segment *name*, which cannot be read, where it is."""
        if name not in self._unreadable:
            self._unreadable.add(name)
            self._on_loss("unreadable", 1)
        self._files.pop(name, None)
        self._release({name} & self._claims.keys())

    def _ship_segment(self, folder: Folder, held: Claim, *, is_finished: bool) -> Outcome | None:
        """Send the next batch of a segment; None if there is nothing to send in it."""
        items = self._items.get(held.name)
        if not items:
            piece = read_piece(folder, held.name, self._read, held.offset, is_finished=is_finished)
            if piece.unreadable:
                self._on_loss("unreadable", piece.unreadable)  # how many spans it was, nobody can tell
            if not piece.items:
                self._advance(held, piece.end)
            items = self._items[held.name] = piece.items
        if not items:
            return self._finish(folder, held) if is_finished else None
        batch = self._first_of(items)
        answer = self._send(batch)
        if answer is not _Answer.DONE and not self._set_aside(held, batch, answer):
            return Outcome(is_more=clock.monotonic() >= self.not_before)
        self._failures_in_place = 0
        del items[: len(batch)]
        self._advance(held, batch[-1].end)
        if answer is not _Answer.DONE:
            return Outcome(is_more=clock.monotonic() >= self.not_before)
        return self._count(held.name, sum(item.spans for item in batch))

    def _set_aside(self, held: Claim, batch: list[Item], answer: _Answer) -> bool:
        """Let *batch*, which was refused, wait beside the rest, and tell so; else it is tried again where it is."""
        self._failures_in_place += 1
        if answer is _Answer.SPLIT or self._aside.is_full:
            self._batch_size = max(1, sum(map(_weight, batch)) // 2)
            return False
        if not self._sender.status.may_take_others and self._failures_in_place < _TRIES_IN_PLACE:
            return False
        piece = Piece(held.name, (held.offset, batch[-1].end))
        self._aside.add([piece])
        self._put_off(piece)
        return True

    def _finish(self, folder: Folder, held: Claim) -> Outcome | None:
        """Report the runs that were open when the process was lost that wrote this segment, and remove it."""
        if held.name not in self._told:
            self._told.add(held.name)
            file = folder.file(held.name)
            last_sign = round(file.modified * 1e9) if file is not None else 0
            is_own = held.name in self._own()  # its end could not be written on a full disk: nothing is lost
            has_runs = self._signal.has_runs and not is_own
            lost = [] if not has_runs else lost_spans(folder.read(held.name, LARGEST_SEGMENT), last_sign)
            size = self._largest_batch
            self._aside.add(Piece(held.name, None, lost[start : start + size]) for start in range(0, len(lost), size))
            if lost:
                return Outcome(is_more=True)
        return None if self._aside.has(held.name) else self._remove(folder, held)

    def _remove(self, folder: Folder, held: Claim) -> Outcome | None:
        """Remove a segment in which nothing is left."""
        held.remove(folder, is_own=held.name in self._own())
        self._files.pop(held.name, None)
        own = self._own()
        vanished = own.pop(held.name, 0) - self._sent.pop(held.name, 0)  # what was unreadable of it
        self._release([held.name])
        return Outcome(vanished=vanished, is_more=True) if vanished else None

    # What was refused

    def _ship_aside(self, folder: Folder) -> Outcome | None:
        """Send the piece that has waited longest; None if none is to be tried now."""
        piece = self._aside.due()
        if piece is None:
            return None
        items = piece.items if piece.place is None else read_range(folder, piece.name, self._read, *piece.place)
        answer = self._send(items)
        if answer is _Answer.WAIT:
            answer = self._judge(piece, items)
        if answer is _Answer.WAIT:
            self._is_turn_of_heads = True
            self._put_off(piece)
            return Outcome(is_more=clock.monotonic() >= self.not_before)
        self._aside.remove(piece, piece.halves(items) if answer is _Answer.SPLIT else ())
        held = self._claims.get(piece.name)
        if held is not None and piece.place is not None:
            self._advance(held, held.offset)
        if answer is _Answer.SPLIT:
            return Outcome(is_more=True)
        count = sum(item.spans for item in items)
        if piece.place is not None:
            return self._count(piece.name, count)
        self._on_told(request_of(items))
        if held is not None and not self._aside.has(piece.name):  # at once: who is killed before tells them again
            self._remove(folder, held)
        return Outcome(others=count, is_more=True)

    def _judge(self, piece: Piece, items: list[Item]) -> _Answer:
        """Say what comes of *piece*, refused once more: it is its own fault when the endpoint has taken others."""
        if not self._sender.status.may_take_others or self.arrivals == piece.arrivals:
            return _Answer.WAIT
        if len(items) > 1:
            return _Answer.SPLIT
        piece.refusals += 1
        if piece.refusals < _MOST_REFUSALS:
            return _Answer.WAIT
        if len(items[0].parts) > 1:
            return self._send_each(items[0])
        self._on_loss("rejected", sum(item.spans for item in items))
        return _Answer.DONE

    def _put_off(self, piece: Piece) -> None:
        piece.tries += 1
        piece.arrivals = self.arrivals
        piece.not_before = max(self.not_before, clock.monotonic() + backoff(piece.tries))

    # Of segments and of what is set aside

    def _advance(self, held: Claim, offset: int) -> None:
        held.advance(offset, self._aside.ranges_in(held.name))

    def _count(self, name: str, count: int) -> Outcome:
        if name not in self._own():
            return Outcome(others=count, is_more=True)
        self._sent[name] += count
        return Outcome(own=count, is_more=True)

    def _release(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._claims.pop(name).release()
            self._items.pop(name, None)
            self._aside.forget(name)
            self._told.discard(name)
            self._compact.discard(name)

    def _first_of(self, items: list[Item]) -> list[Item]:
        batch: list[Item] = []
        spans = 0
        for item in items:
            spans += _weight(item)
            if batch and spans > self._batch_size:
                break
            batch.append(item)
        return batch

    def _send(self, batch: list[Item]) -> _Answer:
        """Send *batch*, and tell what is to become of it."""
        count = sum(item.spans for item in batch)
        if not any(item.parts for item in batch):
            return _Answer.DONE
        sender, status = self._sender, self._sender.status
        self.requests += 1
        sender.send(request_of(batch))
        if not status.is_refused:
            self.arrivals += 1
            self._failures = 0
            self.not_before = 0.0
            self._batch_size = min(self._largest_batch, self._batch_size * 2)
            if status.rejected:
                self._on_loss("rejected", min(status.rejected, count))
            return _Answer.DONE
        if status.is_for_good:
            self.not_before = 0.0
            refused = [item for item in batch if item.parts]
            if len(refused) > 1:  # a bad one costs itself only
                return _Answer.SPLIT
            if refused and len(refused[0].parts) > 1:
                return self._send_each(refused[0])
            if count:
                self._on_loss("rejected", count)
            return _Answer.DONE
        self._failures += 1
        self._reason = status.place
        if self._failures > 1 or sender.retry_after or not status.may_take_others:  # else the next is tried at once
            self.not_before = clock.monotonic() + (sender.retry_after or backoff(self._failures))
        return _Answer.WAIT

    def _send_each(self, item: Item) -> _Answer:
        """Send the parts of *item*, which lie together, one after the other: what is refused now is lost."""
        for part in item.parts:
            if self._send([Item(item.end, [part], 1)]) is _Answer.WAIT:
                if not self._sender.status.may_take_others:
                    return _Answer.WAIT
                self._on_loss("rejected", 1)
        return _Answer.DONE

    def close(self) -> None:
        """Leave what is left to others."""
        self._release(self._claims)
        self._sender.close()
