"""Read the traces in a store, and forget them."""

import functools
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow._core.process import clock
from otelflow._core.process.files import Folder, StoredFile
from otelflow.errors import StoreUnreadable, TraceNotFound
from otelflow_exporters._otlp.model import Span, from_otlp
from otelflow_exporters._store.forgetting import Forgotten, forget_everything, forget_spans
from otelflow_exporters._store.gathering import TraceCollector, running_and_lost
from otelflow_exporters._store.limits import store_directory, store_limits
from otelflow_exporters._store.ownership import open_store, segment_files, unreadable
from otelflow_exporters._store.payloads import Payloads
from otelflow_exporters._store.pruning import is_live
from otelflow_exporters._store.records import LARGEST_SEGMENT, Record, Segment, is_note, spans_of
from otelflow_exporters._store.summaries import INCOMPLETE, IsAlive, Summaries, TraceSummary

__all__ = ["INCOMPLETE", "Forgotten", "StoredTrace", "StoredTraces", "TraceSummary"]

_ID_DIGITS: Final = 32
_NAMED_IN_MESSAGES: Final = 5
# A segment's time and a span's come from clocks that need not agree to the millisecond.
_CLOCK_SLACK: Final = 2_000_000_000
_ALWAYS: Final = float("-inf")


@dataclass(frozen=True)
class StoredTrace:
    """One trace; ``unreadable`` counts the damaged bytes that were met while it was looked for.

    ``traces`` are the spans that have ended. ``running`` are those that go on, and ``lost`` those whose process is
    gone: of both is known how they began.
    """

    trace_id: str
    traces: TracesData
    unreadable: int = 0
    running: tuple[Span, ...] = ()
    lost: tuple[Span, ...] = ()

    @property
    def spans(self) -> list[Span]:
        """Return the spans, ready to be rendered."""
        return [*from_otlp(self.traces), *self.running, *self.lost]


