"""Write spans to the store of this machine when they end, and note there which runs are open."""

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.sdk.trace.export import SpanExportResult

from otelflow._core.process import clock, forks
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow_exporters.store import StoreSpanExporter

# How often it is looked which runs are open for long
_LOOK_MILLIS: Final = 1_000
# A run that is shorter is not noted, so that a busy service writes nothing twice.
_SHORTEST_NOTED: Final = 1_000_000_000
# A program that never ends the spans that it starts must not fill its memory with them.
_MOST_OPEN: Final = 10_000


class StoreSpanProcessor(BoundedBatchSpanProcessor):
    """Writes the sampled spans, and notes which roots are open for longer, so that they can be listed.

    What has ended is in a file when ``on_end()`` returns, and survives the process, however that ends. The note is
    written on the worker's thread. It stands in the segment that this process holds: whether the process still lives is
    told by that.
    """

    exporter: StoreSpanExporter

    def __init__(self, exporter: StoreSpanExporter) -> None:
        self._open: dict[int, Span] = {}
        self._noted: dict[int, int] = {}
        self._is_first = True
        super().__init__(exporter, schedule_delay_millis=_LOOK_MILLIS)

    def begin_anew(self) -> None:
        """Leave the open runs of the parent to the parent, too; called in a forked child."""
        super().begin_anew()
        self._open, self._noted, self._is_first = {}, {}, True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember *span* while it is open, if it is the first of its trace in this process."""
        parent = span.parent
        if (parent is None or parent.is_remote) and span.context is not None and span.context.trace_flags.sampled:
            if len(self._open) < _MOST_OPEN:
                self._open[span.context.span_id] = span
            if self.worker.thread is None:
                self.worker.start_thread()
            if self._is_first:  # of a program of one run, such as `otelflow run`, the note is there at once
                self.worker.wake()

    def on_end(self, span: ReadableSpan) -> None:
        """Write *span*."""
        if self._open and span.context is not None and self._open.pop(span.context.span_id, None) is not None:
            self._noted.pop(span.context.span_id, None)
        super().on_end(span)

    def take(self, item: Any) -> None:
        """Write *item*, and count what became of it."""
        forks.notice()
        is_late, result = self.worker.is_closed, None
        try:
            result = None if is_late else self.exporter.export((item,))
        finally:  # it was made, also when Ctrl-C comes in between
            tally = self._tally
            with self.worker.lock:
                tally.total += 1
                if result is SpanExportResult.SUCCESS:
                    tally.delivered += 1
                elif is_late or result is not None:
                    self._lose(1, "after_shutdown" if is_late else "export_failed")
                elif self.exporter.stored > tally.delivered:  # it was written before Ctrl-C came
                    tally.delivered += 1
                else:
                    self._lose(1, "interrupted")
        if self._pending_warnings:
            self._log_losses()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write the note of what is open, too; return False when something could not be written."""
        began, worker = clock.monotonic(), self.worker
        if self._open and worker.thread is not None and not worker.is_closed:
            _ = worker.flush(timeout_millis / 1_000)
        return super().force_flush(max(0, timeout_millis - round((clock.monotonic() - began) * 1_000)))

    # On the worker's thread

    def _deliver_batch(self) -> bool:
        if self._open:
            self._note_open()
        self.exporter.prune()
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
            for span_id in spans.keys() - self._open.keys():  # it has ended meanwhile
                self._noted.pop(span_id, None)
