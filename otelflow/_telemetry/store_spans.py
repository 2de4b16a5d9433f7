"""Deliver spans to the store of this machine, and note there which runs are open."""

from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span

from otelflow._core.process import clock, forks
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow_exporters.store import StoreSpanExporter

# What was stored can be read a second later, also while the program runs on.
_DELAY_MILLIS: Final = 1_000
# A run that is shorter is not noted, so that a busy service writes nothing twice.
_SHORTEST_NOTED: Final = 1_000_000_000


class StoreSpanProcessor(BoundedBatchSpanProcessor):
    """Delivers the spans that are sampled; of a root that is open for longer it notes that, so that it can be listed.

    The note is written on the worker's thread. It stands in the segment that this process holds: whether the process
    still lives is told by that.
    """

    exporter: StoreSpanExporter

    def __init__(self, exporter: StoreSpanExporter) -> None:
        self._open: dict[int, Span] = {}
        self._noted: dict[int, int] = {}
        self._is_first = True
        super().__init__(exporter, schedule_delay_millis=_DELAY_MILLIS)
        forks.begin_anew(self, StoreSpanProcessor._forget_open)

    def _forget_open(self) -> None:
        """Leave the open runs of the parent to the parent; called in a forked child."""
        self._open, self._noted, self._is_first = {}, {}, True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember *span* while it is open, if it is the first of its trace in this process."""
        parent = span.parent
        if (parent is None or parent.is_remote) and span.context is not None and span.context.trace_flags.sampled:
            self._open[span.context.span_id] = span
            if self.worker.thread is None:
                self.worker.start_thread()
            if self._is_first:  # of a program of one run, such as `otelflow run`, the note is there at once
                self.worker.wake()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue *span*, within a bounded time."""
        if self._open and span.context is not None and self._open.pop(span.context.span_id, None) is not None:
            self._noted.pop(span.context.span_id, None)
        super().on_end(span)

    # On the worker's thread

    def _deliver_batch(self) -> bool:
        if self._open:
            self._note_open()
        return super()._deliver_batch()

    def _note_open(self) -> None:
        """Note the runs that are open for long and of which this segment does not tell yet."""
        segment = self.exporter.segment
        youngest = clock.time_ns() - (0 if self._is_first else _SHORTEST_NOTED)
        self._is_first = False
        spans = {
            span_id: span
            for span_id, span in list(self._open.items())
            if self._noted.get(span_id) != segment and (span.start_time or 0) <= youngest
        }
        if spans and self.exporter.note_open(list(spans.values())):
            self._noted.update(dict.fromkeys(spans, self.exporter.segment))
