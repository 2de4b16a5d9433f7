"""Keep the store within its limits, and never take a segment from a process that is writing it."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.records import SUFFIX

if sys.platform != "win32":
    import fcntl

PAYLOADS: Final = "payloads"


class StoredFile(NamedTuple):
    """One file of the store."""

    path: Path
    size: int
    modified: float


def segment_files(directory: Path) -> list[StoredFile]:
    """Return the segments, the one that was written last first."""
    return sorted(_files(directory, SUFFIX), key=lambda file: file.modified, reverse=True)


def payload_files(directory: Path) -> list[StoredFile]:
    """Return the payloads that are kept whole, and what is left of those that were cut short."""
    try:
        return list(_files(directory / PAYLOADS))
    except (FileNotFoundError, NotADirectoryError):
        return []


def prune(directory: Path, limits: Limits, *, room: int = 0) -> int:
    """Remove what is too old, then what is oldest until *room* more bytes fit; return the bytes that are left."""
    files = [*segment_files(directory), *payload_files(directory)]
    files.sort(key=lambda file: file.modified)
    left = sum(file.size for file in files)
    oldest = time.time() - limits.max_age.total_seconds()
    for file in files:
        if file.modified >= oldest and left + room <= limits.max_bytes:
            break
        if remove(file.path):
            left -= file.size
    return left


def remove(path: Path) -> bool:
    """Remove one file of the store unless a live process is writing it; return whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not _is_live(path, descriptor):
            # Windows refuses to unlink what anyone has open, this function included.
            if sys.platform == "win32":
                os.close(descriptor)
                descriptor = -1
            path.unlink(missing_ok=True)
            return True
    except OSError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return False


def hold(descriptor: int) -> bool:
    """Mark an open segment as being written; the mark goes with the process, however that ends."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: readers look at the process id instead
    return True


def _is_live(path: Path, descriptor: int) -> bool:
    if sys.platform == "win32" or path.suffix != SUFFIX:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return _is_running(path)
    return False


def _is_running(path: Path) -> bool:
    """Ask for the process that a segment's name carries; in doubt it lives."""
    try:
        os.kill(int(path.stem.split("-")[1]), 0)
    except (IndexError, ValueError, ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _files(directory: Path, suffix: str = "") -> Iterator[StoredFile]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.endswith(suffix):
                continue
            # Another process may have removed it since.
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield StoredFile(Path(entry.path), status.st_size, status.st_mtime)
