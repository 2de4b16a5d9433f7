"""Spools that wait for a key that no program has any more: they are reported, and a person decides."""

import contextlib
from pathlib import Path
from typing import Final

from otelflow._core.process import clock
from otelflow.errors import ConfigurationError
from otelflow_exporters._spool import claims
from otelflow_exporters._spool.destination import LARGEST, is_nameless
from otelflow_exporters._spool.open_runs import spools_in
from otelflow_exporters._spool.signals import SIGNALS
from otelflow_exporters._store.ownership import DESTINATION, open_store, segment_files
from otelflow_exporters._store.pruning import is_live

# What has waited for less, a program with the earlier key may send that is started again
_STRANDED_SECONDS: Final = 600.0


def stranded_beside(spool: Path, fingerprint: str = "") -> list[Path]:
    """Return the spools beside *spool* in which something waits for the same endpoint, and that nobody uses.

    Nobody has named one of them: there is one for each key. *fingerprint* is that of the endpoint, if there is no spool
    yet that says so.
    """
    try:
        if not is_nameless(spool):
            return []
        own = fingerprint or _fingerprint_in(spool)
        others = [path for path in spools_in(spool.parent) if path != spool and is_nameless(path)]
        return [path for path in others if own and _fingerprint_in(path) == own and _is_stranded(path)]
    except ConfigurationError:  # this user has no home
        return []


def _fingerprint_in(spool: Path) -> str:
    with contextlib.suppress(OSError), open_store(spool, kind="spool") as folder:
        return "".join(folder.read(DESTINATION, LARGEST).decode("utf-8", "replace").splitlines()[1:2])
    return ""


def _is_stranded(spool: Path) -> bool:
    """Tell whether something waits in *spool*, nobody writes there, and nobody has for a while."""
    is_waiting, oldest = False, clock.time() - _STRANDED_SECONDS
    for path in (spool / signal.folder for signal in SIGNALS):
        with contextlib.suppress(OSError), open_store(path, kind="spool") as folder:
            for file in segment_files(folder):
                if file.modified > oldest or is_live(folder, file.name):
                    return False
                is_waiting = is_waiting or any(end > start for start, end in claims.unsent_ranges(folder, file))
    return is_waiting
