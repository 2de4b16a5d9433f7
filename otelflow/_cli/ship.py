"""``otelflow ship``: send what waits in a spool, for any number of processes, living or gone."""

import contextlib
import signal
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

from otelflow._cli._console import say
from otelflow._cli._exit_codes import FAILURE
from otelflow.errors import ConfigurationError
from otelflow.settings import in_force
from otelflow_exporters._otlp.endpoint import variable
from otelflow_exporters._otlp.sender import new_sender
from otelflow_exporters._spool.destination import destination_of, spool_directory
from otelflow_exporters._spool.shipper import Shipper
from otelflow_exporters._store.ownership import open_store
from otelflow_exporters._tree.wording import counted

_BATCH_SIZE: Final = 512
_LOOK_SECONDS: Final = 1.0


def ship(directory: Path | None, *, once: bool) -> int:
    """Send what waits in *directory*; return the exit code. Without *once* it goes on until it is told to end.

    Raises ConfigurationError without a spool or an endpoint.
    """
    if directory is None:
        settings = in_force()
        directory = spool_directory(str(settings["spool"].value), str(settings["spool_dir"].value))
    if directory is None:
        raise ConfigurationError(
            "ship needs the folder of a spool, and OTELFLOW_SPOOL says that there is none: name one"
        )
    name, endpoint = variable("traces", "ENDPOINT")
    if not endpoint:
        raise ConfigurationError(f"ship needs an endpoint: set {name}, such as http://localhost:4318")
    directory = directory.expanduser().absolute()
    destination = destination_of("traces")
    with contextlib.suppress(FileNotFoundError), open_store(directory, kind="spool") as folder:
        destination.check(folder)  # before anything is said or done
    lost: Counter[str] = Counter()
    shipper = Shipper(
        directory,
        new_sender("traces"),
        batch_size=_BATCH_SIZE,
        on_loss=lambda reason, count: lost.update({reason: count}),
        is_for_all=True,
        check=destination.check,
    )
    end = end_of_signals()
    sent, failure = 0, ""
    try:
        while not end.is_set():
            outcome = shipper.ship()
            sent += outcome.others
            if shipper.failure and shipper.failure != failure:
                say(f"{shipper.failure} does not take spans; they wait in {directory}")
            failure = shipper.failure
            if outcome.is_more:
                continue
            if once:
                break
            end.wait(_LOOK_SECONDS)
    finally:
        shipper.close()
        losses = "".join(f", {count:,} {reason}" for reason, count in lost.items())
        absence = "" if directory.exists() else f"; there is no spool {directory} yet"
        say(f"{counted(sent - lost['rejected'], 'span')} sent{losses}{absence}")
    return FAILURE if once and failure else 0


def end_of_signals() -> threading.Event:
    """Return what is set when the process is asked to end: the request that is on its way is waited for."""
    end = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return end
