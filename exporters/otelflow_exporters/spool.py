"""Let spans wait in files until they have arrived."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor

from otelflow._core.process import forks, shutdown
from otelflow._core.process.environment import positive_integer
from otelflow._core.process.files import Folder, StoredFile, is_running
from otelflow._core.process.ledger import Account
from otelflow._core.process.worker import SHUTDOWN_SECONDS, Worker
from otelflow._core.text.own_logger import own_logger
from otelflow.errors import ConfigurationError, StoreUnreadable
from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._otlp.sender import Sender, new_sender
from otelflow_exporters._spool.answers import Answers
from otelflow_exporters._spool.batches import CLOSED, read_range, start_record, with_events
from otelflow_exporters._spool.claims import SUFFIX, forget, waiting_in
from otelflow_exporters._spool.destination import destination_of
from otelflow_exporters._spool.leftovers import remove_old
from otelflow_exporters._spool.memory import LARGEST_MEMORY, Memory
from otelflow_exporters._spool.shipper import Outcome, Shipper
from otelflow_exporters._spool.starts import Starts
from otelflow_exporters._store.limits import Limits, absolute
from otelflow_exporters._store.ownership import open_store, writer_of
from otelflow_exporters._store.records import LARGEST_RECORD, framed
from otelflow_exporters._store.writer import SegmentWriter

__all__ = ["SpoolSpanProcessor"]

_logger = own_logger(__name__)

# How often the time of a segment shows that its process is alive
_SIGN_SECONDS: Final = 1.0
# How long a process that ends waits for the answer to one request, if nobody knows whether there will be any
_PATIENCE_SECONDS: Final = 0.3
_PATIENCE_AFTER_ARRIVAL_SECONDS: Final = 2.0  # with one that has answered before, also to others
_LOOK_SECONDS: Final = 0.05
_LONG_SECONDS: Final = 60.0
# The rest is the record's length and checksum.
_LARGEST_BODY: Final = LARGEST_RECORD - 16
# Of what has happened in open spans, in one second
_LARGEST_NEWS: Final = 1024 * 1024


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
    ) -> None:
        if directory is None and not is_shipped:
            raise ConfigurationError("SpoolSpanProcessor(): another process can ship from a directory only")
        self.directory = None if directory is None else absolute(os.fspath(directory), "directory")
        self._folder = self.directory or Path()
        self._sender: Sender | None = new_sender("traces", exporter) if is_shipped else None
        check = destination_of("traces", exporter).check if is_shipped else bool
        self._on_loss, self._news = on_loss, news or tuple
        self._writer = SegmentWriter(
            self._folder,
            Limits() if max_bytes is None else Limits(max_bytes),
            kind="spool",
            first_records=lambda: list(self._starts.records.values()),  # of the spans that have started and not ended
            last_record=CLOSED,
            on_removal=self._count_removed,
            is_pruned_by_owner=True,
            check=check,
        )
        self._answers = Answers(self.directory)
        self._batch_size = positive_integer("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)
        self._shipper: Shipper | None = None
        if self._sender is not None:
            self._shipper = Shipper(
                self.directory,
                self._sender,
                batch_size=self._batch_size,
                on_loss=self._count_loss,
                own=lambda: self._writer.segments,
                check=check,
            )
        self._worker = Worker(
            self._ship,
            interval=min(_SIGN_SECONDS, positive_integer("OTEL_BSP_SCHEDULE_DELAY", 5_000) / 1_000),
            is_due=lambda: (
                self._writer.is_prune_due
                or (self.waiting >= self._batch_size and time.monotonic() >= max(self._idle_until, self._not_before))
            ),
        )
        self._lock = forks.new_lock()
        self._begin()
        forks.begin_anew(self, SpoolSpanProcessor._begin)
        shutdown.deliver_before_child_ends(self, SpoolSpanProcessor.shutdown)

    def _begin(self) -> None:
        """Begin with no span; in a forked child, those of the parent are the parent's."""
        self.dropped: Counter[str] = Counter()
        self._starts = Starts()
        self._ended = 0  # spans of this process that ended
        self._done = 0  # those of them that need not be sent any more
        self._lost: Counter[str] = Counter()  # those of them that will not arrive
        self._memory = Memory()
        self._is_answer_noted = self._is_tidy = False
        self._idle_until = 0.0
        self._is_warned = False
        self._is_shut_down = False
        self._worker.is_closed = False

    @property
    def _not_before(self) -> float:
        return self._shipper.not_before if self._shipper is not None else 0.0

    @property
    def waiting(self) -> int:
        """How many spans of this process wait to be sent."""
        return self._ended - self._done

    @property
    def account(self) -> Account:
        """What has become of the spans of this process; an ``otelflow.configure()`` reads it."""
        with self._lock:
            dropped = dict(+self._lost)
            return Account("traces", type(self).__name__, self._ended, self._done - sum(dropped.values()), dropped)

    # On the program's threads

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Write down that *span* has started, so that it is reported if the process is lost."""
        forks.notice()
        context = span.get_span_context()
        if not context.trace_flags.sampled or self._is_shut_down or self.directory is None:
            return
        try:
            record = start_record(encode_span(span, is_brief=True))
        except Exception:  # noqa: BLE001 what a span of any program holds; its end says that it is lost
            return
        with self._lock:
            if not self._starts.add(context.span_id, span, record):
                return
        with contextlib.suppress(OSError):  # its end says so
            self._writer.append(record)
        if self._worker.thread is None:
            self._worker.start_thread()

    def on_end(self, span: ReadableSpan) -> None:
        """Write *span*; it is sent later."""
        forks.notice()
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        with self._lock:
            self._ended += 1
        if self._is_shut_down:
            self._lose("after_shutdown", 1)
            return
        body = self._encoded(span)
        # In one step: a segment that begins meanwhile has the start of this span and its end, or neither.
        with self._writer.lock:
            if body and self.directory is None:
                self._keep_in_memory(body)
            elif body:
                try:
                    self._writer.append(framed(body), 1)
                except OSError as error:
                    self._keep_in_memory(body, error)
            with self._lock:
                self._starts.remove(context.span_id)
        worker = self._worker
        if worker.thread is None:
            worker.start_thread()
        elif self.waiting == self._batch_size or self._writer.is_prune_due:
            with worker.changed:
                worker.changed.notify_all()

    def _encoded(self, span: ReadableSpan) -> bytes:
        """Return the record's body, empty if there can be none."""
        try:
            body = encode_span(span)
        except Exception as error:  # noqa: BLE001 what a span of any program holds
            self._lose("encoding_failed", 1, error)
            return b""
        if len(body) > _LARGEST_BODY:
            self._lose("too_large", 1)
            return b""
        return body

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; return False if that took longer, or if the endpoint took it not."""
        if self._shipper is None:
            return True
        if self._worker.thread is None and not self._worker.start_thread():
            while self._ship():
                pass
            return not self._shipper.failure
        return self._worker.flush(timeout_millis / 1_000) and not self._shipper.failure

    def shutdown(self) -> None:
        """Send what waits as long as the endpoint takes it; the rest stays in the spool for others."""
        if self._is_shut_down:
            return
        self._is_shut_down = True
        self._writer.close()
        if self._shipper is None:
            self._worker.close()
            return
        with shutdown.waiting():
            is_done = self._deliver_last()
        if is_done:
            self._worker.close()
            self._shipper.close()
            return
        with self._worker.changed:  # its thread ends after the request that is on its way
            self._worker.is_closed = True
            self._worker.changed.notify_all()
        if self._memory:
            self._lose("shutdown", self._memory.give_up())
        if self.waiting:
            _logger.warning(
                "%s in the spool %s%s: the next process that uses it, or 'otelflow ship', sends what waits",
                "1 span waits" if self.waiting == 1 else f"{self.waiting:,} spans wait",
                self.directory,
                f" for {self._shipper.failure}" if self._shipper.failure else "",
            )

    def _deliver_last(self) -> bool:
        """Send what waits while that goes on; tell whether everything was sent."""
        worker, shipper = self._worker, self._shipper
        if shipper is None or not self.waiting:
            return True
        is_expected = True if shipper.arrivals else self._answers.expected()
        if shipper.is_silent or is_expected is False:
            return False
        shipper.try_once_more()
        if worker.thread is None and not worker.start_thread():
            while self._ship():
                pass
            return not self.waiting
        deadline = time.monotonic() + shutdown.seconds_left(SHUTDOWN_SECONDS)
        requests, progress = shipper.requests, time.monotonic()
        while time.monotonic() < deadline:
            if worker.flush(_LOOK_SECONDS):
                return not self.waiting
            patience = _PATIENCE_AFTER_ARRIVAL_SECONDS if shipper.arrivals or is_expected else _PATIENCE_SECONDS
            if shipper.requests != requests:
                requests, progress = shipper.requests, time.monotonic()
            elif time.monotonic() - progress > patience:
                self._answers.note(has_answered=False)
                return False
        return False

    def _keep_in_memory(self, body: bytes, error: Exception | None = None) -> None:
        surplus = self._memory.add(body)
        if surplus:
            self._lose("spool_full", surplus)
        if error is not None and not self._is_warned:
            self._is_warned = True
            _logger.warning(
                "Spans wait in memory, %s MB at most, and are lost with the process: %s (said once)",
                LARGEST_MEMORY >> 20,
                f"the spool takes none: {error if type(error) is StoreUnreadable else f'{self.directory}: {error}'}",
            )

    def _lose(self, reason: str, count: int, error: Exception | None = None) -> None:
        """Count spans of this process that will not arrive."""
        with self._lock:
            self._done += count
            self._lost[reason] += count
        self._count_loss(reason, count, error)

    def _count_loss(self, reason: str, count: int, error: Exception | None = None) -> None:
        with self._lock:
            is_first = not self.dropped[reason]
            self.dropped[reason] += count
        if self._on_loss is not None:
            self._on_loss(reason, count)
        if is_first:
            place = self._sender.status.place if self._sender is not None else ""
            _logger.warning(
                "Spans are lost: %s (%s; said once for each reason)", reason, place or self.directory, exc_info=error
            )

    def _count_removed(self, folder: Folder, file: StoredFile) -> None:
        """Count the spans of a segment that must make room before they have arrived."""
        waiting = waiting_in(folder, file)
        own = self._writer.segments.get(file.name)
        sent = None if self._shipper is None else self._shipper.sent_of(file.name)
        if own is not None and (sent is not None or waiting == [(0, file.size)]):
            count = own - (sent or 0)  # to read all of it would take a tenth of a second
        else:
            try:
                count = sum(item.spans for part in waiting for item in read_range(folder, file.name, *part))
            except OSError:
                return
        folder.remove(file.name + SUFFIX)
        if self._writer.segments.pop(file.name, None) is not None:
            self._lose("spool_full", count)
        elif count and not is_running(writer_of(file.name)):  # one that lives misses its segment, and counts it
            self._count_loss("spool_full", count)

    # On the worker's thread

    def _ship(self) -> bool:
        """Send one batch, if there is anything to send; tell whether more may be left."""
        self._tidy()
        self._idle_until = time.monotonic() + _SIGN_SECONDS  # unless something happens: others may send it
        if self._shipper is not None and self._memory:
            return self._ship_memory(self._shipper)
        refused = self.dropped["rejected"]
        try:
            outcome = self._look() if self._shipper is None else self._shipper.ship()
        except OSError:  # of the folder: writing to it has failed, too, and said why
            return False
        except Exception as error:
            if self._shipper is not None:
                self._shipper.not_before = time.monotonic() + _LONG_SECONDS
            _logger.warning("The spool %s could not be read further; it is tried again", self.directory, exc_info=error)
            return False
        with self._lock:
            self._done += outcome.own
            if outcome.own:  # and so what was rejected in this step is this process's own
                self._lost["rejected"] += self.dropped["rejected"] - refused
        if outcome.vanished:
            self._lose("vanished", outcome.vanished)
        if self._shipper is not None and self._shipper.arrivals and not self._is_answer_noted:
            self._is_answer_noted = True
            self._answers.note(has_answered=True)
        if outcome.is_more:
            self._idle_until = 0.0
        elif self._shipper is not None and self._worker.is_closed:
            self._shipper.close()
        return outcome.is_more

    def _tidy(self) -> None:
        """Give a sign of life of what is open, and remove what is too old."""
        if self._starts.records:
            self._write_news()
            self._writer.touch()
        if self._writer.is_prune_due:
            self._writer.prune()
        if not self._is_tidy:
            self._is_tidy = True
            if self.directory is not None:
                remove_old(self.directory, self._count_removed)

    def _write_news(self) -> None:
        """Write what has happened in open spans: if the process is lost, it is told with them."""
        size = 0
        try:
            for span_id, events in self._news():
                span = self._starts.spans.get(span_id)
                if span is not None and size < _LARGEST_NEWS:
                    record = start_record(encode_span(with_events(span, events)))
                    size += len(record)
                    self._write_open(span_id, record)
        except Exception as error:  # what a span of any program holds; its end holds all of it
            _logger.debug("What has happened in open spans could not be written", exc_info=error)

    def _write_open(self, span_id: int, record: bytes) -> None:
        with self._writer.lock, self._lock:  # not after its end, which would open it again
            if not self._starts.replace(span_id, record):
                return
            with contextlib.suppress(OSError):  # its end says so
                self._writer.append(record)

    def _look(self) -> Outcome:
        """Look what another process has sent of this one's spans."""
        written = list(self._writer.segments)
        with open_store(self._folder, kind="spool") as folder:
            names = set(folder.names())
            shipped, vanished = forget(
                folder, self._writer.segments, Counter(), [name for name in written if name not in names]
            )
        return Outcome(own=shipped, vanished=vanished)

    def _ship_memory(self, shipper: Shipper) -> bool:
        refused = self.dropped["rejected"]
        count = self._memory.ship(shipper, self._batch_size)
        with self._lock:
            self._done += count
            self._lost["rejected"] += self.dropped["rejected"] - refused
        return count > 0 or (len(self._memory) > 0 and time.monotonic() >= self._not_before)
