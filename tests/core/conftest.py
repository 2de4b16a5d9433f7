import logging

import pytest
from opentelemetry._logs import _internal as otel_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor


@pytest.fixture(autouse=True)
def no_settings_file(monkeypatch, tmp_path):
    """No file with settings lies around."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def warnings_said(caplog):
    """What is logged from now on."""
    caplog.set_level(logging.WARNING, "otelflow")
    return caplog


@pytest.fixture
def records(monkeypatch):
    """The log records of OpenTelemetry that were emitted: call it to look."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(otel_logs, "_LOGGER_PROVIDER", provider)
    return lambda: [log.log_record for log in exporter.get_finished_logs()]
