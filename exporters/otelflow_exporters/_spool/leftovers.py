"""Spools that nobody uses any more: what is left of them goes after seven days."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otelflow._core.process import clock
from otelflow._core.process.files import Folder, StoredFile
from otelflow.errors import ConfigurationError
from otelflow_exporters._spool import destination
from otelflow_exporters._spool.claims import remove_orphans
from otelflow_exporters._spool.open_runs import spools_in
from otelflow_exporters._spool.signals import SIGNALS
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import ANSWERS, DESTINATION, MARKER, open_store
from otelflow_exporters._store.pruning import prune

_LAST: Final = frozenset({MARKER, DESTINATION, ANSWERS})


def remove_old(spool: Path, on_removal: Callable[[Folder, StoredFile], bool]) -> None:
    """Remove the spools beside *spool* in which nothing has changed for as long as anything is kept.

    Only those that nobody has named: *spool* must be one of them, too.
    """
    try:
        is_named = spool.parent != destination.spools_directory()
    except ConfigurationError:  # this user has no home
        is_named = True
    limits = Limits()
    oldest = clock.time() - limits.max_age.total_seconds()
    for path in [] if is_named else spools_in(spool.parent):
        # A program that writes there begins a segment each day.
        with contextlib.suppress(OSError):
            if path != spool and path.stat().st_mtime < oldest:
                for signal in reversed(SIGNALS):  # that of the spans last, which holds the others
                    _remove_if_empty(path / signal.folder, limits, on_removal)


def _remove_if_empty(path: Path, limits: Limits, on_removal: Callable[[Folder, StoredFile], bool]) -> None:
    """Remove what is too old in *path*, and that itself if nothing waits there, and nobody writes there."""
    with contextlib.suppress(OSError):
        with open_store(path, kind="spool") as folder:
            prune(folder, limits, on_removal=on_removal)
            remove_orphans(folder)
            if not _LAST.issuperset(folder.names()):
                return
            for name in sorted(_LAST - {MARKER}):
                folder.remove(name)
            folder.remove(MARKER)  # last: without it, the folder would be nobody's
        path.rmdir()
