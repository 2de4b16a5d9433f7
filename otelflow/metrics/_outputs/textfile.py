"""Write a file for node_exporter's textfile collector, for jobs on a machine.

A forked child begins to count at zero, under the name of its parent: it writes timestamps and no counters.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from prometheus_client import generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from otelflow.metrics._collector import families
from otelflow.metrics._counts import Board
from otelflow.metrics._families import LAST, LIVE, readings
from otelflow.metrics._outputs.metrics_worker import MetricsWorker

_SUFFIX: Final = ".prom"
_LONGEST_NAME: Final = 150


class Textfile:
    """Replaces the file at once, whole, when an outermost flow has ended and at exit.

    Last-run timestamps of other processes stay in it: a run that fails must not wipe out when one last succeeded. So
    does all that other services have written there. Every series has the label ``service``: two files with the same
    series would make node_exporter refuse both.
    """

    def __init__(self, board: Board, where: str, service: str) -> None:
        self._path = _checked(where, service)
        self._board = board
        self._service = service
        self._worker = MetricsWorker(self._deliver, f"for {self._path}", count=lambda: board.runs)

    def start(self) -> bool:
        """Write from now on."""
        self._board.ended = self._worker.wake
        return True

    def flush(self, timeout: float) -> bool:
        """Write now."""
        return self._worker.flush(timeout)

    def close(self) -> None:
        """Write the last numbers."""
        self._board.ended = None
        self._worker.close()

    def _deliver(self, deadline: float) -> None:
        is_child = self._board.is_child
        metrics = [
            metric
            for metric in readings(self._board.snapshot())
            if metric.name not in LIVE and (metric.name in LAST or not is_child)
        ]
        ours = list(families(metrics, service=self._service))
        with _locked(self._path.with_name(self._path.name + ".lock"), deadline):
            shown = _Together(_read(self._path), ours, self._stays if not is_child else _everything)
            _replace(self._path, generate_latest(shown))

    def _stays(self, sample: Sample) -> bool:
        return sample.name in LAST or sample.labels.get("service", self._service) != self._service


def _everything(_: Sample) -> bool:
    return True


class _Together(Collector):
    """Shows what is in the file already, as far as it stays, and what is new; of the same series, the newest."""

    def __init__(self, known: list[Family], new: list[Family], stays: Callable[[Sample], bool]) -> None:
        self._families = {family.name: family for family in new}
        older = _older(known, new)
        for family in known:
            kept = [sample for sample in family.samples if stays(sample)]
            if not kept:
                continue
            into = self._families.setdefault(family.name, Family(family.name, family.documentation, family.type))
            written = {_series(sample) for sample in into.samples} - older
            into.samples = [sample for sample in into.samples if _series(sample) not in older]
            into.samples += [sample for sample in kept if _series(sample) not in written]

    def collect(self) -> Iterator[Family]:
        """Return those metrics."""
        yield from self._families.values()


Series = tuple[str, frozenset[tuple[str, str]]]


def _series(sample: Sample) -> Series:
    return sample.name, frozenset(sample.labels.items())


def _older(known: list[Family], new: list[Family]) -> set[Series]:
    """Return which last runs in *new* are older than those that are *known*: another process had a later one."""
    times = {_series(sample): sample.value for one in known if one.name == LAST[0] for sample in one.samples}
    late = [
        sample
        for family in new
        if family.name == LAST[0]
        for sample in family.samples
        if times.get(_series(sample), 0.0) > sample.value
    ]
    return {(name, frozenset(sample.labels.items())) for sample in late for name in LAST}


def _checked(where: str, service: str) -> Path:
    path = Path(where)
    if not where or (path.suffix != _SUFFIX and not path.is_dir()):
        raise ConfigurationError(
            f"metrics=textfile:{where} names no file for node_exporter: give textfile:/path/NAME{_SUFFIX}, or a folder"
        )
    if path.is_dir():
        path /= f"otelflow-{_in_a_file_name(service)}{_SUFFIX}"
    if not path.parent.is_dir():
        raise ConfigurationError(f"metrics=textfile:{where}: the folder {path.parent} is not there; create it first")
    return path


def _in_a_file_name(service: str) -> str:
    """Return *service* so that no two services have the same file."""
    text = quote(service, safe=" ")
    if len(text) > _LONGEST_NAME:
        text = text[:_LONGEST_NAME] + "-" + hashlib.sha256(service.encode()).hexdigest()[:16]
    return text


def _read(path: Path) -> list[Family]:
    try:
        return list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []
    except ValueError as error:
        losses.warn_once(f"textfile {path}", "%s was no metrics file and is replaced (%s)", path, error)
        return []


def _replace(path: Path, text: bytes) -> None:
    """Write *text* so that a reader sees the old file or the new one."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(text)
        new.chmod(0o644)  # node_exporter is another user
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Let one process at a time read and replace the file; a lock that is not to be had by *deadline* is left out."""
    file = _lock_file(path)
    if file is None:
        yield
        return
    try:
        while not _lock(file) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield
    finally:
        os.close(file)


def _lock_file(path: Path) -> int | None:
    """Open the file that is locked, for every user whatever the umask; None when that is not to be had."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError:
        try:
            return os.open(path, os.O_RDONLY)  # as good for a lock, and no question of who made it
        except OSError:
            return None
    path.chmod(0o666)
    return file


def _lock(file: int) -> bool:
    try:
        import fcntl  # noqa: PLC0415 not on Windows
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
