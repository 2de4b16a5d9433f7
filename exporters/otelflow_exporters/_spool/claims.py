"""Who ships which segment, and how far it has been shipped: a small file beside it, locked by the one that ships it.

The lock goes with its process, however that ends, so that a segment is never left to nobody, nor sent by two.
"""

import contextlib
import os
from typing import Final

from otelflow._core.process.files import Folder, StoredFile, is_running, lock
from otelflow_exporters._store.ownership import writer_of

SUFFIX: Final = ".sent"
_DIGITS: Final = 20


class Claim:
    """The right to ship the segment *name*; ``offset`` is where the part of it begins that has not arrived yet."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor
        text = os.pread(descriptor, _DIGITS, 0)
        self.offset = int(text) if text.isdigit() else 0

    def advance(self, offset: int) -> None:
        """Remember that everything before *offset* has arrived, or will never arrive."""
        self.offset = offset
        with contextlib.suppress(OSError):  # a full disk: after a restart some of it is sent again
            os.pwrite(self._descriptor, str(offset).zfill(_DIGITS).encode(), 0)

    def remove(self, folder: Folder) -> None:
        """Remove the segment from *folder*: nothing is left to be done with it."""
        folder.remove(self.name)
        folder.remove(self.name + SUFFIX)
        self.release()

    def release(self) -> None:
        """Leave the segment to others."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def claim(folder: Folder, file: StoredFile) -> Claim | None:
    """Return the right to ship the segment *file*, or None while another process or sender has it."""
    name = file.name + SUFFIX
    try:
        descriptor = folder.open(name, os.O_RDWR | os.O_CREAT)
    except OSError:
        return None
    is_locked = lock(descriptor)
    if (
        is_locked is None
    ):  # a file system without locks: only the process that writes a segment ships it, while it lives
        writer = writer_of(file.name)
        is_locked = writer == os.getpid() or not is_running(writer)
    if is_locked and folder.file(file.name) is not None:
        try:
            return Claim(file.name, descriptor)
        except OSError:
            is_locked = False
    elif is_locked:  # it was shipped, and removed, after it had been listed
        folder.remove(name)
    os.close(descriptor)
    return None


def offset_of(folder: Folder, file: StoredFile) -> int:
    """Return how far the segment *file* has been shipped, whoever does it."""
    try:
        text = folder.read(file.name + SUFFIX, _DIGITS)
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
