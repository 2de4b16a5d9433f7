"""Write a segment that waits long anew, without what need not be sent: so that more of them fit."""

import contextlib
import itertools
from pathlib import Path
from typing import Final

from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._spool.batches import CLOSED, Item, request_of
from otelflow_exporters._spool.claims import take_claim
from otelflow_exporters._spool.signals import Signal
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.pruning import closed_to_others, is_live
from otelflow_exporters._store.records import LARGEST_SEGMENT, Segment, framed

# So many items are written as one request: resource and scope, which take as many bytes as an item does, stand in it
# once. More would be slow to search, item by item, for what an endpoint refuses for good.
_TOGETHER: Final = 32
# For each segment that is begun so many are written anew: all are soon, and none takes long.
_AT_ONCE: Final = 2


class Compactor:
    """Makes room in a spool of *signal*, whoever has written there; *pruning_lock* is as for ``rewrite()``."""

    def __init__(self, signal: Signal, pruning_lock: contextlib.AbstractContextManager[object]) -> None:
        self._signal = signal
        self._pruning_lock = pruning_lock
        self._tried: set[str] = set()  # segments that were written anew, or cannot be

    def make_room(self, directory: Path | None, most_bytes: int) -> None:
        """Write some segments in *directory*, none of which was sent, anew if there are more than *most_bytes*."""
        if directory is None or not self._signal.batch:  # a report of metrics is one piece
            return
        with contextlib.suppress(OSError), open_store(directory, kind="spool") as folder:
            files = sorted(segment_files(folder))  # their names begin with the time
            if sum(file.size for file in files) <= most_bytes:
                return
            self._tried.intersection_update(file.name for file in files)
            candidates = (file for file in files if file.name not in self._tried and not is_live(folder, file.name))
            for file in itertools.islice(candidates, _AT_ONCE):
                self._tried.add(file.name)
                claim = take_claim(folder, file)
                if claim is None:  # somebody ships it
                    continue
                try:
                    # Without locks this process itself may be sending it, and has read a part of it.
                    if claim.has_lock and not claim.offset and not claim.aside:
                        rewrite(folder, file, self._signal, self._pruning_lock)
                finally:
                    claim.release(is_unlocked=True)


def rewrite(
    folder: Folder, file: StoredFile, signal: Signal, pruning_lock: contextlib.AbstractContextManager[object]
) -> bool:
    """Write the segment *file*, of which nothing has been sent, anew if that makes it smaller; tell whether it did.

    *pruning_lock* is held by a thread that removes segments: one that is gone must not come back.
    """
    with contextlib.suppress(OSError), closed_to_others(folder, file.name) as is_free:  # a full disk: it stays as it is
        content = compacted(folder.read(file.name, LARGEST_SEGMENT), signal) if is_free else b""
        with pruning_lock:
            if content and len(content) < file.size and folder.file(file.name) is not None:
                folder.write(file.name, content, modified=file.modified)
                return True
    return False


def compacted(content: bytes, signal: Signal) -> bytes:
    """Return what of the segment *content* is to be sent; nothing if its process was lost, or a part is unreadable."""
    if not content.endswith(CLOSED):
        return b""
    items: list[Item] = []
    segment = Segment(content)
    for _, start, fields_end, end in segment.bodies():
        item = signal.read(content[start:fields_end], end)
        if item is None:
            return b""
        items += [Item(end, [part], 1) for part in item.parts]
    if segment.unreadable:
        return b""
    groups = [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
    return b"".join((*signal.first_records, *(framed(request_of(group)) for group in groups), CLOSED))
