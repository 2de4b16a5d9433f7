"""Write a file for node_exporter's textfile collector, for jobs on a machine.

A forked child begins to count at zero, under the name of its parent: it writes timestamps and no counters.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import quote

from opentelemetry.sdk.resources import Resource
from prometheus_client import core, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otelflow import semconv
from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from otelflow.metrics._collector import FixedCollector, to_prometheus
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import OF_LAST_RUN, read
from otelflow.metrics._outputs.output import WorkerOutput, service_of, warn_of_unnamed

_SUFFIX: Final = ".prom"
_LONGEST_NAME: Final = 150


@dataclass(frozen=True)
class Textfile:
    """A file, or a folder where *service* has a file of its own."""

    place: str
    service: str
    takes_place: ClassVar[bool] = True

    @classmethod
    def from_place(cls, place: str, resource: Resource) -> Self:
        """Take *place* as it is; it is looked at when the output is opened."""
        return cls(place, service_of(resource))

    def open(self, aggregator: Aggregator) -> "TextfileOutput":
        """Return the output that writes there."""
        return TextfileOutput(aggregator, self.file(), self.service)

    def file(self) -> Path:
        """Return the path of the file. Raises ConfigurationError unless it can be one for node_exporter."""
        path = Path(self.place)
        if not self.place or (path.suffix != _SUFFIX and not path.is_dir()):
            raise ConfigurationError(
                f"metrics=textfile:{self.place} names no file for node_exporter: "
                f"give textfile:/path/NAME{_SUFFIX}, or a folder"
            )
        if path.is_dir():
            name = quote(self.service, safe=" ")
            if len(name) > _LONGEST_NAME:  # and no two services with the same file
                name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(self.service.encode()).hexdigest()[:16]}"
            path /= f"otelflow-{name}{_SUFFIX}"
        if not path.parent.is_dir():
            raise ConfigurationError(
                f"metrics=textfile:{self.place}: the folder {path.parent} is not there; create it first"
            )
        return path


class TextfileOutput(WorkerOutput):
    """Replaces the file at once, whole, when an outermost flow has ended and at exit.

    Last-run timestamps of other processes stay in it: a run that fails must not wipe out when one last succeeded. So
    do the numbers of other services. Every series has the label ``service``: two files with the same series would make
    node_exporter refuse both.
    """

    def __init__(self, aggregator: Aggregator, path: Path, service: str) -> None:
        super().__init__(aggregator, f"for {path}")
        self._path = path
        self._service = service
        warn_of_unnamed(service)

    def deliver(self, deadline: float) -> None:
        """Replace the file."""
        is_child = self.aggregator.is_child
        current = [
            to_prometheus(family, service=self._service)
            for family in read(self.aggregator.snapshot())
            if not family.metric.is_live and (family.metric.is_of_last_run or not is_child)
        ]
        with _locked(self._path.with_name(self._path.name + ".lock"), deadline):
            earlier: list[core.Metric] = []
            try:
                earlier += text_string_to_metric_families(self._path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                pass
            except ValueError as error:
                losses.warn_once(
                    f"textfile {self._path}", "%s was no metrics file and is replaced (%s)", self._path, error
                )
                earlier.clear()
            if not is_child:  # its counters of before are replaced; a child has none to put in their place
                for family in earlier:
                    family.samples = [
                        sample
                        for sample in family.samples
                        if sample.name in OF_LAST_RUN or sample.labels.get("service", self._service) != self._service
                    ]
            self._replace_file(generate_latest(FixedCollector(_merged(earlier, current))))

    def _replace_file(self, text: bytes) -> None:
        """Write *text* so that a reader sees the old file or the new one."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(text)
            temporary.chmod(0o644)  # node_exporter is another user
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)


def _merged(earlier: Iterable[core.Metric], current: list[core.Metric]) -> Iterable[core.Metric]:
    """Return both, *current* in place of the same series in *earlier*; but of the last run, the newer of the two."""
    times = {
        _key(sample): sample.value
        for family in earlier
        if family.name == semconv.FLOW_LAST_RUN
        for sample in family.samples
    }
    outdated = {  # by the last run of another process
        (name, frozenset(sample.labels.items()))
        for family in current
        if family.name == semconv.FLOW_LAST_RUN
        for sample in family.samples
        if times.get(_key(sample), 0.0) > sample.value
        for name in OF_LAST_RUN
    }
    merged = {family.name: family for family in current}
    for family in earlier:
        if not family.samples:
            continue
        into = merged.setdefault(family.name, core.Metric(family.name, family.documentation, family.type))
        into.samples = [sample for sample in into.samples if _key(sample) not in outdated]
        keys = {_key(sample) for sample in into.samples}
        into.samples += [sample for sample in family.samples if _key(sample) not in keys]
    return merged.values()


def _key(sample: core.Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    return sample.name, frozenset(sample.labels.items())


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Let one process at a time read and replace the file; without the lock if it cannot be had by *deadline*."""
    lock = _open_lock(path)
    try:
        while lock is not None and not _try_to_lock(lock) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _open_lock(path: Path) -> int | None:
    """Open the file that is locked, for every user whatever the umask; None when that is not possible."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError:
        try:
            return os.open(path, os.O_RDONLY)  # as good for a lock, and it may be another user's
        except OSError:
            return None
    path.chmod(0o666)
    return file


def _try_to_lock(file: int) -> bool:
    try:
        import fcntl  # noqa: PLC0415 not on Windows

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # nothing can be locked on this system, or on this file system
        return True
    return True
