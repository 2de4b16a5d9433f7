"""Share one set of numbers among the worker processes of gunicorn and other prefork servers.

prometheus-client's multiprocess mode: every process writes into files of its own in ``PROMETHEUS_MULTIPROC_DIR``, and
the one that is scraped adds them up. It knows no exemplars and no removal.
"""

import errno
import json
import os
import re
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from opentelemetry.sdk.resources import Resource
from prometheus_client import core, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from otelflow._core.process import forks
from otelflow._core.process.files import Folder, is_running
from otelflow._core.process.process import State
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator, Hooks
from otelflow.metrics._families import LIVE, METRICS, Family, Metric, bucket_labels, read
from otelflow.metrics._outputs.output import WorkerOutput

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_FILE: Final = re.compile(r"gauge_live[a-z]*_(\d+)\.db")
_INTERVAL_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 1.0
# prometheus-client begins a file with as much, and doubles it when it is full.
_FIRST_SIZE: Final = 65_536
_LARGEST_ENTRY: Final = 16_384


@dataclass(frozen=True)
class Multiprocess:
    """The files of prometheus-client, in the folder that its variable names."""

    takes_place: ClassVar[bool] = False

    @classmethod
    def from_place(cls, place: str, resource: Resource) -> Self:
        """Return the only choice that there is."""
        return cls()

    def check(self) -> None:
        """Raise ConfigurationError unless prometheus-client uses the folder of the variable, and no other user has it.

        It opens files there by their path, also what others put in their place.
        """
        folder = os.environ.get(VARIABLE, "")
        reason = ""
        try:  # before anything else: where the system itself follows no link of others, it says that nothing is there
            with Folder.reached(Path(folder).absolute(), may_be_link=True) as opened_folder:
                status = opened_folder.status()
        except OSError as error:
            reason = error.strerror or str(error)
            is_there = error.errno == errno.ELOOP or os.path.isdir(folder)  # noqa: PTH112 Path.is_dir() may raise
        else:
            is_there = bool(folder)
            if sys.platform != "win32" and status.st_uid not in (0, user := os.geteuid()):
                # As root, the master of gunicorn works in the folder of its workers' user.
                is_of_workers = not user and not status.st_mode & stat.S_IWOTH
                reason = "" if is_of_workers else "it belongs to another user"
        if not is_there:
            raise ConfigurationError(
                f"metrics=multiprocess needs {VARIABLE}, set to an existing empty folder before Python starts "
                f"(it is {folder!r}); prometheus-client keeps the numbers of all workers there"
            )
        if reason:
            raise ConfigurationError(
                f"metrics=multiprocess cannot use {VARIABLE}={folder}: {reason}; name a folder of your own, or of root"
            )
        if values.ValueClass.__name__ != "MmapedValue":
            raise ConfigurationError(f"metrics=multiprocess: set {VARIABLE} before prometheus_client is imported")

    def open(self, aggregator: Aggregator) -> "MultiprocessOutput":
        """Return the output."""
        self.check()
        return MultiprocessOutput(aggregator, Path(os.environ[VARIABLE]))


