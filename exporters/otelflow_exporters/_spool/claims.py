"""Which process ships a segment, and how far: a small file beside the segment, which that process has locked.

The lock goes with its process, however that ends, so that a segment is never left to nobody, nor sent by two.
"""

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from otelflow._core.process import clock
from otelflow._core.process.files import Folder, OpenFile, StoredFile, is_held, is_running, lock
from otelflow_exporters._store.ownership import PROGRESS, writer_of
from otelflow_exporters._store.pruning import is_live, kept_in_place, remove_unfinished
from otelflow_exporters._store.writer import is_watched_here, is_written_here

#: Where a part of a segment begins and ends, in bytes
Range = tuple[int, int]

# Within this time a process that lives has read what was sent of its segments
_READ_SECONDS: Final = 600.0
# … if one lives that has its number, which may be another: in a container every first process is number 1.
_READ_BY_NUMBER_SECONDS: Final = 86_400.0
_DIGITS: Final = 20
_END: Final = b"."
# What follows that while a part of the segment is under way. An earlier version reads nothing there.
_UNDER_WAY: Final = b">"
_AT_REST: Final = b" "
# What the file says of a segment that had to make room when a part of it was sent: how many items were lost with it
_LOST: Final = b"lost "
_OF_THE_DISK: Final = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM})
# More than anybody sets aside at once
_LARGEST_TEXT: Final = 8 * 1024


