"""Send what waits in a spool, batch by batch; a batch that is refused is set aside and tried again."""

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from otelflow._core.process import clock, forks
from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._otlp.endpoint import wants_open_spans
from otelflow_exporters._otlp.sender import Sender
from otelflow_exporters._spool.batches import Item, live_item_of, lost_spans, read_chunk, read_range, request_of
from otelflow_exporters._spool.claims import Claim, forget, has_twin, remove_orphans, take_claim
from otelflow_exporters._spool.delivery import Delivery, OnLoss, Verdict
from otelflow_exporters._spool.pieces import Piece, PiecesAside, backoff
from otelflow_exporters._spool.signals import SPANS, Signal
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.pruning import is_live
from otelflow_exporters._store.records import LARGEST_SEGMENT

_TIDYING_SECONDS: Final = 3_600.0
_LOOK_SECONDS: Final = 0.5
#: How many times as long as a look took one goes on before the next
LOOKS_LATER: Final = 4.0
# How often the same batch is tried in a row by an endpoint that takes nothing: it may be the batch that it cannot take.
_TRIES_IN_PLACE: Final = 3
# How often an endpoint that takes others may refuse one and the same span before that is lost
_MOST_REFUSALS: Final = 10


class Outcome(NamedTuple):
    """What one step has done: how many items are finished (sent, rejected or gone), and whether more may wait.

    *own* were written by this process, *others* by other processes; *vanished* are own items whose segment was removed
    before they were sent.
    """

    own: int = 0
    others: int = 0
    vanished: int = 0
    is_more: bool = False


def look(directory: Path, own: dict[str, int]) -> Outcome:
    """Look what other processes have sent of the segments *own* in *directory*, for a process that does not send.

    Raises OSError when the folder cannot be used.
    """
    written = list(own)  # before the look at the folder: another segment may begin meanwhile
    with open_store(directory, kind="spool") as folder:
        names = set(folder.names())
        shipped, vanished = forget(folder, own, Counter(), [name for name in written if name not in names])
    return Outcome(own=shipped, vanished=vanished)


