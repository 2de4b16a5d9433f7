"""Let spans wait in files until they have arrived."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import TraceFlags

from otelflow._core.process import forks
from otelflow._core.process.ledger import Account
from otelflow._core.text.own_logger import log, own_logger
from otelflow._core.text.safe_str import brief_repr, comes_from_outside
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.encoder import encode_span, encode_start
from otelflow_exporters._otlp.endpoint import is_otlp
from otelflow_exporters._spool.batches import start_record, with_events
from otelflow_exporters._spool.signals import SPANS
from otelflow_exporters._spool.spool import Spool
from otelflow_exporters._spool.starts import Starts

__all__ = ["SpoolSpanProcessor"]

_logger = own_logger(__name__)

# Of what has happened in open spans, in one second
_LARGEST_NEWS: Final = 1024 * 1024
_SAMPLED: Final = TraceFlags.SAMPLED
_NOT_WRITTEN: Final = "What has happened in open spans could not be written"


class SpoolSpanProcessor(SpanProcessor):
    """Writes each span to a file when it ends, and sends it to the endpoint of the ``OTEL_EXPORTER_OTLP_*`` variables.

    The program never waits for the network. What has ended survives the process, however that ends; what it was doing
    when it was lost is reported, too: the next process that uses the folder, or ``otelflow ship``, sends both.

    Args:
        directory: the folder of the spool, which any number of processes share; None: spans wait in memory.
        max_bytes: how much all processes together keep there (256 MB); what is oldest must go first, and is counted.
        exporter: ``otlp_proto_http``, ``otlp_proto_grpc``, or ``otlp``, which goes by ``OTEL_EXPORTER_OTLP_PROTOCOL``.
        is_shipped: whether this process sends; without it, ``otelflow ship`` does.
        on_loss: called with a reason and a number of spans when some are lost.
        news: called each second for what has happened in open spans since: pairs of a span's id and its events, all of
            them. They are told if the process is lost.
        on_recovery: called with what this process has sent of others that were lost: OTLP ``TracesData`` with the spans
            that had started there and not ended.

    Raises:
        ConfigurationError: a variable or an argument has no usable value.

    Attributes:
        dropped: how many spans of this process were lost, by reason.

    Example:
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> provider = TracerProvider()
        >>> processor = SpoolSpanProcessor("spool", is_shipped=False)
        >>> provider.add_span_processor(processor)  # it calls on_start() and on_end()
        >>> processor.force_flush(), processor.waiting
        (True, 0)
        >>> provider.shutdown()

    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        *,
        max_bytes: int | None = None,
        exporter: str = "otlp",
        is_shipped: bool = True,
        on_loss: Callable[[str, int], object] | None = None,
        news: Callable[[], Iterable[tuple[int, Sequence[Event]]]] | None = None,
        on_recovery: Callable[[bytes], object] | None = None,
    ) -> None:
        if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
            raise ConfigurationError(
                f"SpoolSpanProcessor(): max_bytes must be a whole number above 0, not {brief_repr(max_bytes, 60)}"
            )
        if not is_otlp(exporter):
            raise ConfigurationError(
                f"SpoolSpanProcessor(): exporter must be otlp, otlp_proto_http or otlp_proto_grpc, not "
                f"{brief_repr(exporter, 60)}"
            )
        self._news = news or tuple
        self._spool = Spool(
            SPANS,
            directory,
            owner=self,
            max_bytes=max_bytes,
            exporter=exporter,
            is_shipped=is_shipped,
            on_loss=on_loss,
            on_told=on_recovery or bool,
            first_records=lambda: self._starts.records(),  # noqa: PLW0108 a forked child has others
            tidy=self._write_news,
        )
        # One lock for what is open and for what is written: a signal handler may start a span while it is held, and
        # would take the second of two in another order than a thread that ends one.
        self._lock = self._spool.writer.lock
        self._begin_anew()
        forks.begin_anew(self, SpoolSpanProcessor._begin_anew)

    def _begin_anew(self) -> None:
        """Begin with no span; in a forked child, those of the parent are the parent's."""
        self._starts = Starts()

    @property
    def directory(self) -> Path | None:
        """The folder of the spool; None where spans wait in memory."""
        return self._spool.directory

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many spans of this process were lost, by reason."""
        return self._spool.dropped

    @property
    def waiting(self) -> int:
        """How many spans of this process wait to be sent."""
        return self._spool.waiting

    @property
    def account(self) -> Account:
        """What has become of the spans of this process; an ``otelflow.configure()`` reads it."""
        return self._spool.account

    # On the program's threads

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Write down that *span* has started, so that it is reported if the process is lost."""
        if not forks.fork.page[0]:
            forks.notice()
        context, spool = span.get_span_context(), self._spool
        span_id = context[1]  # by its place: a property takes a call
        if not context[3] & _SAMPLED or spool.is_shut_down or spool.directory is None:
            return
        try:
            encoded, beginning = encode_start(span)
            record = start_record(encoded)
        except Exception as error:  # what a span of any program holds; its end says that it is lost
            if comes_from_outside(error):
                raise
            return
        with self._lock:
            if not self._starts.add(span_id, record, span, beginning):
                return
        self._write_if_possible(record)
        spool.deferred.tell()
        if spool.worker.thread is None:
            spool.worker.start_thread()

    def _write_if_possible(self, record: bytes) -> bool:
        """Write the *record* of an open span, and tell whether that was possible: if not, its end says so."""
        try:
            self._spool.write(record)
        except OSError as error:
            if comes_from_outside(error):  # a time limit is one, too
                raise
            return False
        return True

    def on_end(self, span: ReadableSpan) -> None:
        """Write *span*; it is sent later."""
        if not forks.fork.page[0]:
            forks.notice()
        context = span.get_span_context()
        if context is None or not context[3] & _SAMPLED:
            return
        span_id, spool, starts = context[1], self._spool, self._starts
        body = spool.encoded(encode_span, span, starts.beginning(span_id))
        # In one step: a segment that begins meanwhile has the start of this span and its end, or neither.
        with self._lock:
            spool.keep(body)
            starts.remove(span_id)
        spool.send_soon()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; return False if that took longer, or if the endpoint took it not."""
        return self._spool.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send what waits as long as the endpoint takes it; the rest stays in the spool for others."""
        self._spool.shutdown()

    # On the thread of the spool

    def _write_news(self) -> None:
        """Write what has happened in open spans, and give a sign of life: if the process is lost, both are told."""
        size = 0  # of what is written; also where all has ended, news are taken: who collects them would keep them
        spans = self._starts.spans()
        try:
            for span_id, events in self._news():
                span = spans.get(span_id)
                if span is not None and size < _LARGEST_NEWS:
                    size += self._write_events(span_id, span, events)
        except Exception as error:  # noqa: BLE001 whoever has the news is foreign code
            log(_logger, logging.DEBUG, _NOT_WRITTEN, error=error)
        if self._starts:
            self._spool.writer.touch()

    def _write_events(self, span_id: int, span: ReadableSpan, events: Sequence[Event]) -> int:
        """Write an open *span* with these *events*; return how much that is."""
        try:
            record = start_record(encode_span(with_events(span, events)))
        except Exception as error:  # noqa: BLE001 what a span of any program holds; its end holds all of it
            log(_logger, logging.DEBUG, _NOT_WRITTEN, error=error)
            return 0
        with self._lock:  # not after its end, which would open it again
            if self._starts.replace(span_id, record):
                self._write_if_possible(record)
        return len(record)
