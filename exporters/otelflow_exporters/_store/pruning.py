"""Keep the store within its limits, and never take a segment from a process that is writing it."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Final

from otelflow._core.process import clock
from otelflow._core.process.files import Folder, StoredFile, is_held, is_running
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import (
    is_own_payload,
    is_own_segment,
    open_payloads,
    payload_files,
    segment_files,
    unfinished_files,
    writer_of,
)
from otelflow_exporters._store.records import LARGEST_SEGMENT

_RECENT_SECONDS: Final = 60


def prune(
    store: Folder,
    limits: Limits,
    *,
    room: int = 0,
    own_name: str = "",
    on_removal: Callable[[Folder, StoredFile], None] | None = None,
) -> int:
    """Remove the files that are too old, then the oldest until *room* more bytes fit; return the bytes that are left.

    A segment that a process is writing stays, and counts as full; so does *own_name*, that of this process.
    *on_removal* is called with each segment that is to go.
    """
    now = clock.time()
    for file in unfinished_files(store):  # of a process that was lost at that moment
        if now - file.modified > _RECENT_SECONDS and not is_live(store, file.name):
            store.remove(file.name)
    # One that is larger than any of ours is none, and stays: nothing else has to make room for it.
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
            if on_removal is not None and folder is store:
                on_removal(folder, file)
            if remove(folder, file):
                size -= file.size
    finally:
        if payloads is not None:
            payloads.close()
    return size


def live_among(store: Folder, segments: Iterable[StoredFile], own_name: str = "") -> set[str]:
    """Return the names of those *segments* that processes are writing; *own_name* is that of this process."""
    now = clock.time()
    # There may be thousands of segments, and asking each for its lock takes long. The process id in a name leads to the
    # writer; one in another container has no id here, but has written lately if it counts.
    candidates = [
        file for file in segments if is_running(writer_of(file.name)) or now - file.modified < _RECENT_SECONDS
    ]
    return {file.name for file in candidates if file.name == own_name or is_live(store, file.name)}


def remove(folder: Folder, file: StoredFile) -> bool:
    """Remove a segment or payload that the store wrote and no process is writing; return whether it is gone."""
    if is_live(folder, file.name):
        return False
    if not (is_own_segment(folder, file) or is_own_payload(folder, file)):
        return folder.file(file.name) is None
    return folder.remove(file.name)


def is_live(folder: Folder, name: str) -> bool:
    """Return whether a process is writing the file *name*."""
    try:
        descriptor = folder.open(name, os.O_RDONLY)
    except OSError:
        return False
    try:
        is_locked = is_held(descriptor)
    finally:
        os.close(descriptor)
    if is_locked is None and sys.platform != "win32":
        # A file system without locks: the name of a segment carries the id of its process.
        return is_running(writer_of(name))
    return bool(is_locked)