class MultiprocessOutput(WorkerOutput):
    """Writes the numbers that have changed into the files of this process: within a second, at a scrape and at exit."""

    def __init__(self, aggregator: Aggregator, folder: Path) -> None:
        remove_dead_gauges(folder)
        zero_own_gauges(folder)
        super().__init__(aggregator, f"in {folder}", interval=_INTERVAL_SECONDS)
        # Not at each flow, which would cost more than the flow; but in a forked child as soon as anything runs there.
        self.hooks = Hooks(series_added=self.worker.start)
        self.collector = _SumCollector(self)
        self._folder = folder
        forks.begin_anew(self, MultiprocessOutput.begin_anew)

    def begin_anew(self) -> None:
        """Take over no open runs of a dead process that had the same pid; nothing is open in these files yet."""
        for file in _own_live_files(self._folder):
            file.unlink(missing_ok=True)

    def deliver(self, deadline: float) -> None:
        """Write the numbers that have changed."""
        _files.write(self.aggregator)

    def collect(self) -> Iterable[core.Metric]:
        """Return the metrics of all processes."""
        self.flush(_FLUSH_SECONDS)
        remove_dead_gauges(self._folder)
        files = [str(file) for file in self._folder.glob("*.db") if _has_content(file)]
        metrics: Iterable[core.Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return metrics


def _has_content(file: Path) -> bool:
    """Tell whether *file* can be read: a worker may make or remove it in this moment."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


class _SumCollector(Collector):
    """Adds up the files of all processes, those of the application's own metrics, too."""

    def __init__(self, output: MultiprocessOutput) -> None:
        self._output = output

    def collect(self) -> Iterable[core.Metric]:
        return self._output.collect()

    def describe(self) -> Iterable[core.Metric]:
        return ()


def remove_dead_gauges(folder: Path) -> None:
    """Delete the open runs of dead processes; what they counted stays, or counters would go backwards."""
    for file in folder.glob("gauge_live*.db"):
        match = _LIVE_FILE.fullmatch(file.name)
        if match is not None and not is_running(int(match[1])):
            file.unlink(missing_ok=True)


def _own_live_files(folder: Path) -> list[Path]:
    return list(folder.glob(f"gauge_live*_{os.getpid()}.db"))


def zero_own_gauges(folder: Path) -> None:
    """Set to zero the open runs of a dead process with the pid of this one, as in a container's next start.

    The file is not deleted: gauges of the application may be open in it by now.
    """
    for file in _own_live_files(folder):
        mode = file.name.removeprefix("gauge_").rpartition("_")[0]
        with file.open("rb") as content:
            is_empty = not content.read(4).strip(b"\0")
        entries: Any = () if is_empty else MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
        for key, value, *_ in list(entries):
            name, sample, labels, text = json.loads(key)
            if name in LIVE and value:
                values.ValueClass(
                    "gauge", name, sample, list(labels), list(labels.values()), text, multiprocess_mode=mode
                ).set(0.0)


def allocate(beginning: str, allocated: int) -> int:
    """Have room on the disk for one more value in this process' file whose name begins so; return its size.

    prometheus-client writes by way of memory into files with holes: on a full disk the system would end the process by
    SIGBUS. An OSError in time is a loss that is counted.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return 0
    with Path(f"{beginning}_{os.getpid()}.db").open("a+b", buffering=0) as file:
        file.seek(0)
        length = int.from_bytes(file.read(4), sys.byteorder)
        size = max(os.fstat(file.fileno()).st_size, allocated, _FIRST_SIZE)
        while length + _LARGEST_ENTRY > size:
            size *= 2
        if size > allocated or not length:
            os.posix_fallocate(file.fileno(), 0, size)
    return size


class _Files(State):
    """The numbers of this process in prometheus-client's files: only changes are written.

    There is one for the process, whichever output comes and goes: prometheus-client keeps each value that is made, and
    goes through all of them in every forked child.
    """

    def reset(self) -> None:
        """Be as if nothing were written."""
        self._values: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._reserved: dict[str, int] = {}
        self._pid = os.getpid()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin with the files of a child, which prometheus-client makes, or with the numbers of another aggregator."""
        self._written: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in METRICS}
        self._distributions: dict[tuple[str, tuple[str, ...]], tuple[list[int], float]] = {}
        self._aggregator: Aggregator | None = None
        self._version: object = None

    def write(self, aggregator: Aggregator) -> None:
        """Write each number that has changed; prometheus-client adds up those of a counter or a bucket."""
        if self._aggregator is not aggregator:
            self.begin_anew()
            self._aggregator = aggregator
        version = aggregator.version()
        if version == self._version:
            return
        if self._pid != (pid := os.getpid()):  # prometheus-client writes all values into files of the child
            for beginning, size in self._reserved.items():
                allocate(beginning, size)
            self._pid = pid
        for family in read(aggregator.snapshot()):
            metric = family.metric
            if metric.kind == "counter":
                name = metric.name.removesuffix("_total")
                for sample in family.samples:
                    self._add(metric, name, metric.name, metric.labels, sample.labels, sample.value)
            elif metric.kind == "histogram":
                self._write_histogram(family)
            else:
                self._write_gauge(family)
        self._version = version

    def _write_histogram(self, family: Family) -> None:
        metric = family.metric
        names = (*metric.labels, "le")
        for sample in family.samples:
            durations, key = sample.distribution, (metric.name, sample.labels)
            if durations is None or self._distributions.get(key) == (durations.counts, durations.total):
                continue
            for bound, count in zip(bucket_labels(durations.bounds), durations.counts, strict=True):
                self._add(metric, metric.name, metric.name + "_bucket", names, (*sample.labels, bound), count)
            self._add(metric, metric.name, metric.name + "_sum", metric.labels, sample.labels, durations.total)
            self._distributions[key] = durations.counts, durations.total

    def _write_gauge(self, family: Family) -> None:
        metric = family.metric
        written = self._written[metric.name]
        current = {sample.labels: (sample.value, sample.time) for sample in family.samples}
        vanished = {labels: (0.0, 0.0) for labels in written if labels not in current}
        for labels, (value, time) in chain(current.items(), vanished.items()):
            if written.get(labels) != value:
                gauge = self._value(metric, metric.name, metric.name, metric.labels, labels, metric.merge)
                gauge.set(value, timestamp=time if metric.merge == "mostrecent" else None)
                written[labels] = value

    def _add(self, metric: Metric, name: str, sample: str, names: Any, labels: Any, value: float) -> None:
        written = self._written.setdefault(sample, {})
        before = written.get(labels)
        if before != value:
            self._value(metric, name, sample, names, labels).inc(value - (before or 0.0))
            written[labels] = value

    def _value(self, metric: Metric, name: str, sample: str, names: Any, labels: Any, mode: str = "") -> Any:
        value = self._values.get((sample, labels))
        if value is None:
            kind = metric.kind if metric.kind in ("counter", "histogram") else "gauge"
            modes = {"multiprocess_mode": mode} if mode else {}
            beginning = os.path.join(os.environ[VARIABLE], f"{kind}_{mode}" if mode else kind)  # noqa: PTH118 not a path yet
            self._reserved[beginning] = allocate(beginning, self._reserved.get(beginning, 0))
            value = values.ValueClass(kind, name, sample, names, labels, metric.help, **modes)
            self._values[sample, labels] = value
        return value


_files: Final = _Files()
