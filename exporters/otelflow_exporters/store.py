"""Keep finished spans in files on this machine."""

import logging
import os
from collections.abc import Sequence
from datetime import timedelta

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otelflow_exporters._store.limits import store_directory, store_limits
from otelflow_exporters._store.payloads import Payloads
from otelflow_exporters._store.records import framed
from otelflow_exporters._store.writer import SegmentWriter

_logger = logging.getLogger(__name__)


class StoreSpanExporter(SpanExporter):
    """Stores spans as OTLP protobuf; what it cannot store it counts in ``dropped``, and it never raises.

    ``directory`` is None when ``OTELFLOW_STORE=off``: then nothing is stored and nothing counted.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int | None = None,
        max_age: timedelta | None = None,
    ) -> None:
        limits = store_limits(max_bytes=max_bytes, max_age=max_age)
        self.directory = store_directory(directory)
        self.payloads = None if self.directory is None else Payloads(self.directory, limits)
        self._writer = None if self.directory is None else SegmentWriter(self.directory, limits)
        self._is_shut_down = False

    @property
    def dropped(self) -> int:
        """Return how many spans this process could not store."""
        return 0 if self._writer is None else self._writer.dropped

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store one batch of spans as one record."""
        if self._writer is None or not spans:
            return SpanExportResult.SUCCESS
        if self._is_shut_down:
            self._lose(self._writer, len(spans), "it is shut down")
            return SpanExportResult.FAILURE
        lost = self._store(self._writer, spans)
        return SpanExportResult.FAILURE if lost else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Finish the segment; spans that come later are counted as dropped."""
        self._is_shut_down = True
        if self._writer is not None:
            self._writer.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: every record is already written when ``export`` returns."""
        return True

    def _store(self, writer: SegmentWriter, spans: Sequence[ReadableSpan]) -> int:
        """Store *spans* and return how many were lost."""
        try:
            record = framed(encode_spans(spans).SerializeToString())
        except Exception as error:  # noqa: BLE001 - whatever a span of any program holds must not cost the others
            if len(spans) == 1:
                self._lose(writer, 1, f"span {spans[0].name!r} cannot be encoded: {error!r}")
                return 1
            return sum(self._store(writer, [span]) for span in spans)
        try:
            writer.append(record)
        except OSError as error:
            self._lose(writer, len(spans), str(error))
            return len(spans)
        return 0

    def _lose(self, writer: SegmentWriter, count: int, reason: str) -> None:
        if writer.count_dropped(count):
            _logger.warning(
                "The trace store %s does not take spans: %s. They are counted and lost; "
                "set OTELFLOW_STORE to another directory, or to off (said once)",
                self.directory,
                reason,
            )
