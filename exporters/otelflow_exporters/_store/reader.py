"""Read the traces in a store, and forget them."""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow.errors import StoreUnreadable, TraceNotFound
from otelflow_exporters._otlp.json import to_otlp_json
from otelflow_exporters._otlp.model import Span, from_otlp, service_of
from otelflow_exporters._store.forgetting import Forgotten, forget_everything, forget_spans
from otelflow_exporters._store.gathering import Gathered
from otelflow_exporters._store.limits import store_directory
from otelflow_exporters._store.payloads import Payloads
from otelflow_exporters._store.pruning import StoredFile, segment_files
from otelflow_exporters._store.records import TRACE_ID_BYTES, Record, Segment, spans_of
from otelflow_exporters._store.summaries import INCOMPLETE, TraceSummary, Unfinished

__all__ = ["INCOMPLETE", "Forgotten", "StoredTrace", "StoredTraces", "TraceSummary", "to_otlp_json"]

_ID_DIGITS: Final = 32
_NAMED_IN_MESSAGES: Final = 5
# A segment's time and a span's come from clocks that need not agree to the millisecond.
_CLOCK_SLACK: Final = 2_000_000_000


@dataclass(frozen=True)
class StoredTrace:
    """One whole trace; ``unreadable`` counts the damaged bytes that were met while it was looked for."""

    trace_id: str
    traces: TracesData
    unreadable: int = 0

    @property
    def spans(self) -> list[Span]:
        """Return the spans, ready to be rendered."""
        return from_otlp(self.traces)


class StoredTraces:
    """The traces in one store; a directory that does not exist is an empty store."""

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self.directory: Path | None = store_directory(directory)
        #: Bytes that held no readable record, as far as the latest call looked.
        self.unreadable = 0

    def summaries(self) -> Iterator[TraceSummary]:
        """Yield what is worth knowing about each trace, newest first; stop early and the rest is never read."""
        self.unreadable = 0
        unfinished: dict[bytes, Unfinished] = {}
        told: set[bytes] = set()
        files = self._segments()
        for file, older in zip_longest(files, files[1:]):
            for record in self._records(file):
                _add(unfinished, told, record)
            # What started after the older segments were last written cannot be in them.
            horizon = -1 if older is None else int(older.modified * 1e9) + _CLOCK_SLACK
            complete = [one for one in unfinished.values() if one.start > horizon]
            for one in sorted(complete, key=lambda one: one.start, reverse=True):
                told.add(one.trace_id)
                yield unfinished.pop(one.trace_id).summary()

    def load(self, trace_id: str) -> StoredTrace:
        """Return the trace with this id, or with the only one that begins like this."""
        full = self.resolve(trace_id)
        wanted = bytes.fromhex(full)
        self.unreadable = 0
        gathered = Gathered(wanted)
        for file in self._segments():
            for record in self._records(file, wanted):
                gathered.add(record.traces)
        if not gathered.traces.resource_spans:
            raise self._not_found(trace_id)
        return StoredTrace(full, gathered.traces, self.unreadable)

    def resolve(self, trace_id: str) -> str:
        """Return the full id of the only stored trace whose id begins like this."""
        prefix = trace_id.strip().lower()
        if not prefix or len(prefix) > _ID_DIGITS or set(prefix) - set("0123456789abcdef"):
            raise TraceNotFound(f"{trace_id!r} is no trace id: give up to {_ID_DIGITS} hexadecimal digits")
        if len(prefix) == _ID_DIGITS:
            return prefix
        found = self._ids_like(prefix)
        if not found:
            raise self._not_found(trace_id)
        if len(found) > 1:
            some = ", ".join(sorted(found)[:_NAMED_IN_MESSAGES])
            more = ", …" if len(found) > _NAMED_IN_MESSAGES else ""
            raise TraceNotFound(f"{trace_id!r} is ambiguous: {len(found)} stored traces begin so ({some}{more})")
        return found.pop()

    def payload(self, reference: str) -> bytes | None:
        """Return an artifact's whole payload, or None when it is not stored (any more)."""
        return None if self.directory is None else Payloads(self.directory).read(reference)

    def forget(self, trace_id: str) -> Forgotten:
        """Erase one trace and the payloads that only it refers to."""
        wanted = bytes.fromhex(self.resolve(trace_id))
        forgotten = self._forget({wanted})
        if not forgotten.spans:
            raise self._not_found(trace_id)
        return forgotten

    def forget_older_than(self, age: timedelta) -> Forgotten:
        """Erase the traces whose last span ended longer than *age* ago."""
        limit = (datetime.now(UTC) - age).timestamp() * 1e9
        old = {bytes.fromhex(one.trace_id) for one in self.summaries() if one.last_end < limit}
        return self._forget(old) if old else Forgotten(0, 0)

    def forget_all(self) -> Forgotten:
        """Erase every trace and payload; segments that a process is writing are emptied and stay."""
        files = self._segments()
        if self.directory is None or not files:
            return Forgotten(0, 0)
        return self._erase(lambda directory: forget_everything(directory, files))

    def _forget(self, trace_ids: Collection[bytes]) -> Forgotten:
        files = self._segments()
        return self._erase(lambda directory: forget_spans(directory, files, trace_ids))

    def _erase(self, erase: Callable[[Path], Forgotten]) -> Forgotten:
        if self.directory is None:
            return Forgotten(0, 0)
        try:
            return erase(self.directory)
        except OSError as error:
            raise StoreUnreadable(
                f"The store {self.directory} cannot be changed ({error}); some of it may be erased already. "
                "Check who owns it, or delete the directory"
            ) from error

    def _segments(self) -> list[StoredFile]:
        if self.directory is None:
            return []
        try:
            return segment_files(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnreadable(
                f"The store {self.directory} cannot be read ({error.strerror or error}); "
                "check its permissions, or name another directory in OTELFLOW_STORE"
            ) from error

    def _records(self, file: StoredFile, containing: bytes = b"") -> Iterator[Record]:
        try:
            segment = Segment(file.path.read_bytes())
        except FileNotFoundError:
            return  # pruned since it was listed
        except OSError:
            self.unreadable += file.size
            return
        yield from segment.records(containing)
        self.unreadable += segment.unreadable

    def _ids_like(self, prefix: str) -> set[str]:
        whole_bytes = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
        return {
            trace_id
            for file in self._segments()
            for record in self._records(file, whole_bytes)
            for span in spans_of(record.traces)
            if (trace_id := span.trace_id.hex()).startswith(prefix)
        }

    def _not_found(self, trace_id: str) -> TraceNotFound:
        return TraceNotFound(
            f"No trace in {self.directory or 'the store (it is off)'} has an id that begins with {trace_id!r}; "
            "'otelflow show --list' lists what is stored, OTELFLOW_STORE names another store"
        )


def _add(unfinished: dict[bytes, Unfinished], told: set[bytes], record: Record) -> None:
    for resource_spans in record.traces.resource_spans:
        service = service_of(resource_spans)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                trace_id = span.trace_id
                if len(trace_id) != TRACE_ID_BYTES or trace_id in told:
                    continue
                if trace_id not in unfinished:
                    unfinished[trace_id] = Unfinished(span)
                unfinished[trace_id].add(span, service)
