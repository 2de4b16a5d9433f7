"""Make a logger provider when events are wanted as log records and the application has none."""

import copy
import functools
from typing import ClassVar, Final

from opentelemetry import _logs
from opentelemetry._logs import _internal
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource

from otelflow._core.process import entry_points, losses, shutdown
from otelflow._core.process.process import State
from otelflow._telemetry.accounts import KeepsAccounts
from otelflow._telemetry.batches import LOG_RECORD_QUEUE, BoundedBatchProcessor, QueueOptions
from otelflow._telemetry.traces import has_spool, spool_of
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import exporter_names
from otelflow_exporters._otlp.resource import KeepsInstanceId

# What was said can be read a second later, as with OpenTelemetry's own processor.
_DELAY_MILLIS: Final = 1_000


class BoundedBatchLogRecordProcessor(BoundedBatchProcessor, LogRecordProcessor):
    """Delivers log records as spans are delivered: with ``OTEL_BLRP_*`` for its queue, each loss counted."""

    queue_options: ClassVar[QueueOptions] = LOG_RECORD_QUEUE

    def name_of(self, item: ReadableLogRecord) -> object:
        """Return the name of the record's event, or else its text."""
        return item.log_record.event_name or item.log_record.body

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue *log_record*, within a bounded time."""
        record = copy.copy(log_record.log_record)
        record.context = Context()  # which may be large, and has said which span it is
        resource = log_record.resource if log_record.resource is not None else Resource.create({})
        self.take(ReadableLogRecord(record, resource, log_record.instrumentation_scope, log_record.limits))


class _Provider(KeepsInstanceId, KeepsAccounts, LoggerProvider):
    """The SDK's, with one instance id, and the accounts of what delivers its log records."""

    def add_log_record_processor(self, log_record_processor: LogRecordProcessor) -> None:
        """Give *log_record_processor* each log record from now on."""
        self.keep_account_of(log_record_processor)
        super().add_log_record_processor(log_record_processor)


class _Logs(State):
    """The logger provider that this process has made OpenTelemetry's global one."""

    provider: LoggerProvider | None = None

    def reset(self) -> None:
        """Keep it: OpenTelemetry's global provider is set once."""


_logs_state: Final = _Logs()


def _processor_for(name: str) -> LogRecordProcessor:
    if has_spool(name):
        from otelflow_exporters._spool.log_records import SpoolLogRecordProcessor  # noqa: PLC0415 only with a spool
        from otelflow_exporters._spool.signals import LOG_RECORDS  # noqa: PLC0415

        spool = spool_of(name)
        directory = None if spool is None else spool / LOG_RECORDS.folder
        on_loss = functools.partial(losses.lost, "logs")
        return SpoolLogRecordProcessor(directory, exporter=name, on_loss=on_loss)
    return BoundedBatchLogRecordProcessor.to(name, schedule_delay_millis=_DELAY_MILLIS)


@entry_points.empty_is_unset()
def use_logs(resource: Resource) -> LoggerProvider | None:
    """Send log records where ``OTEL_LOGS_EXPORTER`` or the OTLP endpoint says; an application's provider stays.

    Returns the provider that was made for it, now or before. Raises ConfigurationError.
    """
    names = exporter_names("logs")
    if not names:
        return _logs_state.provider
    if getattr(_internal, "_LOGGER_PROVIDER", None) is None:
        entry_points.check_provider("logger")
    if not isinstance(_logs.get_logger_provider(), _internal.ProxyLoggerProvider):
        return _logs_state.provider
    processors = [_processor_for(name) for name in names]
    try:
        provider = _Provider(resource=resource)
    except ValueError as error:  # a limit; it names the variable and what it takes
        raise ConfigurationError(str(error)) from None
    for processor in processors:
        provider.add_log_record_processor(processor)
    _logs_state.provider = provider
    _logs.set_logger_provider(provider)
    shutdown.end_open_runs_at_exit()  # what the exit cuts short is said before this provider's own exit function
    return provider