class Shipper:
    """Sends with *sender* what this process, and processes that have ended, left in *directory*.

    *is_for_all*: what running processes wrote, too.

    ``has_others``: they have left more, as far as one knows.

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
        self.delivery: Final = Delivery(sender, batch_size, on_loss)
        self._on_loss = on_loss
        self._own = own
        self._is_for_all = is_for_all
        self._claims: dict[str, Claim] = {}
        self.begin_anew()
        forks.begin_anew(self, Shipper.begin_anew)

    def begin_anew(self) -> None:
        """Begin with nothing claimed; a forked child leaves to its parent what that ships."""
        for claim in self._claims.values():
            claim.release()
        self._claims.clear()
        self._items: dict[str, list[Item]] = {}  # read, and not sent yet
        self._aside = PiecesAside()
        self._files: dict[str, StoredFile] = {}  # the segments that were there at the last look
        self._has_twin: bool | None = None  # nobody has looked since
        self._next_look = 0.0  # on clock.monotonic()
        self._unreadable: set[str] = set()  # segments
        self._told: set[str] = set()  # segments whose lost runs are sent, or wait
        self._sent: Counter[str] = Counter()  # spans, by segment
        self._failures_in_place = 0
        self._next_tidying = 0.0  # on clock.monotonic()
        self._is_turn_of_untried = False
        self._is_turn_of_others = True
        self.has_others = False
        #: What a segment waits for that nobody can send; empty when there is none
        self.hindrance = ""
        self.delivery.begin_anew()

    @property
    def failure(self) -> str:
        """Why something does not arrive at the moment, in words; empty when all is well."""
        return self.delivery.reason if self.delivery.is_refused or self._aside else self.hindrance

    @property
    def is_elsewhere(self) -> bool:
        """Whether another sender has what this process wrote, and may send it at this moment."""
        names = self._own().keys() - self._claims.keys() - self._unreadable
        return bool(names) and not self.failure

    def sent_of(self, name: str) -> int | None:
        """Return how many spans of the segment *name* are done with; None if another process ships it."""
        return self._sent[name] if name in self._claims else None

    def try_once_more(self) -> None:
        """Forget every delay: the next call tries everything."""
        self.delivery.try_once_more()
        self._aside.try_all()

    def ship(self) -> Outcome:
        """Send one batch, unless the endpoint is to be left alone. Raises OSError when the folder cannot be used."""
        if self._directory is None or clock.monotonic() < self.delivery.not_before:
            return Outcome()
        try:
            with open_store(self._directory, kind="spool") as folder:
                self._check(folder)
                is_new = clock.monotonic() >= self._next_look
                outcome = (self._look(folder) if is_new else None) or self._ship_what_is_there(folder)
                if outcome is None and not is_new:  # something may have come meanwhile
                    outcome = self._look(folder) or self._ship_what_is_there(folder)
        except FileNotFoundError:
            return Outcome()
        self.has_others = self.has_others or bool(outcome and outcome.others)
        return outcome or Outcome()

    def _look(self, folder: Folder) -> Outcome | None:
        """Look which segments there are: not before each batch, since there may be thousands."""
        began = clock.monotonic()
        self.hindrance = ""
        own = self._own()
        written = dict(own)  # before the look at the folder: another segment may begin meanwhile
        self._files = {file.name: file for file in sorted(segment_files(folder))}  # their names begin with the time
        now = clock.monotonic()
        # Of a hundred thousand a look takes seconds: between two of them most of the time is for what is sent.
        self._next_look = max(began + _LOOK_SECONDS, now + LOOKS_LATER * (now - began))
        self._has_twin = None
        self._release(self._claims.keys() - self._files.keys())
        shipped, vanished = forget(folder, own, self._sent, written.keys() - self._files.keys())
        if shipped or vanished:
            return Outcome(own=shipped, vanished=vanished, is_more=True)
        if clock.monotonic() >= self._next_tidying:
            self._next_tidying = clock.monotonic() + _TIDYING_SECONDS
            remove_orphans(folder)
        return None

    def _ship_what_is_there(self, folder: Folder) -> Outcome | None:
        self._release(name for name, claim in self._claims.items() if not claim.is_held)
        if self._is_turn_of_untried:
            return self._ship_untried(folder) or self._ship_aside(folder)
        # Among what is claimed just now may be what somebody else has set aside.
        return self._ship_aside(folder) or self._ship_untried(folder) or self._ship_aside(folder)

    # What nobody has tried yet

    def _ship_untried(self, folder: Folder) -> Outcome | None:
        self._is_turn_of_untried = False
        own = self._own()
        # In turns, or who writes all the time would send nothing that others have left, or not be sent before that.
        own_files = [self._files[name] for name in own if name in self._files]
        others = (file for file in list(self._files.values()) if file.name not in own)  # nearly always the first is it
        is_turn_of_others, self._is_turn_of_others = self._is_turn_of_others, True
        for file in itertools.chain(*((others, own_files) if is_turn_of_others else (own_files, others))):
            if file.size > LARGEST_SEGMENT:
                self._give_up(file.name)
                continue
            is_finished = not is_live(folder, file.name)
            is_ours = file.name in self._claims or self._is_for_all or file.name in own or is_finished
            claim = self._claimed(folder, file) if is_ours else None
            if claim is not None and folder.file(file.name) is not None:
                try:
                    outcome = self._ship_segment(folder, claim, is_finished=is_finished)
                except FileNotFoundError:
                    outcome = None
                except OSError:  # of its own: the folder can be read
                    self._give_up(file.name)
                    continue
                if outcome is not None:
                    self._is_turn_of_others = file.name in own
                    self.has_others = self.has_others and not (is_turn_of_others and file.name in own)
                    return outcome
        self.has_others = False
        return None

    def _claimed(self, folder: Folder, file: StoredFile) -> Claim | None:
        """Return the right to ship *file*, which nobody else has now; None if somebody has."""
        try:
            claim = None if file.name in self._claims else take_claim(folder, file)
        except OSError as error:
            self.hindrance = f"a file in it that says what is sent ({error.strerror})"
            return None
        if claim is not None:
            self._claims[file.name] = claim
            if file.name in self._own():
                self._sent[file.name] += 0  # by nobody else from now on
            self._aside.add(Piece(claim.name, place) for place in claim.aside)
        return self._claims.get(file.name)

    def _give_up(self, name: str) -> None:
        """Leave the segment *name*, which cannot be read, where it is."""
        if name not in self._unreadable:
            self._unreadable.add(name)
            self._on_loss("unreadable", 1)
        self._files.pop(name, None)
        self._release({name} & self._claims.keys())

    def _ship_segment(self, folder: Folder, claim: Claim, *, is_finished: bool) -> Outcome | None:
        """Send the next batch of a segment; None if there is nothing to send in it."""
        items = self._items.get(claim.name)
        if not items:
            chunk = read_chunk(folder, claim.name, self._read, claim.offset, is_finished=is_finished)
            if chunk.unreadable:
                self._on_loss("unreadable", chunk.unreadable)  # how many spans it was, nobody can tell
            if not chunk.items:
                self._advance(claim, chunk.end)
            items = self._items[claim.name] = chunk.items
        if not items:
            return self._finish(folder, claim) if is_finished else None
        batch = self.delivery.first_of(items)
        with claim.sending(folder):
            verdict = self._send(claim.name, batch, self.delivery.send)
            if verdict is not Verdict.DONE and not self._set_aside(claim, batch, verdict):
                return Outcome(is_more=clock.monotonic() >= self.delivery.not_before)
            self._failures_in_place = 0
            del items[: len(batch)]
            spans = 0 if verdict is not Verdict.DONE else sum(item.spans for item in batch)
            outcome = self._outcome(claim.name, spans)
            self._advance(claim, batch[-1].end)
        return outcome if spans else Outcome(is_more=clock.monotonic() >= self.delivery.not_before)

    def _set_aside(self, claim: Claim, batch: list[Item], verdict: Verdict) -> bool:
        """Let *batch*, which was refused, wait beside the rest, and tell so; else it is tried again where it is."""
        self._failures_in_place += 1
        if verdict is Verdict.SPLIT or self._aside.is_full:
            self.delivery.halve(batch)
            return False
        if not self.delivery.may_take_others and self._failures_in_place < _TRIES_IN_PLACE:
            return False
        piece = Piece(claim.name, (claim.offset, batch[-1].end))
        self._aside.add([piece])
        self._put_off(piece)
        return True

    def _finish(self, folder: Folder, claim: Claim) -> Outcome | None:
        """Do what is left when all of a segment is sent: report the runs whose process was lost, then remove it.

        The reports are put aside, from where they are sent; the segment stays until they have arrived.
        """
        is_reported = claim.name in self._told
        self._told.add(claim.name)
        # Of this process nothing is lost: the end of a run could not be written on a full disk.
        if not is_reported and self._signal.has_runs and claim.name not in self._own():
            file = folder.file(claim.name)
            last_sign = round(file.modified * 1e9) if file is not None else 0
            lost = lost_spans(folder.read(claim.name, LARGEST_SEGMENT), last_sign)
            size = self.delivery.largest_batch
            self._aside.add(Piece(claim.name, None, lost[start : start + size]) for start in range(0, len(lost), size))
            if lost:
                return Outcome(is_more=True)
        return None if self._aside.has(claim.name) else self._remove(folder, claim)

    def _remove(self, folder: Folder, claim: Claim) -> Outcome | None:
        """Remove a segment in which nothing is left."""
        if self._has_twin is None:
            self._has_twin = has_twin(folder, os.getpid(), folder.names())  # of now: it goes on
        claim.remove(folder, is_own=claim.name in self._own(), is_number_shared=self._has_twin)
        self._files.pop(claim.name, None)
        own = self._own()
        vanished = own.pop(claim.name, 0) - self._sent.pop(claim.name, 0)  # what was unreadable of it
        self._release([claim.name])
        return Outcome(vanished=vanished, is_more=True) if vanished else None

    # What was refused

    def _ship_aside(self, folder: Folder) -> Outcome | None:
        """Send the piece that has waited longest; None if none is to be tried now."""
        piece = self._aside.due()
        if piece is None:
            return None
        claim = self._claims.get(piece.name)
        is_in_segment = piece.place is not None  # else it is a report of lost runs
        with claim.sending(folder) if claim is not None and is_in_segment else contextlib.nullcontext():
            items = piece.items if piece.place is None else read_range(folder, piece.name, self._read, *piece.place)
            name = piece.name if is_in_segment else ""
            verdict = self._send(name, items, lambda items: self._try_again(piece, items))
            if verdict is Verdict.WAIT:
                self._is_turn_of_untried = True
                self._put_off(piece)
                return Outcome(is_more=clock.monotonic() >= self.delivery.not_before)
            self._aside.remove(piece, piece.halves(items) if verdict is Verdict.SPLIT else ())
            count = sum(item.spans for item in items) if verdict is Verdict.DONE else 0
            if is_in_segment:
                outcome = self._outcome(piece.name, count)
                if claim is not None:
                    self._advance(claim, claim.offset)
                return outcome
        if verdict is Verdict.SPLIT:
            return Outcome(is_more=True)
        self._on_told(request_of(items))
        if claim is not None and not self._aside.has(piece.name):  # at once: who is killed before tells them again
            self._remove(folder, claim)
        return Outcome(others=count, is_more=True)

    def _try_again(self, piece: Piece, items: list[Item]) -> Verdict:
        """Send *piece*; if it is refused once more, it is its own fault when the endpoint has taken others."""
        verdict = self.delivery.send(items)
        if verdict is not Verdict.WAIT:
            return verdict
        if not self.delivery.may_take_others or self.delivery.arrivals == piece.arrivals:
            return Verdict.WAIT
        if len(items) > 1:
            return Verdict.SPLIT
        piece.refusals += 1
        if piece.refusals < _MOST_REFUSALS:
            return Verdict.WAIT
        if len(items[0].parts) > 1:
            return self.delivery.send_each(items[0])
        self._on_loss("rejected", sum(item.spans for item in items))
        return Verdict.DONE

    def _put_off(self, piece: Piece) -> None:
        piece.tries += 1
        piece.arrivals = self.delivery.arrivals
        piece.not_before = max(self.delivery.not_before, clock.monotonic() + backoff(piece.tries))

    # Of segments and of what is set aside

    def _advance(self, claim: Claim, offset: int) -> None:
        claim.advance(offset, self._aside.ranges_in(claim.name))

    def _send(self, name: str, items: list[Item], send: Callable[[list[Item]], Verdict]) -> Verdict:
        """Let *send* send *items* of the segment *name*, which count as sent until they are refused.

        So nobody takes them for lost who removes the segment, or ends the process, before their answer is there.
        """
        if name not in self._own():
            return send(items)
        spans = sum(item.spans for item in items)
        verdict = Verdict.WAIT
        self._sent[name] += spans
        try:
            verdict = send(items)
        finally:
            if verdict is not Verdict.DONE:
                self._sent[name] -= spans
        return verdict

    def _outcome(self, name: str, count: int) -> Outcome:
        if name not in self._own():
            return Outcome(others=count, is_more=True)
        return Outcome(own=count, is_more=True)

    def _release(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._claims.pop(name).release()
            self._items.pop(name, None)
            self._aside.forget(name)
            self._told.discard(name)

    def close(self) -> None:
        """Leave what is left to others."""
        self._release(self._claims)
        self.delivery.close()
