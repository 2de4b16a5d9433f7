"""The summary of a trace: its name, times and result, without its spans."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otelflow import semconv
from otelflow_exporters._otlp.model import is_parent_remote, result_of, service_of
from otelflow_exporters._store.records import TRACE_ID_BYTES

INCOMPLETE: Final = "incomplete"


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One trace; times in nanoseconds since 1970.

    ``result`` is the root's, or ``incomplete`` when the root is not stored: it still runs, or its process was lost.
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

    @property
    def started(self) -> datetime:
        """Return when the trace began."""
        return datetime.fromtimestamp(self.start / 1e9, UTC)

    @property
    def duration(self) -> float:
        """Return the seconds from the root's start to its end, or to the last end that is known."""
        return max(0, self.end - self.start) / 1e9


# A task that was allowed to fail has no status that says so.
_BAD: Final = frozenset({semconv.FAILURE, semconv.TIMEOUT, semconv.ERROR})


def _recorded_result(span: StoredSpan) -> str | None:
    results = (pair.value.string_value for pair in span.attributes if pair.key == semconv.RUN_RESULT)
    return next(results, None)


class _Builder:
    """One trace while its spans are met in any order."""

    __slots__ = ("_rank", "_root", "_service", "failed", "last_end", "spans", "start", "trace_id")

    def __init__(self, span: StoredSpan) -> None:
        self.trace_id = span.trace_id
        self.start = span.start_time_unix_nano
        self.last_end = 0
        self.spans = 0
        self.failed = 0
        self._rank = (3, 0)
        self._root = span
        self._service = ""

    def add(self, span: StoredSpan, service: str) -> None:
        """Count one more span of the trace."""
        start = span.start_time_unix_nano
        self.spans += 1
        self.failed += span.status.code == Status.STATUS_CODE_ERROR or _recorded_result(span) in _BAD
        self.start = min(self.start, start)
        self.last_end = max(self.last_end, span.end_time_unix_nano or start)
        rank = (0 if not span.parent_span_id else 1 if is_parent_remote(span) else 2, start)
        if rank < self._rank:
            self._rank = rank
            # A copy, or the whole record would stay in memory for its sake.
            self._root = StoredSpan()
            self._root.CopyFrom(span)
            self._service = service

    def summary(self) -> TraceSummary:
        """Return the summary of the spans until now."""
        root, is_complete = self._root, self._rank[0] < 2
        result = result_of(_recorded_result(root), is_error=root.status.code == Status.STATUS_CODE_ERROR)
        return TraceSummary(
            trace_id=self.trace_id.hex(),
            name=root.name,
            service=self._service,
            start=root.start_time_unix_nano if is_complete else self.start,
            end=root.end_time_unix_nano if is_complete else self.last_end,
            last_end=self.last_end,
            result=result if is_complete else INCOMPLETE,
            span_count=self.spans,
            failed_count=self.failed,
        )


class Summaries:
    """The summaries of traces whose spans are met in any order; each is given out once."""

    def __init__(self) -> None:
        self._builders: dict[bytes, _Builder] = {}
        self._given_out: set[bytes] = set()

    def add(self, traces: TracesData) -> None:
        """Count the spans of one record."""
        for resource_spans in traces.resource_spans:
            service = service_of(resource_spans)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    trace_id = span.trace_id
                    if len(trace_id) != TRACE_ID_BYTES or trace_id in self._given_out:
                        continue
                    if trace_id not in self._builders:
                        self._builders[trace_id] = _Builder(span)
                    self._builders[trace_id].add(span, service)

    def started_after(self, horizon: int) -> Iterator[TraceSummary]:
        """Give out the traces that began after *horizon* (nanoseconds since 1970), newest first."""
        builders = [builder for builder in self._builders.values() if builder.start > horizon]
        for builder in sorted(builders, key=lambda builder: builder.start, reverse=True):
            self._given_out.add(builder.trace_id)
            yield self._builders.pop(builder.trace_id).summary()
