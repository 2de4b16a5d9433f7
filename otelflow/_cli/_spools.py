"""The spools that a command works on when none is named."""

from pathlib import Path

from otelflow import settings
from otelflow.errors import ConfigurationError
from otelflow_exporters._spool.destination import spools_directory
from otelflow_exporters._spool.open_runs import spools_in
from otelflow_exporters._spool.signals import SIGNALS
from otelflow_exporters._store.limits import absolute


def inner_spools() -> list[Path]:
    """Return where the log records and the metrics of those programs wait."""
    folders = [spool / signal.folder for spool in spools() for signal in SIGNALS if signal.folder]
    return [folder for folder in folders if folder.is_dir()]


def spools() -> list[Path]:
    """Return the spool that OTELFLOW_SPOOL_DIR names, if it does, and those that nobody has named."""
    named = settings.in_force()["spool_dir"].value
    try:
        unnamed = spools_in(spools_directory())
    except ConfigurationError:  # this user has no home
        unnamed = []
    return [*([absolute(named, "OTELFLOW_SPOOL_DIR")] if named else []), *unnamed]
