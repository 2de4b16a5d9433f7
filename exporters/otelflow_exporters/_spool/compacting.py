"""Write a segment that waits long anew, without what need not be sent: so that more of them fit."""

import contextlib
from typing import Final

from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._spool.batches import CLOSED, Item, request_of
from otelflow_exporters._spool.signals import Signal
from otelflow_exporters._store.pruning import closed_to_others
from otelflow_exporters._store.records import LARGEST_SEGMENT, Segment, framed

# So many items have one resource and scope in common, which would take as many bytes as they do. What an endpoint
# refuses for good is looked for in one of these, item by item.
_TOGETHER: Final = 32


def compact(
    folder: Folder, file: StoredFile, signal: Signal, pruning: contextlib.AbstractContextManager[object]
) -> bool:
    """Write the segment *file*, of which nothing has been sent, anew if that makes it smaller; tell whether it did.

    *pruning* is held by a thread that removes segments: one that is gone must not come back.
    """
    with contextlib.suppress(OSError), closed_to_others(folder, file.name) as is_free:  # a full disk: it stays as it is
        content = compacted(folder.read(file.name, LARGEST_SEGMENT), signal) if is_free else b""
        with pruning:
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
