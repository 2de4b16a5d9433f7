"""Share one set of numbers among the worker processes of gunicorn and other prefork servers.

prometheus-client's multiprocess mode: every process writes into files of its own in ``PROMETHEUS_MULTIPROC_DIR``, and
whoever is asked adds them up. It knows no exemplars and no removal.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final

from prometheus_client import values
from prometheus_client.core import Metric as Family
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from otelflow import semconv
from otelflow._core.process import forks
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Board
from otelflow.metrics._families import LAST, LIVE, Metric, Point, readings
from otelflow.metrics._outputs.metrics_worker import MetricsWorker

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_FILE: Final = re.compile(r"gauge_live[a-z]*_(\d+)\.db")
_INTERVAL_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 1.0

# How the numbers of several processes become one. "live": those of a dead process do not count.
_MODES: Final = {
    semconv.FLOW_RUNS_IN_PROGRESS: "livesum",
    semconv.FLOW_OLDEST_RUN: "liveall",  # with a label pid: 0 in one process must not hide the oldest of another
    semconv.FLOW_LAST_RUN: "max",
    semconv.FLOW_LAST_RUN_DURATION: "mostrecent",
    semconv.BUILD_INFO: "livemax",
}


def directory() -> Path:
    """Return the folder of the files. Raises ConfigurationError unless prometheus-client uses it."""
    text = os.environ.get(VARIABLE, "")
    if not text or not Path(text).is_dir():
        raise ConfigurationError(
            f"metrics=multiprocess needs {VARIABLE}, set to an existing empty folder before Python starts "
            f"(it is {text!r}); prometheus-client keeps the numbers of all workers there"
        )
    if values.ValueClass.__name__ != "MmapedValue":
        raise ConfigurationError(f"metrics=multiprocess: set {VARIABLE} before prometheus_client is imported")
    return Path(text)


class Multiprocess:
    """Writes what the board shows into the files of this process, within a second and at the end of each flow."""

    def __init__(self, board: Board) -> None:
        self._directory = directory()
        self._board = board
        self._worker = MetricsWorker(self._deliver, f"in {self._directory}", interval=_INTERVAL_SECONDS)
        bury(self._directory)
        _disown(self._directory)
        forks.begin_anew(self, Multiprocess._begin_in_child)

    def _begin_in_child(self) -> None:
        """Take over no open runs of a dead process that had the same pid; nothing is open in these files yet."""
        for file in _own_live_files(self._directory):
            file.unlink(missing_ok=True)

    def start(self) -> bool:
        """Write from now on, also in a forked child as soon as anything runs there."""
        self._board.started = self._board.ended = self._worker.wake
        self._board.appeared = self._worker.start
        return True

    def flush(self, timeout: float) -> bool:
        """Write the numbers of now."""
        return self._worker.flush(timeout)

    def close(self) -> None:
        """Write the last numbers; of what is open, nothing is left."""
        self._board.started = self._board.ended = self._board.appeared = None
        self._worker.close()

    def _deliver(self, deadline: float) -> None:
        _Files.of(self._board).write(readings(self._board.snapshot()))

    def collector(self) -> Collector:
        """Return what shows the sum of all processes."""
        return _Sum(self)

    def families(self) -> list[Family]:
        """Return the metrics of all processes."""
        self.flush(_PATIENCE_SECONDS)
        bury(self._directory)
        collector: Any = MultiProcessCollector(None, str(self._directory))  # type: ignore[no-untyped-call]
        return list(collector.collect())


class _Sum(Collector):
    """Adds up the files of all processes, those of the application's own metrics, too."""

    def __init__(self, way: Multiprocess) -> None:
        self._way = way

    def collect(self) -> Iterable[Family]:
        return self._way.families()

    def describe(self) -> Iterable[Family]:
        return ()


def bury(folder: Path) -> None:
    """Delete what dead processes said of their open runs; what they counted stays, or counters would go backwards."""
    for file in folder.glob("gauge_live*.db"):
        found = _LIVE_FILE.fullmatch(file.name)
        if found is not None and not _is_alive(int(found[1])):
            file.unlink(missing_ok=True)


