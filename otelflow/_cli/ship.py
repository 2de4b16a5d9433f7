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
from otelflow._core.process import clock
from otelflow._telemetry.spool_news import tell_of_lost_runs
from otelflow.errors import ConfigurationError
from otelflow.settings import in_force
from otelflow_exporters._otlp.endpoint import exporter_names, is_otlp, variable
from otelflow_exporters._otlp.sender import new_sender
from otelflow_exporters._spool.compacting import Compactor
from otelflow_exporters._spool.destination import destination_of, spool_directory
from otelflow_exporters._spool.shipper import LOOKS_LATER, Shipper
from otelflow_exporters._spool.signals import SIGNALS, SPANS, Signal
from otelflow_exporters._store.limits import Limits
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
        spool, spool_dir = str(settings["spool"].value), str(settings["spool_dir"].value)
        directory = spool_directory(spool, spool_dir, exporter_of("traces"))
    if directory is None:
        raise ConfigurationError(
            "ship needs the folder of a spool, and OTELFLOW_SPOOL says that there is none: name one"
        )
    name, endpoint = variable("traces", "ENDPOINT")
    if not endpoint:
        raise ConfigurationError(f"ship needs an endpoint: set {name}, such as http://localhost:4318")
    directory = directory.expanduser().absolute()
    shippings = list(filter(None, (_shipping(signal, directory) for signal in SIGNALS)))
    end = end_of_signals()
    if not once:
        say(f"sending what comes into the spool {directory}, until Ctrl-C or SIGTERM; with --once, until it is empty")
    try:
        while not end.is_set():
            is_more = [shipping.ship() for shipping in shippings]
            if any(is_more):
                continue
            if once:
                break
            end.wait(_LOOK_SECONDS)
    finally:
        absence = "" if directory.exists() else f"; there is no spool {directory} yet"
        say(", ".join(filter(None, (shipping.end() for shipping in shippings))) + absence)
    return FAILURE if once and any(shipping.failure for shipping in shippings) else 0


def _shipping(signal: Signal, directory: Path) -> "_Shipping | None":
    """Return what ships *signal*, if it has an endpoint. Raises ConfigurationError for one that cannot be used."""
    folder = directory / signal.folder
    if not variable(signal.name, "ENDPOINT")[1]:
        return None
    try:
        return _Shipping(signal, folder)
    except ConfigurationError:
        if signal is SPANS or folder.exists():
            raise
        return None  # the endpoint is of spans alone: over gRPC it may be host:port


def exporter_of(signal: str) -> str:
    """Return the name of the exporter in whose place *signal* is sent: it may say that the protocol is gRPC."""
    return next(filter(is_otlp, exporter_names(signal)), "otlp")


class _Shipping:
    """Ships what waits of one *signal* in *folder*. Raises StoreUnreadable if that was made for another endpoint."""

    def __init__(self, signal: Signal, folder: Path) -> None:
        exporter = exporter_of(signal.name)
        destination = destination_of(signal.name, exporter)
        with contextlib.suppress(FileNotFoundError), open_store(folder, kind="spool") as spool:
            destination.check(spool)  # before anything is said or done
        self.failure = ""
        self._signal, self._folder = signal, folder
        self._sent = 0
        self._lost: Counter[str] = Counter()
        self._compactor = Compactor(signal, contextlib.nullcontext())  # nothing is removed here for want of room
        self._next_room = 0.0  # on clock.monotonic()
        self._shipper = Shipper(
            folder,
            new_sender(signal.name, exporter),
            batch_size=_BATCH_SIZE,
            on_loss=lambda reason, count: self._lost.update({reason: count}),
            is_for_all=True,
            check=destination.check,
            on_told=tell_of_lost_runs,  # which reaches metrics, where the command has any
            signal=signal,
        )

    def ship(self) -> bool:
        """Send one batch; tell whether more may be left."""
        if clock.monotonic() >= self._next_room:
            began = clock.monotonic()
            self._compactor.make_room(self._folder, Limits().max_bytes // 2)
            now = clock.monotonic()
            # Of a hundred thousand files a look takes seconds: most of the time is for what is sent, as in the shipper.
            self._next_room = max(began + _LOOK_SECONDS, now + LOOKS_LATER * (now - began))
        outcome = self._shipper.ship()
        self._sent += outcome.others
        failure, item = self._shipper.failure, self._signal.item
        if failure and failure == self._shipper.hindrance != self.failure:
            say(f"{item}s in {self._folder} wait for {failure}: make room, or let it be written")
        elif failure and failure != self.failure:
            say(f"{failure} does not take {item}s; they wait in {self._folder}")
        self.failure = failure
        return outcome.is_more

    def end(self) -> str:
        """Stop shipping, and return in words how much was sent and lost; nothing of logs or metrics without any."""
        self._shipper.close()
        if not self._sent and not self._lost and self._signal is not SPANS:
            return ""
        losses = "".join(f", {count:,} {reason}" for reason, count in self._lost.items())
        return f"{counted(self._sent - self._lost['rejected'], self._signal.item)} sent{losses}"


def end_of_signals() -> threading.Event:
    """Return what is set when the process is asked to end: the request that is on its way is waited for."""
    end = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return end
