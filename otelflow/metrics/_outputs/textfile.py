"""Write a file for node_exporter's textfile collector, for jobs on a machine.

A forked child begins to count at zero, under the name of its parent: it writes timestamps and no counters.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import quote

from opentelemetry.sdk.resources import Resource
from prometheus_client import core, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otelflow import semconv
from otelflow._core.process import clock, losses
from otelflow._core.process.files import Folder, lock, unlock
from otelflow._core.text.redaction import redact_address
from otelflow.errors import ConfigurationError
from otelflow.metrics._collector import FixedCollector, to_prometheus
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import OF_LAST_RUN, families_of, read
from otelflow.metrics._outputs.output import WorkerOutput, service_of, warn_of_unnamed

_SUFFIX: Final = ".prom"
_LONGEST_NAME: Final = 150
_LARGEST_FILE: Final = 64 * 1024 * 1024
_READABLE: Final = 0o644  # node_exporter is another user
_OWN_LINE: Final = re.compile(r"[ \t]*(?:#[ \t]*(?:HELP|TYPE)[ \t]+)?otelflow_")


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

    def check(self) -> None:
        """Raise ConfigurationError unless the file can be one for node_exporter."""
        self.file()

    def open(self, aggregator: Aggregator) -> "TextfileOutput":
        """Return the output that writes there."""
        return TextfileOutput(aggregator, self.file(), self.service)

    def file(self) -> Path:
        """Return the path of the file. Raises ConfigurationError unless it can be one for node_exporter."""
        path = Path(self.place)
        # An address that was meant for another output may have a password; a path may have an @ of its own.
        text = redact_address(self.place) if "://" in self.place else self.place
        # os.path.isdir, as Path.is_dir() raises where a name is too long, or a folder must not be looked into.
        is_folder = os.path.isdir(path)  # noqa: PTH112
        if not self.place or (path.suffix != _SUFFIX and not is_folder):
            raise ConfigurationError(
                f"metrics=textfile:{text} names no file for node_exporter: "
                f"give textfile:/path/NAME{_SUFFIX}, or a folder"
            )
        if is_folder:
            name = quote(self.service, safe=" ")
            if len(name) > _LONGEST_NAME:  # and no two services with the same file
                name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(self.service.encode()).hexdigest()[:16]}"
            path /= f"otelflow-{name}{_SUFFIX}"
        if not os.path.isdir(path.parent):  # noqa: PTH112
            raise ConfigurationError(f"metrics=textfile:{text}: the folder of that file is not there; create it first")
        return path


class TextfileOutput(WorkerOutput):
    """Replaces the file at once, whole, when an outermost flow has ended and at exit.

    Last-run timestamps of other processes stay in it: a run that fails must not wipe out when one last succeeded. So
    do the numbers of other services, and every line that others have written. Every series has the label ``service``:
    two files with the same series would make node_exporter refuse both.
    """

    def __init__(self, aggregator: Aggregator, path: Path, service: str) -> None:
        super().__init__(aggregator, f"for {path}")
        self._path = path.absolute()  # a daemon goes to another folder
        self._service = service
        warn_of_unnamed(service)

    def deliver(self, deadline: float) -> None:
        """Replace the file. A symbolic link, a FIFO or the like in its place is an OSError, and stays as it is."""
        is_child = self.aggregator.is_child
        current = [
            to_prometheus(family, service=self._service)
            for family in read(self.aggregator.snapshot())
            if not family.metric.is_live and (family.metric.is_of_last_run or not is_child)
        ]
        # The folder may be reached by a link of its administrator; nothing that others have put there is followed.
        with (
            Folder.reached(self._path.parent, may_be_link=True) as folder,
            _locked(folder, self._path.name + ".lock", deadline),
        ):
            foreign, earlier = self._content_before(folder)
            if not is_child:  # its counters of before are replaced; a child has none to put in their place
                for family in earlier:
                    family.samples = [
                        sample
                        for sample in family.samples
                        if sample.name in OF_LAST_RUN or sample.labels.get("service") != self._service
                    ]
            for (_, service), runs in self.aggregator.others.last_runs().items():
                earlier = _merged(earlier, [to_prometheus(family, service=service) for family in families_of(runs)])
            text = generate_latest(FixedCollector(_merged(earlier, current)))
            folder.write(self._path.name, foreign.encode() + text, _READABLE)

    def _content_before(self, folder: Folder) -> tuple[str, list[core.Metric]]:
        """Return what stands in the file: the lines of others as they are, and the families that otelflow writes.

        Lines that are no metrics are left out: they would make node_exporter refuse all of the file. A file of nothing
        else is somebody's text: that is an OSError, and it stays.
        """
        try:
            content = folder.read(self._path.name, _LARGEST_FILE).decode(errors="replace")
        except FileNotFoundError:
            return "", []
        # No universal newlines: a carriage return may stand in the name of a flow.
        lines = [line for line in content.split("\n") if line]
        try:
            list(text_string_to_metric_families(content))
        except Exception as error:  # noqa: BLE001 a foreign parser reads what others wrote
            lines = list(filter(_is_readable, lines))
            if content.strip("\0") and all(line.startswith("#") for line in lines):  # a crash may leave zeros
                raise OSError(f"{self._path} holds no metrics; name a file of its own for them") from None
            losses.warn_once(
                f"textfile {self._path}", "%s has lines that are no metrics, which are left out (%s)", self._path, error
            )
        own_lines = [line for line in lines if _OWN_LINE.match(line)]
        foreign = "".join(f"{line}\n" for line in lines if not _OWN_LINE.match(line))
        return foreign, list(text_string_to_metric_families("\n".join(own_lines)))


def _is_readable(line: str) -> bool:
    try:
        list(text_string_to_metric_families(line))
    except Exception:  # noqa: BLE001 a foreign parser reads what others wrote
        return False
    return True


def _merged(earlier: list[core.Metric], current: list[core.Metric]) -> list[core.Metric]:
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
        stem = family.name.removesuffix("_total")  # of a counter whose type was not said
        name = stem if stem in merged else family.name
        into = merged.setdefault(name, core.Metric(name, family.documentation, family.type))
        into.samples = [sample for sample in into.samples if _key(sample) not in outdated]
        keys = {_key(sample) for sample in into.samples}
        into.samples += [sample for sample in family.samples if _key(sample) not in keys]
    return list(merged.values())


def _key(sample: core.Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    return sample.name, frozenset(sample.labels.items())


@contextmanager
def _locked(folder: Folder, name: str, deadline: float) -> Iterator[None]:
    """Let one process at a time read and replace the file; without the lock if it cannot be had by *deadline*."""
    descriptor = _open_lock(folder, name)
    try:
        while descriptor is not None and lock(descriptor) is False and clock.monotonic() < deadline:
            clock.sleep(0.02)
        yield
    finally:
        if descriptor is not None:
            unlock(descriptor)
            os.close(descriptor)


def _open_lock(folder: Folder, name: str) -> int | None:
    """Open the file that is locked, for every user whatever the umask; None when that is not possible."""
    try:
        descriptor = folder.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except OSError:
        try:
            return folder.open(name, os.O_RDONLY)  # as good for a lock, and it may be another user's
        except OSError:
            return None
    if sys.platform != "win32":
        os.fchmod(descriptor, 0o666)
    return descriptor
