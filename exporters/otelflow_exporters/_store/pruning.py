"""Keep the store within its limits, and never take a segment from a process that is writing it."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from otelflow._core.process import clock
from otelflow._core.process.files import Folder, OpenFile, StoredFile, hold, is_held, is_running, lock
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import (
    is_own_payload,
    is_own_segment,
    open_payloads,
    payload_files,
    segment_files,
    unfinished_names,
    writer_of,
)
from otelflow_exporters._store.records import LARGEST_SEGMENT

_RECENT_SECONDS: Final = 60
# Nothing that holds a file takes as long, unless its process is halted.
_LONGEST_WAIT_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.01
# Without locks nobody knows whether the process is there that has begun a file; after a day it will not end that.
_LONGEST_WRITE_SECONDS: Final = 86_400.0


def prune(
    store: Folder,
    limits: Limits,
    *,
    room: int = 0,
    own_name: str = "",
    on_removal: Callable[[Folder, StoredFile], bool] | None = None,
) -> int:
    """Remove the files that are too old, then the oldest until *room* more bytes fit; return the bytes that are left.

    A segment that a process is writing stays, and counts as full; so does *own_name*, that of this process.
    *on_removal* is called with each segment that is to go, and returns whether it may.
    """
    remove_unfinished(store)
    now = clock.time()
    # What is larger than any segment of ours is none of ours and stays: nothing else has to make room for it.
    segments = [file for file in segment_files(store) if file.size <= LARGEST_SEGMENT]
    live = live_among(store, segments, own_name)
    try:
        payloads = open_payloads(store)
    except FileNotFoundError:
        payloads = None
    try:
        files = [(store, file) for file in segments]
        files += [(payloads, file) for file in payload_files(payloads)] if payloads is not None else []
        files.sort(key=lambda pair: pair[1].modified)
        full = limits.segment_share(len(live))
        size = sum(max(file.size, full) if file.name in live else file.size for _, file in files)
        most = limits.max_bytes - limits.payload_room - room
        oldest = now - limits.max_age.total_seconds()
        for folder, file in files:
            if file.modified >= oldest and size <= most:
                break
            if file.name in live:
                continue
            # What another process removes just now is counted as gone, or newer files would go in its place.
            if remove(folder, file, on_removal if folder is store else None) or is_busy(folder, file.name):
                size -= file.size
    finally:
        if payloads is not None:
            payloads.close()
    return size


def remove_unfinished(store: Folder) -> None:
    """Remove what was not written to its end, and never will be: its process was lost at that moment."""
    for name in unfinished_names(store):
        # Not its own time, which is that of the older file which it was to replace.
        age = clock.time() - store.changed(name)
        is_written = _is_written(store, name) if age > _RECENT_SECONDS else True
        if is_written is False or (is_written is None and age > _LONGEST_WRITE_SECONDS):
            store.remove(name)


def live_among(store: Folder, segments: Iterable[StoredFile], own_name: str = "") -> set[str]:
    """Return the names of those *segments* that processes are writing; *own_name* is that of this process."""
    now = clock.time()
    # There may be thousands of segments, and asking each for its lock takes long. The process id in a name leads to the
    # writer; one in another container has no id here, but has written lately if it counts.
    candidates = [
        file for file in segments if is_running(writer_of(file.name)) or now - file.modified < _RECENT_SECONDS
    ]
    return {file.name for file in candidates if file.name == own_name or is_live(store, file.name)}


def remove(folder: Folder, file: StoredFile, on_removal: Callable[[Folder, StoredFile], bool] | None = None) -> bool:
    """Remove a segment or payload that the store wrote and no process is writing; return whether it is gone."""
    with closed_to_others(folder, file.name) as is_free:
        if not is_free:
            return False
        if not (is_own_segment(folder, file) or is_own_payload(folder, file)):
            return folder.file(file.name) is None
        return (on_removal is None or on_removal(folder, file)) and folder.remove(file.name)


@contextlib.contextmanager
def closed_to_others(folder: Folder, name: str) -> Iterator[bool]:
    """Let no other process remove the file *name* or write it anew meanwhile; False if one is writing it."""
    try:
        file = OpenFile(folder.open(name, os.O_RDONLY))
    except OSError:  # it is gone, or no file
        yield True
        return
    try:
        is_free = lock(file.descriptor)
        if is_free is None:  # without locks: the name of a segment carries the id of its process
            is_free = sys.platform == "win32" or not is_running(writer_of(name))
        yield is_free
    finally:
        file.close(is_unlocked=True)


def is_busy(folder: Folder, name: str) -> bool:
    """Tell whether somebody removes the file *name*, or writes it anew; one that is written on is not busy."""
    try:
        file = OpenFile(folder.open(name, os.O_RDONLY))
    except OSError:
        return folder.file(name) is None
    is_busy = not hold(file.descriptor)
    file.close(is_unlocked=True)
    return is_busy


@contextlib.contextmanager
def kept_in_place(folder: Folder, name: str) -> Iterator[None]:
    """Let nobody write the file *name* anew meanwhile; who does is waited for. Raises OSError if it is gone."""
    latest = clock.monotonic() + _LONGEST_WAIT_SECONDS
    while True:
        file = OpenFile(folder.open(name, os.O_RDONLY))
        if (hold(file.descriptor) and file.has_name_in(folder, name)) or clock.monotonic() > latest:
            break
        file.close()
        clock.sleep(_LOOK_SECONDS)
    try:
        yield
    finally:
        file.close(is_unlocked=True)


def is_live(folder: Folder, name: str) -> bool:
    """Return whether a process is writing the file *name*."""
    is_locked = _is_written(folder, name)
    if is_locked is None and sys.platform != "win32":
        # A file system without locks: the name of a segment carries the id of its process.
        return is_running(writer_of(name))
    return bool(is_locked)


def _is_written(folder: Folder, name: str) -> bool | None:
    """Return whether a process holds the file *name*; None on a system that cannot tell."""
    try:
        descriptor = folder.open(name, os.O_RDONLY)
    except OSError:
        return False
    try:
        return is_held(descriptor)
    finally:
        os.close(descriptor)
