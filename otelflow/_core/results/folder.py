"""A folder of kept values: files that are replaced by one step, locks that go with their process, limits."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from otelflow._core.process import clock
from otelflow._core.process.files import WRITABLE_BY_OTHERS, Folder, OpenFile, StoredFile, lock, unlock
from otelflow._core.process.process import State
from otelflow._core.results.records import LARGEST_RECORD, MAGIC

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_LOCK: Final = re.compile(r"[0-9a-f]{64}\.lock")
_PART: Final = re.compile(r"\.[0-9a-f]{64}-[0-9a-f]{8}")
# A process looks at the whole folder at its first value, and then once in so many.
_WRITES_BETWEEN_LOOKS: Final = 256
_RECENT_SECONDS: Final = 60 * 60


class _Locks(State):
    """The files that this process has locked."""

    files: set[OpenFile]

    def reset(self) -> None:
        """Have locked none."""
        self.files = set()

    def begin_anew(self) -> None:
        """Leave the locks to the parent: they would outlive it here."""
        for file in self.files:
            with contextlib.suppress(OSError):
                file.close()
        self.files = set()


_locks: Final = _Locks()


class ResultFolder:
    """The folder at *path*; whatever is wrong with it is an OSError."""

    def __init__(self, path: Path, max_bytes: int | None, max_age: float | None) -> None:
        self.path: Final = path
        self._max_bytes: Final = max_bytes
        self._max_age: Final = max_age
        self._unpruned = 0

    def _open(self, *, is_made: bool) -> Folder:
        folder = Folder.reached(self.path, is_made=is_made)
        if sys.platform != "win32":
            status = folder.status()
            reason = "belongs to another user" if status.st_uid != os.geteuid() else ""
            if status.st_mode & WRITABLE_BY_OTHERS:
                reason = f"can be written by other users; run chmod 700 {self.path}"
            if reason:
                folder.close()
                raise PermissionError(f"the folder {self.path} {reason}")
        return folder

    def read(self, name: str) -> bytes | None:
        """Return the content of the file *name*, or None when there is none."""
        try:
            with self._open(is_made=False) as folder:
                return folder.read(name, LARGEST_RECORD)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Make or replace the file *name*."""
        with self._open(is_made=True) as folder:
            folder.write(name, content)
            if self._max_bytes is not None or self._max_age is not None:
                if self._unpruned % _WRITES_BETWEEN_LOOKS == 0:
                    self._prune(folder)
                self._unpruned += 1

    def acquire(self, name: str) -> Callable[[], None] | None:
        """Return a function that gives the lock of *name* back, or None while another has it."""
        lock_name = f"{name}.lock"
        with self._open(is_made=True) as folder:
            file = OpenFile(folder.open(lock_name, os.O_RDWR | os.O_CREAT))
            try:
                # Its last owner may have just removed it, and another made it anew.
                if lock(file.descriptor) is False or not file.has_name_in(folder, lock_name):
                    file.close()
                    return None
            except BaseException:
                file.close()
                raise
        _locks.files.add(file)
        process_id = os.getpid()

        def release() -> None:
            if os.getpid() != process_id or file not in _locks.files:
                return  # a forked child: it has let go of the lock
            _locks.files.discard(file)
            if file.status() is None:  # the program has closed it: another may have it
                return
            try:
                with self._open(is_made=False) as folder:
                    folder.remove(lock_name)  # before it is free: nobody else can have it
            finally:
                file.close(is_unlocked=True)

        return release

    def forget(self, is_meant: Callable[[StoredFile, bytes], bool]) -> int:
        """Remove the values for which *is_meant* says so, told the file and its content; return how many."""
        count = 0
        try:
            with self._open(is_made=False) as folder:
                for file in _values(folder):
                    with contextlib.suppress(OSError):
                        content = folder.read(file.name, LARGEST_RECORD)
                        if content.startswith(MAGIC) and is_meant(file, content):
                            count += folder.remove(file.name)
        except FileNotFoundError:
            return 0
        return count

    def _prune(self, folder: Folder) -> None:
        """Remove values that are too old, then the oldest until the rest fits, and leftovers of lost processes."""
        now = clock.time()
        for name in folder.names():
            if _LOCK.fullmatch(name) or _PART.fullmatch(name):
                file = folder.file(name)
                if file is not None and now - file.modified > _RECENT_SECONDS:
                    _remove_unlocked(folder, name)
        files = sorted(_values(folder), key=lambda file: file.modified)
        left = sum(file.size for file in files)
        for file in files:
            is_old = self._max_age is not None and now - file.modified > self._max_age
            if not is_old and (self._max_bytes is None or left <= self._max_bytes):
                break
            if _is_own(folder, file.name) and folder.remove(file.name):
                left -= file.size


def _values(folder: Folder) -> Iterator[StoredFile]:
    files = (folder.file(name) for name in folder.names() if _NAME.fullmatch(name))
    return (file for file in files if file is not None)


def _is_own(folder: Folder, name: str) -> bool:
    try:
        return folder.read(name, len(MAGIC)) == MAGIC
    except OSError:
        return False


def _remove_unlocked(folder: Folder, name: str) -> None:
    try:
        descriptor = folder.open(name, os.O_RDWR)
    except OSError:
        return
    try:
        if lock(descriptor):
            folder.remove(name)
            unlock(descriptor)
    finally:
        os.close(descriptor)