class StoredTraces:
    """The traces in one store; a directory that does not exist is an empty store.

    Args:
        directory: the store's folder; without it ``OTELFLOW_STORE``, else the platform's own place.
        max_age: the age from which a trace is not shown any more, though it may not be removed yet; without it
            ``OTELFLOW_STORE_MAX_AGE_DAYS``, else seven days.
        kind: what errors call the folder: a ``store``, or a ``spool``.

    Raises:
        ConfigurationError: a variable, the directory or the age has no usable value.

    Every method that reads raises StoreUnreadable for a folder that is not the store's own: one that holds files of
    others, belongs to another user, can be written by others, or is a symbolic link.

    Example:
        >>> for summary in StoredTraces("traces").summaries():
        ...     print(summary.trace_id, summary.name, summary.result, summary.duration)
        4bf92f3577b34da6a3ce929d0e0e4736 flow nightly success 1.25

    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        max_age: timedelta | None = None,
        kind: str = "store",
    ) -> None:
        self.directory = store_directory(directory)
        self._kind = kind
        #: Bytes that held no readable record, as far as the latest call looked.
        self.unreadable = 0
        self._max_age = store_limits(max_age=max_age).max_age

    def summaries(self) -> Iterator[TraceSummary]:
        """Yield a summary of each trace, newest first; stop early and the rest is never read.

        Raises:
            StoreUnreadable: the folder cannot be read, or is not the store's own.

        Example:
            >>> newest = next(StoredTraces().summaries(), None)

        """
        return self._summaries(self._oldest())

    def load(self, trace_id: str) -> StoredTrace:
        """Return the trace with this id, or with the only one that begins like this.

        Args:
            trace_id: up to 32 hexadecimal digits.

        Raises:
            TraceNotFound: there is no such trace, or there are several.
            StoreUnreadable: the folder cannot be read, or is not the store's own.

        Example:
            >>> [span.name for span in StoredTraces().load("4bf9").spans]
            ['flow nightly']

        """
        full_id = self.resolve(trace_id)
        id_bytes = bytes.fromhex(full_id)
        oldest = self._oldest()
        self.unreadable = 0
        collector = TraceCollector(id_bytes)
        notes: dict[bool, TraceCollector] = {alive: TraceCollector(id_bytes, of_notes=True) for alive in (True, False)}
        with self._open() as store:
            for file in self._segments(store, oldest):
                is_alive = self._is_alive(store, file)
                for record in self._records(store, file, id_bytes):
                    collector.add(record.traces)
                    if any(map(is_note, spans_of(record.traces))):
                        notes[is_alive()].add(record.traces)
        ends = [span.end_time_unix_nano or span.start_time_unix_nano for span in spans_of(collector.traces)]
        running, lost = running_and_lost(collector, notes, max(ends, default=0))
        if not running and max([*ends, *(span.start for span in lost)], default=0) < oldest:
            raise self._not_found(trace_id)
        return StoredTrace(full_id, collector.traces, self.unreadable, running, lost)

    def resolve(self, trace_id: str) -> str:
        """Return the full id of the only stored trace whose id begins like this.

        Args:
            trace_id: up to 32 hexadecimal digits; all 32 are returned as they are.

        Raises:
            TraceNotFound: no trace begins like this, or several do.
            StoreUnreadable: the folder cannot be read, or is not the store's own.

        Example:
            >>> StoredTraces().resolve("4bf9")
            '4bf92f3577b34da6a3ce929d0e0e4736'

        """
        return self._resolve(trace_id, self._oldest())

    def payload(self, reference: str) -> bytes | None:
        """Return an artifact's whole payload, or None when it is not stored (any more).

        Args:
            reference: the value of the attribute ``otelflow.artifact.reference``.

        Example:
            >>> content = StoredTraces().payload("sha256:" + 64 * "0")

        """
        return None if self.directory is None else Payloads(self.directory).read(reference)

    def forget(self, trace_id: str) -> Forgotten:
        """Erase one trace and the payloads that only it refers to.

        Args:
            trace_id: up to 32 hexadecimal digits, the beginning of one trace's id.

        Returns:
            How many traces and spans were erased.

        Raises:
            TraceNotFound: there is no such trace, or there are several.
            StoreUnreadable: the store cannot be read or changed, or is not the store's own.

        Example:
            >>> StoredTraces().forget("4bf9")
            Forgotten(traces=1, spans=1)

        """
        id_bytes = bytes.fromhex(self._resolve(trace_id, _ALWAYS))
        forgotten = self._forget({id_bytes})
        if not forgotten.traces:  # of a run whose process is gone there may be no span that has ended
            raise self._not_found(trace_id)
        return forgotten

    def forget_older_than(self, age: timedelta) -> Forgotten:
        """Erase the traces whose last span ended longer than *age* ago.

        Returns:
            How many traces and spans were erased.

        Raises:
            StoreUnreadable: the store cannot be read or changed, or is not the store's own.

        Example:
            >>> StoredTraces("no-traces-yet").forget_older_than(timedelta(days=1))
            Forgotten(traces=0, spans=0)

        """
        limit = (clock.time() - age.total_seconds()) * 1e9
        old = {bytes.fromhex(trace.trace_id) for trace in self._summaries(_ALWAYS) if trace.last_end < limit}
        return self._forget(old) if old else Forgotten(0, 0)

    def forget_all(self) -> Forgotten:
        """Erase every trace and payload; segments that a process is writing are emptied and stay.

        Only files that the store wrote are touched.

        Returns:
            How many traces and spans were erased.

        Raises:
            StoreUnreadable: the store cannot be read or changed, or is not the store's own.

        Example:
            >>> StoredTraces("no-traces-yet").forget_all()
            Forgotten(traces=0, spans=0)

        """
        return self._erase(forget_everything)

    def _forget(self, trace_ids: Collection[bytes]) -> Forgotten:
        return self._erase(lambda store, files: forget_spans(store, files, trace_ids))

    def _erase(self, erase: Callable[[Folder, list[StoredFile]], Forgotten]) -> Forgotten:
        with self._open() as store:
            files = self._segments(store, _ALWAYS)
            if store is None:
                return Forgotten(0, 0)
            try:
                return erase(store, files)
            except StoreUnreadable:
                raise
            except OSError as error:
                raise StoreUnreadable(
                    f"The {self._kind} {self.directory} cannot be changed ({error}); some of it may be erased already. "
                    "Check who owns it, or delete the directory"
                ) from error

    def _oldest(self) -> float:
        """Return the time, in nanoseconds since 1970, before which traces are too old to be shown."""
        return (clock.time() - self._max_age.total_seconds()) * 1e9

    @contextmanager
    def _open(self) -> Iterator[Folder | None]:
        """Yield the store's folder, or None when there is none."""
        store = None
        if self.directory is not None:
            try:
                store = open_store(self.directory, kind=self._kind)
            except FileNotFoundError:
                store = None
        try:
            yield store
        finally:
            if store is not None:
                store.close()

    def _segments(self, store: Folder | None, oldest: float) -> list[StoredFile]:
        """Return the segments that hold anything not older than *oldest*, newest first."""
        if store is None:
            return []
        try:
            return [file for file in segment_files(store) if file.modified * 1e9 >= oldest]
        except OSError as error:
            raise unreadable(self._kind, self.directory, error) from error

    def _is_alive(self, store: Folder | None, file: StoredFile) -> IsAlive:
        """Return what tells, when it is first asked, whether a process still writes *file*."""
        name = file.name
        return functools.cache(lambda: store is not None and is_live(store, name))

    def _records(self, store: Folder | None, file: StoredFile, containing: bytes = b"") -> Iterator[Record]:
        if store is None:
            return
        try:
            segment = Segment(store.read(file.name, LARGEST_SEGMENT), file.size)
        except FileNotFoundError:
            return  # pruned since it was listed
        except OSError:
            self.unreadable += file.size
            return
        yield from segment.records(containing)
        self.unreadable += segment.unreadable

    def _summaries(self, oldest: float) -> Iterator[TraceSummary]:
        self.unreadable = 0
        summaries = Summaries()
        with self._open() as store:
            files = self._segments(store, oldest)
            for number, file in enumerate(files, 1):
                is_alive = self._is_alive(store, file)
                for record in self._records(store, file):
                    summaries.add(record.traces, is_alive)
                older = files[number:]
                # A trace whose root started after the older segments were last written cannot be in them.
                horizon = int(older[0].modified * 1e9) + _CLOCK_SLACK if older else -1
                older_records = functools.partial(self._older_records, store, older)
                for trace in summaries.started_after(horizon, older_records):
                    if trace.last_end >= oldest:
                        yield trace

    def _older_records(
        self, store: Folder | None, files: list[StoredFile], trace_id: bytes
    ) -> Iterator[tuple[TracesData, IsAlive]]:
        for file in files:
            unreadable = self.unreadable
            for record in self._records(store, file, trace_id):
                yield record.traces, self._is_alive(store, file)
            self.unreadable = unreadable  # it is counted when all of the segment is read

    def _resolve(self, trace_id: str, oldest: float) -> str:
        prefix = trace_id.strip().lower()
        if not prefix or len(prefix) > _ID_DIGITS or set(prefix) - set("0123456789abcdef"):
            raise TraceNotFound(f"{trace_id!r} is no trace id: give up to {_ID_DIGITS} hexadecimal digits")
        if len(prefix) == _ID_DIGITS:
            return prefix
        whole_bytes = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
        self.unreadable = 0
        with self._open() as store:
            ids = {
                full_id
                for file in self._segments(store, oldest)
                for record in self._records(store, file, whole_bytes)
                for span in spans_of(record.traces)
                if (full_id := span.trace_id.hex()).startswith(prefix)
            }
        if not ids:
            raise self._not_found(trace_id)
        if len(ids) > 1:
            names = ", ".join(sorted(ids)[:_NAMED_IN_MESSAGES]) + (", …" if len(ids) > _NAMED_IN_MESSAGES else "")
            raise TraceNotFound(f"{trace_id!r} is ambiguous: {len(ids)} stored traces begin so ({names})")
        return ids.pop()

    def _not_found(self, trace_id: str) -> TraceNotFound:
        damage = f" ({self.unreadable:,} bytes there are unreadable)" if self.unreadable else ""
        return TraceNotFound(
            f"No trace in {self.directory or 'the store (it is off)'} has an id that begins with {trace_id!r}{damage}; "
            "'otelflow show --list' lists what is stored, OTELFLOW_STORE names another store"
        )
