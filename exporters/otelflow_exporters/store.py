"""Keep finished spans in files on this machine."""

import logging
import os
from collections.abc import Sequence
from datetime import timedelta

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otelflow._core.text.own_logger import log, own_logger
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import StoreUnreadable
from otelflow_exporters._otlp.encoder import encode_spans
from otelflow_exporters._store.limits import store_directory, store_limits
from otelflow_exporters._store.payloads import Payloads
from otelflow_exporters._store.records import LARGEST_RECORD, framed
from otelflow_exporters._store.writer import SegmentWriter

__all__ = ["StoreSpanExporter"]

_logger = own_logger(__name__)


class StoreSpanExporter(SpanExporter):
    """Stores spans as OTLP protobuf; spans that cannot be stored are counted in ``dropped``, and it never raises.

    Its folder is its own: one that is missing or empty becomes a store; one that holds files of others, belongs to
    another user or can be written by others is refused with one warning.

    Args:
        directory: the store's folder; without it ``OTELFLOW_STORE``, else the platform's own place.
        max_bytes: how much all processes together keep there; without it ``OTELFLOW_STORE_MAX_BYTES``, else 256 MB.
        max_age: how long a span is kept; without it ``OTELFLOW_STORE_MAX_AGE_DAYS``, else seven days.

    Raises:
        ConfigurationError: a variable, the directory or a limit has no usable value.

    Attributes:
        directory: the folder; None when ``OTELFLOW_STORE=off``: then nothing is stored and nothing counted.
        payloads: where large artifacts are kept whole; None when the store is off.

    Example:
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import BatchSpanProcessor
        >>> provider = TracerProvider()
        >>> provider.add_span_processor(BatchSpanProcessor(StoreSpanExporter("traces")))
        >>> provider.shutdown()

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
        self._writer = (
            None if self.directory is None else SegmentWriter(self.directory, limits, is_pruned_by_owner=True)
        )
        self._is_shut_down = False

    @property
    def dropped(self) -> int:
        """Return how many spans this process could not store."""
        return 0 if self._writer is None else self._writer.dropped

    @property
    def stored(self) -> int:
        """Return how many spans this process has stored."""
        return 0 if self._writer is None else self._writer.spans

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store one batch of spans as one record.

        Args:
            spans: ended spans of any program.

        Returns:
            FAILURE when at least one of them could not be stored.

        Example:
            >>> StoreSpanExporter("traces").export([])
            <SpanExportResult.SUCCESS: 0>

        """
        if self._writer is None or not spans:
            return SpanExportResult.SUCCESS
        if self._is_shut_down:
            self._drop(self._writer, len(spans), "it is shut down")
            return SpanExportResult.FAILURE
        lost = self._store(self._writer, spans)
        return SpanExportResult.FAILURE if lost else SpanExportResult.SUCCESS

    @property
    def segment(self) -> int:
        """Return the number of the segment that is written, from 1 on; 0 before the first."""
        return 0 if self._writer is None else len(self._writer.segments)

    def note_open(self, spans: Sequence[ReadableSpan]) -> bool:
        """Note that *spans* are open, so that they are listed as running while this process lives.

        Args:
            spans: spans that have not ended, each the first of its trace in this process.

        Returns:
            Whether the note is written; it is worth no warning and no count, since the spans come when they end.

        Example:
            >>> StoreSpanExporter("traces").note_open([])
            True

        """
        if self._writer is None or self._is_shut_down or not spans:
            return not spans
        try:
            record = framed(encode_spans(spans, is_open=True))
            if len(record) <= LARGEST_RECORD:
                self._writer.append(record)
                return True
        except Exception as error:  # noqa: BLE001 - as of ended spans; a full disk is told when those come
            log(_logger, logging.DEBUG, "Open runs could not be noted: %s", error)
        return False

    def prune(self) -> None:
        """Remove what is too old or too much, if that is due; without this call, ``export`` does it now and then.

        Where the folder was moved, or another one was put in its place, the next span goes to what is there now.

        Example:
            >>> StoreSpanExporter("traces").prune()

        """
        if self._writer is not None:
            self._writer.leave_wrong_folder()
            if self._writer.is_prune_due:
                self._writer.prune()

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
        reason = ""
        try:
            record = framed(encode_spans(spans))
            if len(record) > LARGEST_RECORD:
                reason = f"takes {len(record):,} bytes, more than {LARGEST_RECORD:,}"
        except Exception as error:  # whatever a span of any program holds must not cost the others
            if comes_from_outside(error):
                raise
            reason = f"cannot be encoded: {error!r}"
        if reason and len(spans) > 1:
            return sum(self._store(writer, [span]) for span in spans)
        if reason:
            self._drop(writer, 1, f"span {spans[0].name!r} {reason}")
            return 1
        try:
            writer.append(record, len(spans))
        except OSError as error:
            if comes_from_outside(error):  # a time limit is one, too
                raise
            self._drop(writer, len(spans), error)
            return len(spans)
        return 0

    def _drop(self, writer: SegmentWriter, count: int, reason: str | OSError) -> None:
        if not writer.count_dropped(count):
            return
        if isinstance(reason, StoreUnreadable):
            log(_logger, logging.WARNING, "%s. Until then spans are counted and lost (said once)", reason)
            return
        log(
            _logger,
            logging.WARNING,
            "The trace store %s does not take spans: %s. They are counted and lost; "
            "set OTELFLOW_STORE to another directory, or to off (said once)",
            self.directory,
            reason,
        )
