"""What is lost with a segment that must make room for others, and who counts it."""

from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._spool.batches import Read, read_range
from otelflow_exporters._spool.claims import is_watched, remove_mark, unsent_ranges, write_loss


def unsent_in(folder: Folder, file: StoredFile, read: Read, *, own: int | None, sent: int | None) -> int | None:
    """Return how many items of the segment *file* have not arrived; None if it cannot be read.

    *own* is how many this process has written there (None: another process has written it), *sent* how many it has sent
    from there (None: it does not ship the segment).
    """
    waiting = unsent_ranges(folder, file)
    is_untouched = waiting == [(0, file.size)]
    if own is not None and (sent is not None or is_untouched):
        return own - (sent or 0)  # to read all of it would take a tenth of a second
    try:
        return sum(item.spans for part in waiting for item in read_range(folder, file.name, read, *part))
    except OSError:
        return None


def tell_writer(folder: Folder, name: str, lost: int) -> bool:
    """Let the writer of the segment *name* know how many items are *lost* with it; return False if it has ended.

    The writer is another process, or another spool of this one, and counts them. One that has ended may have had the
    number of this process.
    """
    if is_watched(folder, name):
        write_loss(folder, name, lost)
        return True
    remove_mark(folder, name)
    return False
