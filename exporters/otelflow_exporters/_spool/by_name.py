"""The spool for programs that know nothing of it: OpenTelemetry finds these by the name ``otelflow_spool``.

What it makes by that name is an exporter, with a queue before it; and what is in a queue is lost with the process. So
they become processors of the provider in the place of the queue, wherever that provider is there already. Metrics have
no queue: a reader collects them now and then, and each report waits on its own.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from opentelemetry import trace
from opentelemetry._logs import _internal
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk import metrics
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otelflow._core.process import forks
from otelflow._core.text.hints import suggestion
from otelflow._core.text.own_logger import log, own_logger
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import variable
from otelflow_exporters._spool.destination import spool_directory
from otelflow_exporters._spool.log_records import SpoolLogRecordProcessor
from otelflow_exporters._spool.signals import LOG_RECORDS, METRICS
from otelflow_exporters._spool.spool import Spool
from otelflow_exporters._store.limits import absolute
from otelflow_exporters.spool import SpoolSpanProcessor

_logger = own_logger(__name__)

T = TypeVar("T")

# For which instruments a report says what is new since the last one, as the specification has it
_DELTAS: Final[dict[str, tuple[type, ...]]] = {
    "cumulative": (),
    "delta": (metrics.Counter, metrics.ObservableCounter, metrics.Histogram),
    "lowmemory": (metrics.Counter, metrics.Histogram),
}
_AGGREGATIONS: Final = {
    "explicit_bucket_histogram": ExplicitBucketHistogramAggregation,
    "base2_exponential_bucket_histogram": ExponentialBucketHistogramAggregation,
}
# What the SDK calls the threads of its queues
_QUEUE_THREAD: Final = "OtelBatch"
# Where its providers keep their processors
_PROCESSORS: Final = ("_active_span_processor", "_multi_log_record_processor")
# … and those in turn
_PARTS: Final = ("_span_processors", "_log_record_processors")


class _NamedExporter:
    """Has a *processor*, and puts it into *provider*, by its method *add*, in the place of the queue for this exporter.

    Where there is no provider yet, as with ``OTEL_CONFIG_FILE``, it writes what it is given.
    """

    def __init__(self, processor: Any, provider: Any, add: str) -> None:
        self._is_in_place: Final = hasattr(provider, add)
        self._is_warned = False
        processors: Any = next(filter(None, (getattr(provider, name, None) for name in _PROCESSORS)), None)
        parts = next(filter(None, (getattr(processors, name, None) for name in _PARTS)), ())
        same = [part for part in parts if type(part) is type(processor) and part.directory == processor.directory]
        self._processor: Final = same[0] if same else processor
        if same or not self._is_in_place:  # OpenTelemetry is set up twice in this process, and keeps the first provider
            return
        getattr(provider, add)(self._processor)
        add_processor = getattr(processors, add, None)  # the provider's own is called already, around this
        if add_processor is None:
            return

        def add_unless_queue(processor: Any) -> None:
            queue = getattr(processor, "_batch_processor", None)
            if getattr(queue, "_exporter", None) is not self:  # another one, or an SDK that has other queues
                add_processor(processor)
                return
            vars(processors).pop(add, None)
            processor.shutdown()  # it has a thread

        vars(processors)[add] = add_unless_queue

    def _write(self, items: Sequence[Any], write: Callable[[Any], object]) -> None:
        if self._is_in_place:  # a queue that was there all the same: everything is written already
            return
        if not self._is_warned and threading.current_thread().name.startswith(_QUEUE_THREAD):
            self._is_warned = True
            log(
                _logger,
                logging.WARNING,
                "otelflow_spool stands behind a queue (batch), and what is in that is lost if the process is killed: "
                "put it into a processor that is called simple; it makes its own batches",
            )
        for item in items:
            write(item)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; return False if that took longer, or if the endpoint took it not."""
        return bool(self._processor.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """Send what waits as long as the endpoint takes it; the rest stays in the spool for others."""
        if not self._is_in_place:  # else the provider does it
            self._processor.shutdown()


class SpoolSpanExporter(_NamedExporter, SpanExporter):
    """Lets spans wait as ``SpoolSpanProcessor`` does, which has these arguments.

    Without *directory* it is that of ``OTELFLOW_SPOOL_DIR``, or the usual one of this user and endpoint.
    """

    def __init__(
        self,
        directory: str | None = None,
        *,
        max_bytes: int | None = None,
        exporter: str = "otlp",
        is_shipped: bool = True,
    ) -> None:
        place = _directory(directory, exporter)
        processor = SpoolSpanProcessor(place, max_bytes=max_bytes, exporter=exporter, is_shipped=is_shipped)
        # OpenTelemetry's function would make a provider where there is none.
        super().__init__(processor, getattr(trace, "_TRACER_PROVIDER", None), "add_span_processor")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write *spans*, unless that has happened when they ended."""
        self._write(spans, self._processor.on_end)
        return SpanExportResult.SUCCESS


class SpoolLogRecordExporter(_NamedExporter, LogRecordExporter):
    """Lets log records wait; *directory* is the spool of the spans, in which they have a folder of their own."""

    def __init__(self, directory: str | None = None, *, exporter: str = "otlp") -> None:
        spool = _directory(directory, exporter)
        processor = SpoolLogRecordProcessor(None if spool is None else spool / LOG_RECORDS.folder, exporter=exporter)
        super().__init__(processor, getattr(_internal, "_LOGGER_PROVIDER", None), "add_log_record_processor")

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Write the records of *batch*, unless that has happened when they were made."""
        self._write(batch, self._processor.on_emit)
        return LogRecordExportResult.SUCCESS


class SpoolMetricExporter(MetricExporter):
    """Lets what a reader has collected wait; *directory* is the spool of the spans, with a folder for them."""

    def __init__(self, directory: str | None = None, *, exporter: str = "otlp") -> None:
        new_since_last = _choice_of("METRICS_TEMPORALITY_PREFERENCE", _DELTAS)
        histogram = _choice_of("METRICS_DEFAULT_HISTOGRAM_AGGREGATION", _AGGREGATIONS)
        super().__init__(
            preferred_temporality=dict.fromkeys(new_since_last, AggregationTemporality.DELTA),
            preferred_aggregation={metrics.Histogram: histogram()},
        )
        spool = _directory(directory, exporter)
        place = None if spool is None else spool / METRICS.folder
        self._spool: Final = Spool(METRICS, place, owner=self, exporter=exporter)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        """Write *metrics_data* as one report; it is sent later."""
        forks.notice()
        if metrics_data.resource_metrics:
            self._spool.keep(self._spool.encoded(lambda data: encode_metrics(data).SerializeToString(), metrics_data))
            self._spool.send_soon()
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send what waits; return False if that took longer, or if the endpoint took it not."""
        return self._spool.force_flush(round(timeout_millis))

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Send what waits as long as the endpoint takes it; the rest stays in the spool for others."""
        self._spool.shutdown()


def _choice_of(suffix: str, choices: Mapping[str, T]) -> T:
    """Return which of *choices* the variable says; the first, unless it is set."""
    name, word = variable("metrics", suffix)
    choice = choices.get(word.lower() or next(iter(choices)))
    if choice is None:
        raise ConfigurationError(f"{name}={word} is not supported{suggestion(word.lower(), choices)}")
    return choice


def new_tracer_provider() -> TracerProvider:
    """Return a provider whose spans wait in a spool: for ``OTEL_PYTHON_TRACER_PROVIDER``, where nobody makes one."""
    provider = TracerProvider()
    provider.add_span_processor(SpoolSpanProcessor(_directory(None, "otlp")))
    return provider


def new_logger_provider() -> LoggerProvider:
    """Return a provider whose log records wait in a spool: for ``OTEL_PYTHON_LOGGER_PROVIDER``."""
    provider = LoggerProvider()
    spool = _directory(None, "otlp")
    provider.add_log_record_processor(SpoolLogRecordProcessor(None if spool is None else spool / LOG_RECORDS.folder))
    return provider


def new_meter_provider() -> metrics.MeterProvider:
    """Return a provider whose reports wait in a spool: for ``OTEL_PYTHON_METER_PROVIDER``."""
    return metrics.MeterProvider([PeriodicExportingMetricReader(SpoolMetricExporter())])


def _directory(directory: str | None, exporter: str) -> Path | None:
    """Return the folder that was named, or the usual one; None if there is none, and everything waits in memory."""
    if directory is not None:
        return absolute(os.fspath(directory), "otelflow_spool: directory")
    mode = os.environ.get("OTELFLOW_SPOOL", "").strip().lower() or "auto"
    named = os.environ.get("OTELFLOW_SPOOL_DIR", "").strip()
    try:
        return spool_directory(mode, named, exporter)
    except ConfigurationError as error:
        if named:
            raise
        log(_logger, logging.WARNING, "What waits is in memory, 16 MB at most, and lost with the process: %s", error)
        return None
