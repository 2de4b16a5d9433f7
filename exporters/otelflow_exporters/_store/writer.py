"""Append records to the segment that this process owns."""

import contextlib
import os
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from otelflow._core.process import forks
from otelflow._core.process.files import hold
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store
from otelflow_exporters._store.pruning import prune


class SegmentWriter:
    """Writes each record with one call to a segment of its own, and goes on after fork, deletion and a full disk."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._directory = directory
        self._limits = limits
        self.dropped = 0
        self.segments = 0
        # Re-entrant, because a signal handler of the program may end a span while one is being written.
        self._lock = forks.new_lock()
        self._descriptor = -1
        self._is_held = False
        self._opened = 0.0
        self._size = 0
        forks.begin_anew(self, SegmentWriter.begin_anew)

    def append(self, record: bytes) -> None:
        """Write one record, whole or not at all; raise OSError when that is impossible."""
        with self._lock:
            if not self._has_room_for(len(record)):
                self.close()
                self._open(len(record))
            remaining = memoryview(record)
            try:
                while remaining:
                    remaining = remaining[os.write(self._descriptor, remaining) :]
            except BaseException:
                # Half of the record still fitted. Where it cannot be taken back, it stays behind in its segment.
                try:
                    os.ftruncate(self._descriptor, self._size)
                except OSError:
                    self.close()
                raise
            self._size += len(record)

    def count_dropped(self, count: int) -> bool:
        """Count lost spans; return whether they are the first."""
        with self._lock:
            is_first = self.dropped == 0
            self.dropped += count
        return is_first

    def close(self) -> None:
        """Finish the current segment, if there is one."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def _has_room_for(self, length: int) -> bool:
        if self._descriptor < 0:
            return False
        if self._size and self._size + length > self._limits.segment_bytes:
            return False
        if time.monotonic() - self._opened > self._limits.segment_age.total_seconds():
            return False
        if not self._is_held:
            self._is_held = hold(self._descriptor)
        # The store may have been deleted while the program runs.
        return os.fstat(self._descriptor).st_nlink > 0

    def _open(self, length: int) -> None:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        name = f"{now}-{os.getpid()}-{secrets.token_hex(4)}.otlp"
        with open_store(self._directory, is_made=True) as store:
            self._descriptor = store.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
            self._is_held = hold(self._descriptor)
            self._opened = time.monotonic()
            self.segments += 1
            self._size = 0
            # After the segment is made and held: of two processes that begin one at once, the later counts both.
            # Old files that cannot be removed are no reason to lose a new record.
            with contextlib.suppress(OSError):
                prune(store, self._limits, room=max(0, length - self._limits.segment_bytes), own=name)

    def begin_anew(self) -> None:
        """Leave the parent's segment to the parent; called in a forked child."""
        # Closing the child's copy leaves the parent's mark on the segment in place.
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1
        self.dropped = 0
