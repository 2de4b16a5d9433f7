"""What the processes that use a spool are doing, and what those were doing that are lost."""

import os
from pathlib import Path
from typing import NamedTuple

from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._otlp.model import Span, from_otlp
from otelflow_exporters._spool.batches import open_spans
from otelflow_exporters._store.ownership import open_store, segment_files, writer_of
from otelflow_exporters._store.pruning import is_live
from otelflow_exporters._store.records import LARGEST_SEGMENT


class OpenRun(NamedTuple):
    """A span that has started in process *pid* and not ended, and whose parent is not open there; times in ns.

    *inside* are the open spans below it, the one that started last at the end; ``last_sign`` is when the process was
    last seen alive, to the second.
    """

    pid: int
    is_alive: bool
    last_sign: int
    span: Span
    inside: list[Span]


def open_runs(directory: Path, *, kind: str = "spool") -> list[OpenRun]:
    """Return what is open in the spool *directory*, the oldest first; nothing if there is no spool.

    Of a store, what living processes have noted there: only their files are read.

    Raises StoreUnreadable for a folder that is none.
    """
    runs: list[OpenRun] = []
    try:
        folder = open_store(directory, kind=kind)
    except FileNotFoundError:
        return runs
    with folder:
        for file in segment_files(folder):
            if kind == "spool" or is_live(folder, file.name):
                runs += _runs_in(folder, file)
    return sorted(runs, key=lambda run: run.span.start)


def _runs_in(folder: Folder, file: StoredFile) -> list[OpenRun]:
    try:
        is_alive = is_live(folder, file.name)
        content = folder.read(file.name, LARGEST_SEGMENT)
    except OSError:  # it has arrived meanwhile, and is gone
        return []
    spans = {span.span_id: span for traces in open_spans(content) for span in from_otlp(traces)}
    inside: dict[str, list[Span]] = {span.span_id: [] for span in spans.values() if span.parent_id not in spans}
    for span in sorted(spans.values(), key=lambda span: span.start):
        top, steps = span, 0
        while top.parent_id in spans and steps < len(spans):  # a ring is nobody's
            top, steps = spans[top.parent_id], steps + 1
        if span is not top and top.span_id in inside:
            inside[top.span_id].append(span)
    return [
        OpenRun(writer_of(file.name), is_alive, round(file.modified * 1e9), spans[span_id], below)
        for span_id, below in inside.items()
    ]


def spools_in(state: Path) -> list[Path]:
    """Return the spools that have no other name than their destination's, in the folder *state*."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(state) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
