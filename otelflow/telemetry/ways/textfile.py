"""Write a file for node_exporter's textfile collector, for jobs on a machine."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otelflow._core import attributes, ledger
from otelflow._core.errors import ConfigurationError
from otelflow.telemetry.board import Board
from otelflow.telemetry.prometheus import Showing
from otelflow.telemetry.readings import LIVE, Metric, Point, readings
from otelflow.telemetry.ways.courier import Courier

_SUFFIX: Final = ".prom"


class Textfile:
    """Replaces the file at once, whole, when an outermost flow has ended and at exit.

    Last-run timestamps of other processes stay in it: a run that fails must not wipe out when one last succeeded.
    Every series has the label ``service``: two files with the same series would make node_exporter refuse both.
    """

    def __init__(self, board: Board, where: str, service: str) -> None:
        self._path = _checked(where, service)
        self._board = board
        self._service = service
        self._courier = Courier(self._deliver, f"for {self._path}")
        board.ended = self._courier.wake

    def flush(self, timeout: float) -> bool:
        """Write now."""
        return self._courier.flush(timeout)

    def close(self) -> None:
        """Write the last numbers."""
        self._board.ended = None
        self._courier.close()

    def _deliver(self, deadline: float) -> None:
        metrics = [metric for metric in readings(self._board.snapshot()) if metric.name not in LIVE]
        with _locked(self._path.with_name(self._path.name + ".lock"), deadline):
            metrics = [self._with_older(metric) for metric in metrics]
            _replace(self._path, generate_latest(Showing(metrics, service=self._service)))

    def _with_older(self, metric: Metric) -> Metric:
        if metric.name != attributes.FLOW_LAST_RUN:
            return metric
        newest = {**_last_runs(self._path), **{point.labels: point.value for point in metric.points}}
        return metric._replace(points=[Point(labels, value) for labels, value in newest.items()])


def _checked(where: str, service: str) -> Path:
    path = Path(where)
    if not where or (path.suffix != _SUFFIX and not path.is_dir()):
        raise ConfigurationError(
            f"metrics=textfile:{where} names no file for node_exporter: give textfile:/path/NAME{_SUFFIX}, or a folder"
        )
    if path.is_dir():
        safe = "".join(character if character.isalnum() or character in "-_." else "_" for character in service)
        path /= f"otelflow-{safe}{_SUFFIX}"
    if not path.parent.is_dir():
        raise ConfigurationError(f"metrics=textfile:{where}: the folder {path.parent} is not there; create it first")
    return path


def _last_runs(path: Path) -> dict[tuple[str, ...], float]:
    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        ledger.warn_once(f"textfile {path}", "%s was no metrics file and is replaced (%s)", path, error)
        return {}
    return {
        (sample.labels.get("flow", ""), sample.labels.get("result", "")): sample.value
        for family in families
        if family.name == attributes.FLOW_LAST_RUN
        for sample in family.samples
    }


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
    try:
        import fcntl  # noqa: PLC0415 not on Windows
    except ImportError:
        yield
        return
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
            break
        yield
