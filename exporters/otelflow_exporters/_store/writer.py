"""Append records to the segment that this process owns."""

import contextlib
import errno
import os
import secrets
import sys
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from otelflow._core.process import clock, forks
from otelflow._core.process.files import Folder, OpenFile, StoredFile, hold, largest_file
from otelflow._core.process.process import State
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import StoreUnreadable
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import PROGRESS, UNFINISHED, open_store, segment_files
from otelflow_exporters._store.pruning import live_among, prune


class _Writers(State):
    """The writers of this process."""

    every: "weakref.WeakSet[SegmentWriter]"

    def reset(self) -> None:
        """Know of none."""
        self.every = weakref.WeakSet()


_lock: Final = forks.new_lock()
_writers: Final = _Writers()


def is_written_here(name: str) -> bool:
    """Tell whether the segment *name* is of a writer of this process."""
    with _lock:  # of an object that another thread adds meanwhile, the set would complain
        writers = list(_writers.every)
    return any(name in writer.segments for writer in writers)


def is_watched_here(name: str) -> bool:
    """Tell whether the segment *name* is of a writer of this process whose owner looks what becomes of it."""
    with _lock:
        writers = list(_writers.every)
    return any(writer.is_watched and name in writer.segments for writer in writers)


class SegmentWriter:
    """Writes each record with one call to a segment of its own, and goes on after fork, deletion and a full disk.

    *kind* is what errors call its folder. *first_records* returns what each segment begins with, *last_record* is what
    it ends with, unless its process is lost. *on_removal* is called with each segment that must make room for others,
    and returns whether it may go. With *is_pruned_by_owner* the owner calls ``prune()`` when ``is_prune_due``, on a
    thread that nobody waits for; room for the next segment is then made with it. If that comes before, the writer
    prunes itself. *check* raises StoreUnreadable for a folder that is not the right one.
    """

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        *,
        kind: str = "store",
        first_records: Callable[[], Iterable[bytes]] = tuple,
        last_record: bytes = b"",
        on_removal: Callable[[Folder, StoredFile], bool] | None = None,
        is_pruned_by_owner: bool = False,
        check: Callable[[Folder], object] = bool,  # which does nothing
    ) -> None:
        self._check = check
        self._is_pruned_by_owner = is_pruned_by_owner
        #: Held by the thread that makes room
        self.pruning = forks.new_lock()
        self._has_room = False  # for the next segment, since it was last pruned
        self.is_prune_due = False
        self._directory = directory
        self.limits = limits
        self._kind = kind
        self._first_records = first_records
        self._last_record = last_record
        self._on_removal = on_removal
        #: How many spans it has written, into which segment
        self.segments: dict[str, int] = {}
        #: How many spans it has written in all
        self.spans = 0
        self._name = ""
        self.dropped = 0
        self._segment_bytes = limits.segment_bytes
        self._segment_seconds = limits.segment_age.total_seconds()
        #: Whether its owner looks what becomes of its segments
        self.is_watched = True
        #: Re-entrant, because a signal handler of the program may end a span while one is being written
        self.lock = forks.new_lock()
        self._file: OpenFile | None = None
        self._is_held = False
        self._opened = 0.0
        self._size = 0
        self._first_size = 0
        self._most = self._largest = 0
        forks.begin_anew(self, SegmentWriter.begin_anew)
        with _lock:
            _writers.every.add(self)

    def append(self, record: bytes, spans: int = 0) -> None:
        """Write one record, with so many *spans*, whole or not at all; raise OSError when that is impossible."""
        length = len(record)
        with self.lock:
            name, segments, file = self._name, self.segments, self._file
            if (
                file is None
                or name not in segments  # its owner has given it up
                or (self._size + length > self._most and self._size > self._first_size)
                or clock.monotonic() - self._opened > self._segment_seconds
                or not self._is_in_place(file)
            ):
                file = self._open(length)
                name = self._name
            descriptor = file.descriptor
            interruption: BaseException | None = None
            try:
                written = os.write(descriptor, record)
                while written < length:
                    written += os.write(descriptor, memoryview(record)[written:])
            except BaseException as error:
                if not self._is_whole(descriptor, length):
                    if not self._is_full(error):
                        raise
                    self.append(record, spans)
                    return
                interruption = error  # such as Ctrl-C, which came when everything was there
            # Nothing is called until it is counted, so that no signal handler comes in between.
            if spans:
                self.spans += spans
                # Its owner may have given up a segment meanwhile that somebody has deleted.
                segments[name] = segments[name] + spans if name in segments else spans
            if name == self._name:
                self._size += length
            if interruption is not None:
                raise interruption

    def _is_whole(self, descriptor: int, length: int) -> bool:
        """Tell whether the interrupted write left a whole record; half of one is cut off."""
        try:
            if os.fstat(descriptor).st_size >= self._size + length:
                return True
            os.ftruncate(descriptor, self._size)
        except OSError:  # it cannot be taken back, and stays behind in its segment
            self.close()
        return False

    def _is_full(self, error: BaseException) -> bool:
        """Tell whether *error* says that a file may not be larger here (RLIMIT_FSIZE), so that another one has room."""
        if not isinstance(error, OSError) or error.errno != errno.EFBIG or comes_from_outside(error):
            return False
        self._most = 0
        return self._size > self._first_size

    def count_dropped(self, count: int) -> bool:
        """Count lost spans; return whether they are the first."""
        with self.lock:
            is_first = self.dropped == 0
            self.dropped += count
        return is_first

    def close(self) -> None:
        """Finish the current segment, if there is one."""
        with self.lock:
            earlier, self._file = self._file, None
            self._finish(earlier)

    def _finish(self, file: OpenFile | None) -> None:
        if file is None:
            return
        if self._last_record and file.status() is not None:
            with contextlib.suppress(OSError):
                os.write(file.descriptor, self._last_record)
        file.close()

    def touch(self) -> None:
        """Show that this process is alive, by the time of its segment."""
        with self.lock, contextlib.suppress(OSError):
            if self._file is not None and self._file.status() is not None and os.utime in os.supports_fd:
                os.utime(self._file.descriptor)

    def leave_wrong_folder(self) -> None:
        """Let the next record begin a segment if this one's folder was moved, or is not to be used any more."""
        file, name = self._file, self._name
        if file is None:
            return
        try:
            with open_store(self._directory, kind=self._kind) as store:
                self._check(store)
                is_right = file.has_name_in(store, name)
        except FileNotFoundError:
            is_right = False
        except StoreUnreadable as error:
            # Whatever the system says, such as that too many files are open, may be another one's matter.
            is_right = error.__cause__ is not None and not isinstance(error.__cause__, NotADirectoryError)
        except OSError:
            return
        with self.lock:
            if not is_right and self._file is file and self._name == name:
                self.close()

    def _is_in_place(self, file: OpenFile) -> bool:
        """Tell whether *file* is open still, and in its folder: the store may have been deleted meanwhile."""
        status = file.status()
        if status is None or not status.st_nlink:
            return False
        if not self._is_held:
            self._is_held = hold(file.descriptor)
        return True

    def _open(self, length: int) -> OpenFile:
        now = datetime.fromtimestamp(clock.time(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        name = f"{now}-{os.getpid()}-{secrets.token_hex(4)}.otlp"
        with open_store(self._directory, is_made=True, kind=self._kind) as store:
            self._check(store)
            first = b"".join(self._first_records())
            size, opened = len(first), clock.monotonic()
            # It is locked before others can see it: unlocked, it would look like that of a lost process.
            # Windows has no locks, and renames no open file.
            first_name = name if sys.platform == "win32" else UNFINISHED + name
            descriptor = store.open(first_name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
            try:
                is_held = hold(descriptor)
                remaining = memoryview(first)
                while remaining:
                    remaining = remaining[os.write(descriptor, remaining) :]
                if self._kind == "spool":  # whoever sends needs it: later there may be no room for it, not even to send
                    os.close(store.open(name + PROGRESS, os.O_WRONLY | os.O_CREAT))
                if first_name != name:
                    store.rename(first_name, name)
                file = OpenFile(descriptor)
            except BaseException:
                os.close(descriptor)
                for part in (first_name, name, name + PROGRESS):  # Ctrl-C may come when it has its name
                    store.remove(part)
                raise
            # No function is called before it is in use, so that no signal handler comes in between.
            earlier, self._file = self._file, file
            self._is_held, self._name, self._opened = is_held, name, opened
            self._size = self._first_size = size
            self.segments[name] = 0
            self._largest = largest_file() - len(self._last_record)
            # At least twice its first records: to write those again for each segment must not become most of the work.
            self._most = min(max(self._segment_bytes, 2 * size), self._largest)
            # Only now: if the process is lost before, the earlier segment tells what it was doing.
            self._finish(earlier)
            room = max(0, length - self._segment_bytes)
            if self._has_room and not room:
                self._has_room = False
                self.is_prune_due = True
                return file
            # After the segment is made and held: of two processes that begin one at once, the later counts both.
            self._prune(store, room)
            return file

    def prune(self) -> None:
        """Make room for the next segment."""
        self.is_prune_due = False
        with contextlib.suppress(OSError), open_store(self._directory, kind=self._kind) as store:
            self._prune(store, 0)

    def _prune(self, store: Folder, room: int) -> None:
        if not self.pruning.acquire(blocking=False):  # another thread does it: nobody waits for that
            self.is_prune_due = True
            return
        try:
            self._has_room = self._is_pruned_by_owner
            # Old files that cannot be removed are no reason to lose a new record.
            with contextlib.suppress(OSError):
                writers = len(live_among(store, segment_files(store), self._name))
                self._segment_bytes = self.limits.segment_share(writers)
                self._most = min(max(self._segment_bytes, 2 * self._first_size), self._largest)
                room += self._segment_bytes if self._has_room else 0
                prune(store, self.limits, room=room, own_name=self._name, on_removal=self._on_removal)
        finally:
            self.pruning.release()

    def begin_anew(self) -> None:
        """Leave the parent's segment to the parent; called in a forked child."""
        # Closing the child's copy leaves the parent's mark on the segment in place.
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file = None
        self.segments = {}
        self.is_watched = True
        self.spans = self.dropped = 0
        self._has_room = self.is_prune_due = False