class Claim:
    """The right to ship the segment *name*.

    ``offset`` is where the part of it begins that nobody has looked at yet. What lies before that has arrived, or will
    never arrive, but for ``aside``: ranges that the endpoint did not take, and may take another time. ``has_lock``: no
    other sender can have it, not even one of this process.
    """

    def __init__(self, name: str, descriptor: int, size: int, *, has_lock: bool = True) -> None:
        self.name = name
        self.has_lock = has_lock
        self._file = OpenFile(descriptor)
        self._is_under_way = False
        self.offset, self.aside = _progress(os.pread(descriptor, _LARGEST_TEXT, 0), size)

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have it: the lock is gone when the program has closed what it did not open."""
        return self._file.status() is not None

    def advance(self, offset: int, aside: list[Range]) -> None:
        """Remember that everything before *offset* has arrived, or will never arrive, but for what is set *aside*."""
        self.offset, self.aside = offset, aside
        self._write(_AT_REST)

    @contextlib.contextmanager
    def sending(self, folder: Folder) -> Iterator[None]:
        """Let the segment make room for no other inside, or until ``advance()``: what arrives is not counted as lost.

        Raises FileNotFoundError if it is gone.
        """
        with kept_in_place(folder, self.name):  # who is about to remove it has read what is written here
            self._write(_UNDER_WAY)
        try:
            yield
        finally:
            if self._is_under_way:
                self._write(_AT_REST)

    def _write(self, state: bytes) -> None:
        self._is_under_way = state == _UNDER_WAY
        if not self.is_held:
            return
        ranges = "".join(f" {start}-{end}" for start, end in self.aside)
        with contextlib.suppress(OSError):  # a full disk: after a restart some of it is sent again
            os.pwrite(self._file.descriptor, f"{self.offset:0{_DIGITS}}{ranges}".encode() + _END + state, 0)

    def remove(self, folder: Folder, *, is_own: bool, is_number_shared: bool = False) -> None:
        """Remove the segment from *folder*, in which nothing is left.

        *is_own*: the spool that ships has written it. *is_number_shared*: another process that lives has the number of
        this one.
        """
        folder.remove(self.name)
        is_of_this_number = writer_of(self.name) == os.getpid()
        is_of_earlier = is_of_this_number and not is_watched_here(self.name) and not is_number_shared
        # Otherwise the file that says what was sent stays: whoever has written the segment reads it, if it lives.
        if is_own or is_of_earlier:
            remove_mark(folder, self.name)
        self.release()

    def release(self, *, is_unlocked: bool = False) -> None:
        """Leave the segment to others, if that *is_unlocked* also while a child that was forked meanwhile lives."""
        self._file.close(is_unlocked=is_unlocked)


def remove_mark(folder: Folder, name: str) -> None:
    """Remove the file that says how far the segment *name* was sent."""
    folder.remove(name + PROGRESS)


def is_watched(folder: Folder, name: str) -> bool:
    """Tell whether its writer looks what becomes of the segment *name*: this process, or another one that lives."""
    writer = writer_of(name)
    if is_watched_here(name) or (writer != os.getpid() and is_running(writer)):
        return True
    return has_twin(folder, writer, folder.names())


def has_twin(folder: Folder, number: int, names: Iterable[str]) -> bool:
    """Tell whether a process in another container writes one of the segments *names*, which has that *number* there.

    It may be that of this process, or one that no process here has.
    """
    others = [name for name in names if writer_of(name) == number and not is_written_here(name)]
    return any(is_live(folder, name) for name in others)


def take_claim(folder: Folder, file: StoredFile) -> Claim | None:
    """Return the right to ship the segment *file*, or None while another process or sender has it.

    Raises OSError where nobody can have it: on a disk that is read-only or has no room, and without the right to write.
    """
    name = file.name + PROGRESS
    try:
        descriptor = folder.open(name, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if folder.file(name) is None:  # a link, or a device, which nobody else may use instead of it
            folder.remove(name)
        if error.errno in _OF_THE_DISK:
            raise
        return None
    has_lock = lock(descriptor)
    if has_lock is None:  # a file system without locks: while its writer lives, only that process ships a segment
        writer = writer_of(file.name)
        may_ship = writer == os.getpid() or not is_running(writer)
    else:
        may_ship = has_lock
    current = folder.file(file.name)
    if may_ship and current is not None:
        with contextlib.suppress(OSError):
            return Claim(file.name, descriptor, current.size, has_lock=bool(has_lock))
    elif may_ship and not os.pread(descriptor, 1, 0):  # it was shipped, and removed, after it had been listed
        folder.remove(name)
    os.close(descriptor)
    return None


def is_claimed(folder: Folder, name: str) -> bool | None:
    """Tell whether a process ships the segment *name* now; None on a file system without locks.

    Raises OSError if nobody has claimed it yet.
    """
    descriptor = folder.open(name + PROGRESS, os.O_RDONLY)
    try:
        return is_held(descriptor)
    finally:
        os.close(descriptor)


def is_under_way(folder: Folder, name: str) -> bool:
    """Tell whether a sender that is there still waits for the answer to a part of the segment *name*."""
    with contextlib.suppress(OSError):
        state = folder.read(name + PROGRESS, _LARGEST_TEXT).partition(_END)[2]
        file = folder.file(name + PROGRESS) if state.startswith(_UNDER_WAY) else None
        if file is not None:
            is_there = is_claimed(folder, name)
            # Without locks nobody knows whether it is there, but no answer takes so long.
            return clock.time() - file.modified < _READ_SECONDS if is_there is None else is_there
    return False


def unsent_ranges(folder: Folder, file: StoredFile) -> list[Range]:
    """Return which parts of the segment *file* have not been shipped, whoever does it."""
    try:
        offset, aside = _progress(folder.read(file.name + PROGRESS, _LARGEST_TEXT), file.size)
    except OSError:
        offset, aside = 0, []
    return [*aside, (offset, file.size)]


def _progress(text: bytes, size: int) -> tuple[int, list[Range]]:
    """Return what *text* says of a file of that *size*; nothing if that cannot be: better sent twice than never."""
    digits, *ranges = text.partition(_END)[0].split(b" ")
    is_whole = _END in text or text == digits  # an earlier version has written no more than the offset
    try:
        offset = int(digits) if digits.isdigit() and is_whole else -1
        aside = [(int(start), int(end)) for start, end in (part.split(b"-") for part in ranges)]
    except ValueError:
        return 0, []
    is_possible = 0 <= offset <= size and all(0 <= start < end <= offset for start, end in aside)
    return (offset, aside) if is_possible else (0, [])


def forget(folder: Folder, own: dict[str, int], sent: Counter[str], names: Iterable[str]) -> tuple[int, int]:
    """Forget the segments *names* of this process, which are gone; *own* and *sent* count its spans by segment.

    Return how many spans another process has sent from there, and how many nobody has.
    """
    shipped = vanished = 0
    for name in names:
        is_sent_from_here = name in sent
        left = own.pop(name, 0) - sent.pop(name, 0)
        lost = left
        mark = folder.file(name + PROGRESS)
        if mark is not None:
            if mark.size and not is_sent_from_here:  # another process has sent from it, and says what was lost
                lost = min(left, _lost_in(folder, name))
            folder.remove(mark.name)
        shipped += left - lost
        vanished += lost
    return shipped, vanished


def write_loss(folder: Folder, name: str, lost: int) -> None:
    """Let the process that has written the segment *name*, which is about to go, know that *lost* items go with it.

    By what it finds beside it: if nothing of it was sent, that is nothing.
    """
    file = folder.file(name + PROGRESS)
    if file is not None and file.size:
        with contextlib.suppress(OSError):
            folder.write(file.name, _LOST + str(lost).encode())
            return
    remove_mark(folder, name)


def _lost_in(folder: Folder, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        before, _, digits = folder.read(name + PROGRESS, _LARGEST_TEXT).partition(_LOST)
        return int(digits) if not before and digits.isdigit() else 0
    return 0


def take_vanished(directory: Path, own: dict[str, int], sent_of: Callable[[str], int | None]) -> int:
    """Take out of *own* the spans that are gone with their segments and that nobody has sent; return how many.

    What was sent stays in *own*: of that, the part that is under way may be refused. The folder need not be a spool
    any more: where a link or a file stands in its place, nothing waits.
    """
    written = list(own)  # before the look at the folder: a thread that goes on may begin a segment
    try:
        names = set(os.listdir(directory))  # noqa: PTH208 of a link, what it leads to: a spool may have been moved
    except (FileNotFoundError, NotADirectoryError):
        names = set()
    except OSError:  # nobody can tell
        return 0
    vanished, absent = 0, [name for name in written if name not in names]
    lost_of_others: dict[str, int] = {}  # of each segment from which another process has sent, what it could not send
    if any(name + PROGRESS in names for name in absent):
        with contextlib.suppress(OSError), Folder.reached(directory, may_be_link=True) as folder:
            marks = map(folder.file, (name + PROGRESS for name in absent))
            # An empty one is that of a segment from which nobody has sent.
            lost_of_others = {
                name: _lost_in(folder, name) for name, mark in zip(absent, marks, strict=True) if mark and mark.size
            }
    for name in absent:
        sent, lost = sent_of(name), lost_of_others.get(name)
        if sent is None and lost == 0:  # another process has sent all of it
            continue
        unsent = max(0, own.get(name, 0) - (sent or 0))
        vanished += min(unsent, lost) if lost else unsent
        own[name] = sent or 0
    return vanished


def remove_orphans(folder: Folder) -> None:
    """Remove what processes that are gone have not looked at.

    One in another container has no process id here, or that of this process, but looks each second.
    """
    remove_unfinished(folder)
    now = clock.time()
    for name in folder.names():
        segment = name.removesuffix(PROGRESS)
        if segment == name or folder.file(segment) is not None:
            continue
        file = folder.file(name)
        writer = writer_of(segment)
        is_by_number = writer != os.getpid() and is_running(writer)
        seconds = _READ_BY_NUMBER_SECONDS if is_by_number else _READ_SECONDS
        if file is None or file.modified < now - seconds:
            folder.remove(name)
