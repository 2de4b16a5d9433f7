"""What is lost with a segment that must make room for others, and who counts it."""

from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._spool.batches import Read, read_range
from otelflow_exporters._spool.claims import SUFFIX, is_watched, unsent_ranges, write_loss


def unsent_in(folder: Folder, file: StoredFile, read: Read, *, own: int | None, sent: int | None) -> int | None:
    """Return how many items of the segment *file* have not arrived; None if it cannot be read.

    *own* is how many this process has written there, *sent* how many it has sent from there; None: it is another's.
    """
    waiting = unsent_ranges(folder, file)
    if own is not None and (sent is not None or waiting == [(0, file.size)]):
        return own - (sent or 0)  # to read all of it would take a tenth of a second
    try:
        return sum(item.spans for part in waiting for item in read_range(folder, file.name, read, *part))
    except OSError:
        return None


def tell_writer(folder: Folder, name: str, lost: int) -> bool:
    """Tell another process, or another spool of this one, what is *lost* with its segment *name*, for it to count.

    Returns False where there is none: its process has ended, and this one's number may be that of an earlier one.
    """
    if is_watched(folder, name):
        write_loss(folder, name, lost)
        return True
    folder.remove(name + SUFFIX)
    return False
