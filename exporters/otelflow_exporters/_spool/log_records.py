"""Let log records wait in a spool, as spans do."""

import os
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource

from otelflow._core.process import forks
from otelflow._core.process.ledger import Account
from otelflow_exporters._spool.signals import LOG_RECORDS
from otelflow_exporters._spool.spool import Spool


class SpoolLogRecordProcessor(LogRecordProcessor):
    """Writes each log record to a file in *directory* (None: to memory) and sends it, as ``SpoolSpanProcessor`` does.

    *exporter* is the name of an OTLP exporter, *on_loss* is called with a reason and a number of records.
    Raises ConfigurationError.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        *,
        exporter: str = "otlp",
        on_loss: Callable[[str, int], object] | None = None,
    ) -> None:
        self._spool = Spool(LOG_RECORDS, directory, owner=self, exporter=exporter, on_loss=on_loss)

    @property
    def account(self) -> Account:
        """What has become of the log records of this process."""
        return self._spool.account

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Write *log_record*; it is sent later."""
        forks.notice()
        resource = log_record.resource if log_record.resource is not None else Resource.create({})
        record = ReadableLogRecord(log_record.log_record, resource, log_record.instrumentation_scope, log_record.limits)
        body = self._spool.encoded(lambda item: encode_logs([item]).SerializeToString(), record)
        self._spool.keep(body)
        self._spool.send_soon()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; return False if that took longer, or if the endpoint took it not."""
        return self._spool.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send what waits as long as the endpoint takes it; the rest stays in the spool for others."""
        self._spool.shutdown()
