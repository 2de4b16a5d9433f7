"""How much waits in a spool, since when, and whether anybody sends it: a look from outside, which changes nothing."""

import contextlib
from typing import Final, NamedTuple

from otelflow._core.process.files import Folder
from otelflow_exporters._spool import claims
from otelflow_exporters._store.ownership import segment_files
from otelflow_exporters._store.pruning import is_live
from otelflow_exporters._store.records import LARGEST_SEGMENT, Segment, is_note, spans_of

# To count spans they are all read; more than this takes longer than a person waits.
_MOST_READ: Final = 32 * 1024 * 1024


class Waiting(NamedTuple):
    """What waits: *spans* (None for very many) of *size* bytes, the oldest written *since* (seconds since 1970).

    *writers* is how many programs write there now, *has_sender* whether a process sends what waits.
    """

    spans: int | None
    size: int
    since: float
    writers: int
    has_sender: bool


def waiting_in(folder: Folder) -> Waiting:
    """Return what waits in the spool *folder*."""
    count, size, since, writers, has_sender = 0, 0, 0.0, 0, False
    for file in sorted(segment_files(folder)):  # their names begin with the time
        writers += is_live(folder, file.name)
        ranges = claims.unsent_ranges(folder, file)
        left = sum(end - start for start, end in ranges)
        with contextlib.suppress(OSError):  # nobody has claimed it, or it was sent meanwhile
            has_sender |= bool(claims.is_claimed(folder, file.name))
        content = b""
        if size + left <= _MOST_READ:
            with contextlib.suppress(OSError):
                content = folder.read(file.name, LARGEST_SEGMENT)
        records = (record for start, end in ranges for record in Segment(content[start:end]).records())
        ended = [span for record in records for span in spans_of(record.traces) if not is_note(span)]
        count += len(ended)
        if ended or not content:  # what was not read counts by its size; spans that are open do not wait
            size += left
            oldest = min(span.end_time_unix_nano for span in ended) / 1e9 if ended else file.modified
            since = since or oldest
    return Waiting(count if size <= _MOST_READ else None, size, since, writers, has_sender)
