"""Append records to the segment that this process owns."""

import contextlib
import os
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from otelflow._core.process import forks
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.pruning import hold, prune
from otelflow_exporters._store.records import SUFFIX


class SegmentWriter:
    """Writes each record with one call to a segment of its own, and goes on after fork, deletion and a full disk."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._directory = directory
        self._limits = limits
        self.dropped = 0
        self._lock = forks.new_lock()
        self._descriptor = -1
        self._is_held = False
        self._opened = 0.0
        self._size = 0
        forks.begin_anew(self, SegmentWriter._after_fork)

    def append(self, record: bytes) -> None:
        """Write one record, whole or not at all; raise OSError when that is impossible."""
        # Reentrant, because a signal handler of the program may end a span while one is being written.
        with self._lock:
            if not self._can_take(len(record)):
                self.close()
                self._open()
            self._write(record)

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

    def _can_take(self, length: int) -> bool:
        if self._descriptor < 0:
            return False
        if self._size and self._size + length > self._limits.segment_bytes:
            return False
        if time.monotonic() - self._opened > self._limits.segment_age.total_seconds():
            return False
        if not self._is_held:
            self._is_held = hold(self._descriptor)
        # Somebody may have deleted the store while the program runs.
        return os.fstat(self._descriptor).st_nlink > 0

    def _open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Old files that cannot be removed are no reason to lose a new record.
        with contextlib.suppress(OSError):
            prune(self._directory, self._limits, room=self._limits.segment_bytes)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        path = self._directory / f"{now}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o600)
        self._is_held = hold(self._descriptor)
        self._opened = time.monotonic()
        self._size = 0

    def _write(self, record: bytes) -> None:
        remaining = memoryview(record)
        try:
            while remaining:
                remaining = remaining[os.write(self._descriptor, remaining) :]
        except BaseException:
            self._take_back()
            raise
        self._size += len(record)

    def _take_back(self) -> None:
        """Remove the half of a record that still fitted; where that fails too, leave it behind in its segment."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self.close()

    def _after_fork(self) -> None:
        # Closing the child's copy leaves the parent's mark on the segment in place.
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1
        self.dropped = 0
