"""Log records of any program wait in a spool."""

import os
import time
from collections import Counter

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from otelflow._core.process import forks
from otelflow.errors import ConfigurationError
from otelflow_exporters._spool.log_records import SpoolLogRecordProcessor
from support.receivers import OtlpReceiver


@pytest.fixture
def receiver(monkeypatch):
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def logger_with(processor):
    provider = LoggerProvider(resource=Resource({"service.name": "logging"}), shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    return provider.get_logger("scope", "1.0", "https://example.org/schema")


def say(logger, text):
    logger.emit(LogRecord(timestamp=1, severity_number=SeverityNumber.INFO, body=text))


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_each_record_arrives_once_with_its_resource_and_scope(receiver, tmp_path, is_in_memory):
    processor = SpoolLogRecordProcessor(None if is_in_memory else tmp_path / "logs")
    logger = logger_with(processor)
    for number in range(3):
        say(logger, f"line {number}")
    waiting = processor.account.total - processor.account.delivered

    assert processor.force_flush()
    processor.shutdown()

    assert waiting == 3
    assert (processor.account.signal, processor.account.total, processor.account.delivered) == ("logs", 3, 3)
    resources = [resource for request in receiver.log_requests for resource in request.resource_logs]
    scopes = [scope for resource in resources for scope in resource.scope_logs]
    texts = Counter(record.body.string_value for scope in scopes for record in scope.log_records)
    assert texts == {f"line {number}": 1 for number in range(3)}
    assert {(scope.scope.name, scope.scope.version, scope.schema_url) for scope in scopes} == {
        ("scope", "1.0", "https://example.org/schema")
    }
    assert {resource.resource.attributes[0].value.string_value for resource in resources} == {"logging"}


def test_what_comes_after_the_end_is_counted(receiver, tmp_path):
    losses = []
    processor = SpoolLogRecordProcessor(tmp_path / "logs", on_loss=lambda *loss: losses.append(loss))
    logger = logger_with(processor)
    processor.shutdown()
    say(logger, "too late")

    assert losses == [("after_shutdown", 1)]
    assert dict(processor.account.dropped) == {"after_shutdown": 1}


def test_an_exporter_that_there_is_not_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "no address")

    with pytest.raises(ConfigurationError):
        SpoolLogRecordProcessor(tmp_path / "logs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_begins_with_no_record(receiver, tmp_path):
    processor = SpoolLogRecordProcessor(tmp_path / "logs")
    say(logger_with(processor), "of the parent")
    child = os.fork()
    if not child:
        code = 99
        try:
            code = processor.account.total
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert processor.account.total == 1
    processor.shutdown()


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_what_was_said_is_sent_without_being_asked_for(receiver, tmp_path, monkeypatch, is_in_memory):
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "1")
    processor = SpoolLogRecordProcessor(None if is_in_memory else tmp_path / "logs")
    say(logger_with(processor), "sent")
    deadline = time.monotonic() + 30
    while not receiver.log_requests and time.monotonic() < deadline:
        time.sleep(0.02)
    count = len(receiver.log_requests)
    processor.shutdown()

    assert count == 1


def test_a_child_that_nobody_has_told_python_of_begins_with_no_record(receiver, tmp_path, monkeypatch):
    processor = SpoolLogRecordProcessor(tmp_path / "logs")
    logger = logger_with(processor)
    say(logger, "of the parent")

    monkeypatch.setattr(forks.fork, "process_id", 0)  # as in a child that was forked in C
    monkeypatch.setattr(forks.fork, "page", forks._EMPTY)
    say(logger, "of the child")

    assert processor.account.total == 1
    processor.shutdown()
