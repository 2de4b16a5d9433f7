"""The summary of a trace: its name, times and result, without its spans."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otelflow import semconv
from otelflow._core.process import clock
from otelflow_exporters._otlp.model import is_inside_run, is_parent_remote, result_of, service_of
from otelflow_exporters._store.records import TRACE_ID_BYTES, is_note

INCOMPLETE: Final = "incomplete"
_OF_A_FLOW: Final = (semconv.FLOW_NAME, semconv.TASK_NAME, semconv.RUN_RESULT)


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One trace; times in nanoseconds since 1970.

    ``result`` is the root's; ``running`` when it goes on, and ``incomplete`` when it is not stored: its process was
    lost. ``failed_flows`` counts the flows that failed, also those inside a root that succeeded; a map or an attempt is
    no run, and counts as none that failed. A root that is open is one of ``span_count``.
    """

    trace_id: str
    name: str
    service: str
    start: int
    end: int
    last_end: int
    result: str
    span_count: int
    failed_count: int
    failed_flows: int = 0

    @property
    def started(self) -> datetime:
        """Return when the trace began."""
        return datetime.fromtimestamp(self.start / 1e9, UTC)

    @property
    def duration(self) -> float:
        """Return the seconds from the root's start to its end, or to the last end that is known."""
        return max(0, self.end - self.start) / 1e9


#: Tells whether the process that wrote a record still lives
IsAlive = Callable[[], bool]
#: The records of one trace, by its id, in what was not read yet
OlderRecords = Callable[[bytes], Iterable[tuple[TracesData, IsAlive]]]


class _Builder:
    """One trace while its spans are met in any order."""

    __slots__ = (
        "_note",
        "_rank",
        "_root",
        "_service",
        "failed",
        "failed_flows",
        "last_end",
        "spans",
        "start",
        "trace_id",
    )

    def __init__(self, span: StoredSpan) -> None:
        self.trace_id = span.trace_id
        self.start = span.start_time_unix_nano
        self.last_end = 0
        self.spans = 0
        self.failed = self.failed_flows = 0
        self._note: IsAlive | None = None
        self._rank = (3, 0, False)
        self._root = span
        self._service = ""

    def add(self, span: StoredSpan, service: str, is_alive: IsAlive) -> None:
        """Count one more span of the trace, or take the note that it is open in a process that *is_alive*."""
        start = span.start_time_unix_nano
        if not is_note(span):
            texts = {pair.key: pair.value.string_value for pair in span.attributes if pair.key in _OF_A_FLOW}
            # A task that was allowed to fail has no status that says so.
            is_bad = texts.get(semconv.RUN_RESULT) in semconv.FAILED_RESULTS
            is_inside = is_inside_run(span.name, texts)
            self.spans += 1
            self.failed += (is_bad or span.status.code == Status.STATUS_CODE_ERROR) and not is_inside
            is_flow = semconv.FLOW_NAME in texts and semconv.TASK_NAME not in texts
            self.failed_flows += is_bad and is_flow and not is_inside
        self.start = min(self.start, start)
        self.last_end = max(self.last_end, span.end_time_unix_nano or start)
        rank = (0 if not span.parent_span_id else 1 if is_parent_remote(span) else 2, start, is_note(span))
        if rank < self._rank:
            self._rank = rank
            self._note = is_alive if is_note(span) else None
            # A copy, or the whole record would stay in memory for its sake.
            self._root = StoredSpan()
            self._root.CopyFrom(span)
            self._service = service

    @property
    def has_root(self) -> bool:
        """Return whether the span with which the trace began is among those until now."""
        return self._rank[0] == 0

    def summary(self) -> TraceSummary:
        """Return the summary of the spans until now."""
        root, is_known = self._root, self._rank[0] < 2
        is_complete = is_known and self._note is None
        is_running = is_known and self._note is not None and self._note()
        now = clock.time_ns() if is_running else 0
        recorded = (pair.value.string_value for pair in root.attributes if pair.key == semconv.RUN_RESULT)
        result = result_of(next(recorded, None), is_error=root.status.code == Status.STATUS_CODE_ERROR)
        return TraceSummary(
            trace_id=self.trace_id.hex(),
            name=root.name,
            service=self._service,
            start=root.start_time_unix_nano if is_known else self.start,
            end=root.end_time_unix_nano if is_complete else max(self.last_end, now),
            last_end=max(self.last_end, now),
            result=result if is_complete else semconv.RUNNING if is_running else INCOMPLETE,
            span_count=self.spans + (is_known and self._note is not None),
            failed_count=self.failed,
            failed_flows=self.failed_flows,
        )


class Summaries:
    """The summaries of traces whose spans are met in any order; each is given out once."""

    def __init__(self) -> None:
        self._builders: dict[bytes, _Builder] = {}
        self._complete: set[bytes] = set()

    def add(self, traces: TracesData, is_alive: IsAlive) -> None:
        """Count the spans of one record; *is_alive* tells whether the process that wrote it still lives."""
        for span, service in _spans_and_services(traces):
            trace_id = span.trace_id
            if len(trace_id) == TRACE_ID_BYTES and trace_id not in self._complete:
                if trace_id not in self._builders:
                    self._builders[trace_id] = _Builder(span)
                self._builders[trace_id].add(span, service, is_alive)

    def started_after(self, horizon: int, older_records: OlderRecords) -> Iterator[TraceSummary]:
        """Give out the traces that began after *horizon* (nanoseconds since 1970), newest first.

        A process may continue the trace of another one that ended long before: of a trace whose root was not met,
        *older_records* are asked for the rest, and if it began before *horizon*, it waits for its turn.
        """
        newest = [(-builder.start, trace_id) for trace_id, builder in self._builders.items() if builder.start > horizon]
        heapq.heapify(newest)
        while newest:
            trace_id = heapq.heappop(newest)[1]
            builder = self._builders[trace_id]
            if builder.has_root or trace_id in self._complete:
                self._complete.add(trace_id)
                yield self._builders.pop(trace_id).summary()
                continue
            self._complete.add(trace_id)
            for traces, is_alive in older_records(trace_id):
                for span, service in _spans_and_services(traces):
                    if span.trace_id == trace_id:
                        builder.add(span, service, is_alive)
            if builder.start > horizon:
                heapq.heappush(newest, (-builder.start, trace_id))


def _spans_and_services(traces: TracesData) -> Iterator[tuple[StoredSpan, str]]:
    for resource_spans in traces.resource_spans:
        service = service_of(resource_spans)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield span, service
