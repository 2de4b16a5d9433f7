"""A spool: what is encoded already waits in files, or in memory, until it has arrived."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from otelflow._core.process import clock, forks, shutdown
from otelflow._core.process.environment import positive_integer
from otelflow._core.process.files import Folder, StoredFile
from otelflow._core.process.ledger import Account
from otelflow._core.process.worker import Worker
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.sender import Sender, new_sender
from otelflow_exporters._spool.answers import Answers
from otelflow_exporters._spool.batches import CLOSED
from otelflow_exporters._spool.claims import is_under_way, remove_mark, take_vanished
from otelflow_exporters._spool.compacting import Compactor
from otelflow_exporters._spool.deferred import DeferredCalls, call_logged
from otelflow_exporters._spool.destination import destination_of
from otelflow_exporters._spool.last_delivery import deliver_last
from otelflow_exporters._spool.leftovers import remove_old
from otelflow_exporters._spool.memory import Memory
from otelflow_exporters._spool.removals import tell_writer, unsent_in
from otelflow_exporters._spool.shipper import Shipper, look
from otelflow_exporters._spool.signals import Signal
from otelflow_exporters._spool.warnings import Warnings
from otelflow_exporters._store.limits import Limits, absolute
from otelflow_exporters._store.records import LARGEST_RECORD, framed
from otelflow_exporters._store.writer import SegmentWriter

# How often the time of a segment shows that its process is alive
_SIGN_SECONDS: Final = 1.0
_LONG_SECONDS: Final = 60.0
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LARGEST_BODY: Final = LARGEST_RECORD - 16  # the rest is the record's length and checksum


class Spool:
    """Keeps items of one *signal*, and sends them to the endpoint of the ``OTEL_EXPORTER_OTLP_*`` variables.

    *directory* is None for one in memory. *owner* is whose account it is. *first_records* are what each segment begins
    with. *tidy* is called before each look at what waits, on the worker's thread; *on_told* as by ``Shipper``.
    Raises ConfigurationError.
    """

    def __init__(
        self,
        signal: Signal,
        directory: str | os.PathLike[str] | None,
        *,
        owner: object,
        max_bytes: int | None = None,
        exporter: str = "otlp",
        is_shipped: bool = True,
        on_loss: Callable[[str, int], object] | None = None,
        on_told: Callable[[bytes], object] = bool,  # which does nothing
        first_records: Callable[[], Iterable[bytes]] = tuple,
        tidy: Callable[[], object] = bool,  # which does nothing
    ) -> None:
        if directory is None and not is_shipped:
            raise ConfigurationError(f"{type(owner).__name__}(): another process can ship from a directory only")
        self.directory = None if directory is None else absolute(directory, "directory")
        self._folder = self.directory or Path()
        self._signal, self._owner = signal, type(owner).__name__
        self._on_loss, self._on_told, self._own_tidy = on_loss, on_told, tidy
        self._sender: Sender | None = new_sender(signal.name, exporter) if is_shipped else None
        self._check = destination_of(signal.name, exporter).check if is_shipped else bool
        self.writer = SegmentWriter(
            self._folder,
            Limits() if max_bytes is None else Limits(max_bytes),
            kind="spool",
            first_records=lambda: [*signal.first_records, *first_records()],
            last_record=CLOSED,
            on_removal=self._count_removed,
            is_pruned_by_owner=True,
            check=self._check,
        )
        self._batch_size = positive_integer(signal.batch, 512) if signal.batch else 1
        self._shipper = None if self._sender is None else self._new_shipper(self._sender)
        delay = positive_integer(signal.delay, 5_000) / 1_000 if signal.delay else _SIGN_SECONDS
        self.worker = Worker(self._ship, interval=min(_SIGN_SECONDS, delay), is_due=self._is_due)
        self._answers = Answers(self.directory)
        self._lock = self.writer.lock  # with one of its own, a signal handler could take both in another order
        self.deferred = DeferredCalls(self._lock)
        self._warnings = Warnings(signal, self.directory, self._sender, self.deferred.warn)
        self.begin_anew()
        forks.begin_anew(self, Spool.begin_anew)
        shutdown.deliver_before_child_ends(self, Spool.shutdown)

    def _new_shipper(self, sender: Sender) -> Shipper:
        return Shipper(
            self.directory,
            sender,
            batch_size=self._batch_size,
            on_loss=self._count_loss,
            own=lambda: self.writer.segments,
            check=self._check,
            on_told=lambda traces: call_logged(self._on_told, traces),
            signal=self._signal,
        )

    def _is_due(self) -> bool:
        not_before = self._shipper.delivery.not_before if self._shipper is not None else 0.0
        is_time = clock.monotonic() >= max(self._idle_until, not_before)
        return self.writer.is_prune_due or (self.waiting >= self._due_size and is_time)

    def begin_anew(self) -> None:
        """Begin with nothing; in a forked child, what the parent has is the parent's."""
        self.dropped: Counter[str] = Counter()
        self._unwritten = 0  # items of this process that are in no file: kept in memory, or lost at once
        self._done = 0  # items of this process that need not be sent any more
        self._lost: Counter[str] = Counter()  # those of them that will not arrive
        self.deferred.clear()
        self._memory = Memory(self._signal, self._lock)
        self._compactor = Compactor(self._signal, self.writer.pruning)
        self._is_answer_noted = self.is_shut_down = self._is_settled = self.worker.is_closed = False
        self._due_size = self._batch_size  # so many of this process are sent at once, fewer after a moment
        self._idle_until = self._early_until = self._next_tidying = self._again = 0.0
        self._failure: OSError | None = None  # of the folder, which is tried again then

    @property
    def waiting(self) -> int:
        """How many items of this process wait to be sent."""
        return self.writer.spans + self._unwritten - self._done

    @property
    def account(self) -> Account:
        """What has become of the items of this process."""
        with self._lock:
            dropped = dict(+self._lost)
            total, delivered = self.writer.spans + self._unwritten, self._done - sum(dropped.values())
            return Account(self._signal.name, self._owner, total, delivered, dropped)

    # On the program's threads

    def encoded(self, encode: Callable[..., bytes], *item: object) -> bytes:
        """Return the bytes that are to be kept of *item*, empty if it is lost, which is counted."""
        if self.is_shut_down:
            self._lose_at_once("after_shutdown")
            return b""
        try:
            body = encode(*item)
        except BaseException as error:  # what an item of any program holds
            if not isinstance(error, Exception) or comes_from_outside(error):
                self._lose_at_once("interrupted")
                raise
            self._lose_at_once("encoding_failed", error)
            return b""
        if len(body) > _LARGEST_BODY:
            self._lose_at_once("too_large")
            return b""
        return body

    def keep(self, body: bytes) -> None:
        """Write what ``encoded()`` has returned."""
        if not body:
            return
        with self._lock:
            spans = self.writer.spans
            try:
                if self.directory is None:
                    self._keep_in_memory(body)
                else:
                    self.write(framed(body), 1)
            except BaseException as error:
                if isinstance(error, OSError) and not comes_from_outside(error):  # a time limit is one, too
                    self._keep_in_memory(body, error)
                    return
                if self.directory is not None and self.writer.spans == spans:  # Ctrl-C came before it was there
                    self._lose_at_once("interrupted")
                raise

    def write(self, record: bytes, items: int = 0) -> None:
        """Write *record*, with so many *items*, to a file. Raises OSError, also soon after the folder has failed."""
        if self._failure is not None and clock.monotonic() < self._again:
            raise self._failure
        try:
            self.writer.append(record, items)
            self._failure = None
        except OSError as error:
            # To look at a folder that is none takes longer than all the rest; a disk is found full at once.
            if error.errno not in _NO_ROOM and not comes_from_outside(error):
                self._failure, self._again = error.with_traceback(None), clock.monotonic() + _SIGN_SECONDS
            raise

    def send_soon(self) -> None:
        """Let it be sent when a batch is there, or after a moment; tell what was lost. Not to be called locked."""
        self.deferred.tell()
        worker = self.worker
        if worker.thread is None and not self.is_shut_down:
            worker.start_thread()
        elif self.waiting == self._batch_size or self.writer.is_prune_due:
            with worker.lock:
                worker.changed.notify_all()

    def force_flush(self, timeout_millis: int) -> bool:
        """Send what waits; return False if that took longer, or if the endpoint took it not."""
        if self._shipper is None:
            return True
        # A host's provider asks when a child leaves, too: the spool's own end follows, and waits for nobody silent.
        if self.is_shut_down or shutdown.is_child_leaving() or self.deferred.is_locked_here:
            return not self.waiting
        seconds, worker = timeout_millis / 1_000, self.worker
        has_thread = worker.thread is not None or worker.start_thread()
        is_done = worker.flush(seconds) if has_thread else worker.work_here(clock.monotonic() + seconds)
        return is_done and not self._shipper.failure and not self._memory

    def shutdown(self) -> None:
        """Send what waits as long as the endpoint takes it; the rest stays in the spool for others."""
        if self.is_shut_down:
            return
        self.is_shut_down = True
        self.writer.close()
        is_locked_here, shipper, worker = self.deferred.is_locked_here, self._shipper, self.worker
        if shipper is None:
            worker.close_soon() if is_locked_here else worker.close()
            self._settle()
            return
        is_done = False
        try:
            with shutdown.waiting():
                is_done = not is_locked_here and deliver_last(worker, shipper, self._answers, lambda: self.waiting)
        finally:
            if not is_done:  # also after Ctrl-C; the thread ends after the request that is on its way
                self._early_until = float("inf")
                worker.close_soon()
                self._settle()
        if is_done:
            self._is_settled = True
            worker.close()
            if self._memory:  # another thread was about to end something
                self._settle()
            shipper.close()
            self.writer.is_watched = False
            return
        if self.waiting and self.directory is not None:
            self._warnings.left(self.waiting, shipper.failure)
        self.deferred.tell()

    def _settle(self) -> None:
        """Write to the folder what is left in memory, for others to send; what is in none of both then is lost."""
        self._is_settled, self._again = True, 0.0  # there is no later
        if self._memory:
            self._memory.take_back()
            self._write_back(is_last=True)
            self.writer.close()
            if count := self._memory.give_up():
                self._lose("shutdown", count)
        sent_of = (lambda _: None) if self._shipper is None else self._shipper.sent_of
        with self._lock:  # the thread with what is under way may settle at the same time
            count = 0 if self.directory is None else take_vanished(self._folder, self.writer.segments, sent_of)
        if count:
            self._lose("vanished", count)
        self.writer.is_watched = False
        self.deferred.tell()

    def _write_back(self, *, is_last: bool = False) -> None:
        """Write to the folder what waits in memory, as far as there is room again."""
        while self._memory and self.directory is not None:
            with self._lock:
                if self.is_shut_down and not is_last:
                    return  # it would begin a segment that nobody closes
                spans = self.writer.spans
                try:
                    if not self._memory.move_first(lambda body: self.write(framed(body), 1), self.writer):
                        return
                finally:
                    self._unwritten -= self.writer.spans - spans

    def _keep_in_memory(self, body: bytes, error: Exception | None = None) -> None:  # locked
        self._unwritten += 1
        if surplus := self._memory.add(body):
            self._lose("spool_full", surplus)
        if error is not None:
            self._warnings.memory_is_used(error)
        if self._is_settled:  # meanwhile, by a signal handler or a thread: nobody looks into memory any more
            self._settle()

    def _lose(self, reason: str, count: int, error: Exception | None = None) -> None:
        """Count items of this process that will not arrive."""
        with self._lock:
            self._done += count
            self._lost[reason] += count
        self._count_loss(reason, count, error)

    def _lose_at_once(self, reason: str, error: Exception | None = None) -> None:
        """Count an item of this process that is kept nowhere."""
        with self._lock:
            self._unwritten += 1
        self._lose(reason, 1, error)

    def _count_loss(self, reason: str, count: int, error: Exception | None = None) -> None:
        with self._lock:
            is_first = not self.dropped[reason]
            self.dropped[reason] += count
        if self._on_loss is not None:
            self.deferred.add(self._on_loss, reason, count)
        if is_first:
            self._warnings.are_lost(reason, error)

    def _count_removed(self, folder: Folder, file: StoredFile) -> bool:
        """Count the items of a segment that must make room before they have arrived; False while some are under way."""
        sent = None if self._shipper is None else self._shipper.sent_of(file.name)
        own = self.writer.segments.get(file.name)
        is_free = not is_under_way(folder, file.name)
        count = unsent_in(folder, file, self._signal.read, own=own, sent=sent) if is_free else None
        if count is None:
            return is_free
        # Counted later: the lock is the writing program's most of the time, and this wait would hold that up.
        if self.writer.segments.pop(file.name, None) is not None:
            remove_mark(folder, file.name)
            self.deferred.add(self._lose, "spool_full", count)
        elif not tell_writer(folder, file.name, count) and count:
            self.deferred.add(self._count_loss, "spool_full", count)
        return True

    # On the worker's thread

    def _ship(self) -> bool:
        """Send one batch, if there is anything to send; tell whether more may be left."""
        was_settled = self._is_settled
        try:
            self._tidy()
            self._due_size = self._batch_size
            self._idle_until = clock.monotonic() + _SIGN_SECONDS  # unless something happens: others may send it
            return not self._is_left_alone() and self._ship_batch()
        finally:
            if self._is_settled and not was_settled:  # while this was under way: now it has arrived, or has not
                self._settle()
            self._warnings.endpoint_says()
            self.deferred.tell()

    def _is_left_alone(self) -> bool:
        """Tell whether the endpoint is not to be asked now, as nobody waits for that; at the end, let go of it."""
        is_asked_for = self.worker.is_behind and not self.is_shut_down
        if self._shipper is None or is_asked_for or clock.monotonic() >= self._early_until:
            return False
        if self.worker.is_closed:
            self._shipper.close()
        return True

    def _ship_batch(self) -> bool:
        if self._shipper is not None and self._memory and self._ship_memory(self._shipper):
            return True
        refused = self.dropped["rejected"]
        try:
            outcome = look(self._folder, self.writer.segments) if self._shipper is None else self._shipper.ship()
        except OSError:  # of the folder: writing to it fails, too, and says why
            return False
        except Exception as error:  # noqa: BLE001 it is said, and what waits is not lost
            if self._shipper is not None:
                self._shipper.delivery.not_before = clock.monotonic() + _LONG_SECONDS
            self.deferred.warn("The spool %s could not be read further; it is tried again", self.directory, error=error)
            return False
        with self._lock:
            self._done += outcome.own
            if outcome.own:  # and so what was rejected in this step is this process's own
                self._lost["rejected"] += self.dropped["rejected"] - refused
        if outcome.vanished:
            self._lose("vanished", outcome.vanished)
        if self._shipper is not None and self._shipper.delivery.arrivals and not self._is_answer_noted:
            self._is_answer_noted, self._early_until = True, 0.0
            self._answers.note(has_answered=True)
        # Of what others have left there may be very much; what is new here may wait for a batch.
        self._due_size = 0 if self._shipper is not None and self._shipper.has_others else self._batch_size
        if outcome.is_more:
            self._idle_until = 0.0
        elif self._shipper is not None and self.worker.is_closed:
            self._shipper.close()
        return outcome.is_more

    def _tidy(self) -> None:
        """Write what waits in memory, and remove what is too old."""
        self.writer.leave_wrong_folder()
        self._write_back()
        self._own_tidy()
        if self.writer.is_prune_due:
            self._compactor.make_room(self.directory, self.writer.limits.max_bytes // 2)
            self.writer.prune()
        if clock.monotonic() >= self._next_tidying:
            # An earlier program ended before the endpoint answered: one that is as short leaves all to a later one.
            if not self._next_tidying and self._answers.expected() is False:
                self._early_until = clock.monotonic() + _SIGN_SECONDS
            self._next_tidying = clock.monotonic() + 60 * _LONG_SECONDS
            if self.directory is not None:
                remove_old(self.directory, self._count_removed)
                self._warnings.stranded_beside(self.directory)

    def _ship_memory(self, shipper: Shipper) -> bool:
        refused = self.dropped["rejected"]
        count = self._memory.send(shipper.delivery, self._batch_size)
        with self._lock:
            self._done += count
            self._lost["rejected"] += self.dropped["rejected"] - refused
        not_before = max(shipper.delivery.not_before, shipper.delivery.records_not_before)
        return count > 0 or (len(self._memory) > 0 and clock.monotonic() >= not_before)