def _own_live_files(folder: Path) -> list[Path]:
    return list(folder.glob(f"gauge_live*_{os.getpid()}.db"))


def _disown(folder: Path) -> None:
    """Set to zero what a dead process with the pid of this one said of its open runs, as in a container's next start.

    Not deleted: gauges of the application may be open in these files by now.
    """
    for file in _own_live_files(folder):
        mode = file.name.removeprefix("gauge_").rpartition("_")[0]
        with file.open("rb") as content:
            is_empty = not content.read(4).strip(b"\0")
        said: Any = () if is_empty else MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
        for key, value, *_ in list(said):
            name, sample, labels, text = json.loads(key)
            if name in LIVE and value:
                values.ValueClass(
                    "gauge", name, sample, list(labels), list(labels.values()), text, multiprocess_mode=mode
                ).set(0.0)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


class _Files:
    """The numbers of this process in prometheus-client's files: only what has changed is written.

    There is one for each process and board, whatever way out comes and goes: what is written is not added again.
    """

    _ours: "ClassVar[_Files | None]" = None

    @classmethod
    def of(cls, board: Board) -> "_Files":
        """Return the numbers that this process has written of *board*."""
        if cls._ours is None or cls._ours.pid != os.getpid() or cls._ours.board is not board:
            cls._ours = cls(board)
        return cls._ours

    def __init__(self, board: Board) -> None:
        self.pid: Final = os.getpid()
        self.board: Final = board
        self._values: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._written: dict[tuple[str, tuple[str, ...]], float] = {}

    def write(self, metrics: Iterable[Metric]) -> None:
        metrics = list(metrics)
        last = {point.labels: point.value for metric in metrics if metric.name == LAST[0] for point in metric.points}
        for metric in metrics:
            if metric.kind == "counter":
                self._write_counter(metric)
            elif metric.kind == "histogram":
                self._write_histogram(metric)
            else:
                self._write_gauge(metric, last)

    def _write_counter(self, metric: Metric) -> None:
        name = metric.name.removesuffix("_total")
        for point in metric.points:
            self._add("counter", metric, name, metric.name, metric.label_names, point.labels, point.value)

    def _write_histogram(self, metric: Metric) -> None:
        for point in metric.points:
            for bound, count in _counts(point):
                names, labels = (*metric.label_names, "le"), (*point.labels, bound)
                self._add("histogram", metric, metric.name, metric.name + "_bucket", names, labels, count)
            total = point.ended.total if point.ended is not None else 0.0
            self._add("histogram", metric, metric.name, metric.name + "_sum", metric.label_names, point.labels, total)

    def _write_gauge(self, metric: Metric, last: Mapping[tuple[str, ...], float]) -> None:
        now = {(metric.name, point.labels): point.value for point in metric.points}
        gone = {key: 0.0 for key in self._written if key[0] == metric.name and key not in now}
        for (name, labels), value in chain(now.items(), gone.items()):
            if self._written.get((name, labels)) != value:
                kind = _MODES[name]
                shown = self._value("gauge", metric, name, name, metric.label_names, labels, kind)
                shown.set(value, timestamp=last.get(labels, 0.0) if name == LAST[1] else None)
                self._written[name, labels] = value

    def _add(self, kind: str, metric: Metric, name: str, sample: str, names: Any, labels: Any, value: float) -> None:
        before = self._written.get((sample, labels))
        if before != value:
            self._value(kind, metric, name, sample, names, labels, "").inc(value - (before or 0.0))
            self._written[sample, labels] = value

    def _value(self, kind: str, metric: Metric, name: str, sample: str, names: Any, labels: Any, mode: str) -> Any:
        key = (sample, labels)
        found = self._values.get(key)
        if found is None:
            more = {"multiprocess_mode": mode} if mode else {}
            found = values.ValueClass(kind, name, sample, names, labels, metric.help, **more)
            self._values[key] = found
        return found


def _counts(point: Point) -> Iterable[tuple[str, int]]:
    counts = point.ended.counts if point.ended is not None else []
    return zip(point.shown_bounds, counts, strict=True)
