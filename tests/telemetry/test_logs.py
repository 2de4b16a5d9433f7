"""Events as log records are delivered with the promises that spans have, to a real receiver."""

import sys

import pytest
from opentelemetry import context
from opentelemetry._logs import LogRecord, SeverityNumber, _internal, get_logger_provider, set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.util._once import Once

from otelflow._core.process import losses, settings
from otelflow._telemetry import logs
from otelflow._telemetry.logs import BoundedBatchLogRecordProcessor
from otelflow.errors import ConfigurationError
from support.programs import python as run_source
from support.receivers import OtlpReceiver

PROGRAM = """
import os, sys
import otelflow
from otelflow import flow, task

@task
def say(text):
    print(text)

@flow
def talk(count=3):
    for number in range(count):
        say(f"line {number}")
"""


def python(body, **environment):
    variables = {"OTELFLOW_EVENTS": "log", "OTEL_TRACES_EXPORTER": "none", **environment}
    return run_source(PROGRAM, body, **variables)


@pytest.fixture
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


def lines_of(records):
    return [record.body.string_value for record in records if record.body.string_value.startswith("line")]


@pytest.fixture
def dropped():
    return losses.dropped


def test_a_program_faster_than_its_collector_loses_no_record(receiver):
    done = python(
        "otelflow.configure(); talk(500).execute()",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_BLRP_MAX_QUEUE_SIZE="32",
        OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="32",
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert lines_of(receiver.log_records) == [f"line {number}" for number in range(500)]


def test_what_a_dead_collector_does_not_take_waits_for_the_next_process(receiver):
    receiver.status = 503
    first = python("otelflow.configure(); talk(2).execute()", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    receiver.requests.clear()
    receiver.status = 200
    second = python("otelflow.configure(); talk(1).execute()", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert (first.returncode, second.returncode) == (0, 0)
    assert "log records wait in the spool " in first.stderr
    assert sorted(lines_of(receiver.log_records)) == ["line 0", "line 0", "line 1"]
    assert "wait" not in second.stderr


def test_without_a_spool_a_dead_collector_is_one_warning_and_each_record_is_counted():
    done = python(
        """
        import atexit
        from otelflow._core.process import losses
        atexit.register(lambda: print(sum(losses.dropped.values()), {signal for signal, _ in losses.dropped}))
        otelflow.configure(print_finished_message=False)

        @flow
        def quiet():
            print("line 0")

        quiet().execute()
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTELFLOW_SPOOL="off",
    )

    lost, signals = done.stdout.splitlines()[-1].split(" ", 1)
    assert done.returncode == 0
    assert (int(lost) > 0, signals) == (True, "{'logs'}")
    warning = "OTLPLogExporter could not deliver to http://127.0.0.1:9 (connection refused): log records are lost"
    assert done.stderr.count(warning) == 1


def test_a_flush_delivers_the_records_and_a_shutdown_ends_their_delivery(receiver):
    done = python(
        """
        t = otelflow.configure()
        talk(1).execute()
        print(t.force_flush())
        sys.stdout.flush()
        talk(1).execute()
        t.shutdown()
        talk(1).execute()
        print(dict(t.dropped).keys(), flush=True)
        os._exit(0)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_BLRP_SCHEDULE_DELAY="60000",
    )

    assert done.stdout.splitlines()[1] == "True"
    assert done.stdout.splitlines()[-1] == "dict_keys([('logs', 'after_shutdown')])"
    assert lines_of(receiver.log_records) == ["line 0", "line 0"]


def test_a_flush_says_when_the_records_did_not_arrive():
    done = python(
        "t = otelflow.configure(); talk(1).execute(); print(t.force_flush())",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )

    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_forked_worker_delivers_its_records_and_not_those_of_its_parent(receiver):
    done = python(
        """
        import multiprocessing
        otelflow.configure()
        say("line of the parent")
        child = multiprocessing.get_context("fork").Process(target=say, args=("line of the child",))
        child.start()
        child.join(20)
        print(child.exitcode)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_BLRP_SCHEDULE_DELAY="60000",
    )

    assert done.stdout.splitlines()[-1] == "0"
    assert sorted(lines_of(receiver.log_records)) == ["line of the child", "line of the parent"]


def test_what_the_exit_cuts_short_is_said_before_the_records_are_delivered(receiver):
    done = python(
        """
        otelflow.configure(events="span")
        talk(1).execute()
        otelflow.configure(events="log", message_level="DEBUG", print_finished_message=True)

        @task
        def waits():
            yield

        left = waits()
        next(left)
        """,
        OTELFLOW_EVENTS="span",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    assert done.returncode == 0, done.stderr
    assert any("Finished" in one.body.string_value and "waits" in one.body.string_value for one in receiver.log_records)


def test_each_record_that_a_dead_exporter_loses_is_counted(monkeypatch, dropped):
    class Dead(InMemoryLogRecordExporter):
        def export(self, batch):
            return LogRecordExportResult.FAILURE

    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "4")
    processor = BoundedBatchLogRecordProcessor(Dead())
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)

    for number in range(1_000):
        provider.get_logger("test").emit(LogRecord(body=str(number)))
    processor.shutdown()

    assert sum(dropped.values()) == 1_000
    assert {signal for signal, _ in dropped} == {"logs"}


@pytest.fixture
def emitted(monkeypatch):
    """Emit records and return what was delivered, and what was said of it."""
    delivered = []

    class Keeping(InMemoryLogRecordExporter):
        def export(self, batch):
            delivered.extend(batch)
            return super().export(batch)

    def emit(*records, resource=None):
        processor = BoundedBatchLogRecordProcessor(Keeping())
        provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_log_record_processor(processor)
        for record in records:
            provider.get_logger("test", "1").emit(record)
        processor.shutdown()
        return delivered

    return emit


def test_a_record_is_delivered_with_its_resource_and_scope_and_keeps_no_context(emitted):
    around = context.set_value("large", "x" * 1_000)
    resource = Resource({"service.name": "shop"})
    record = LogRecord(body="said", event_name="message", severity_number=SeverityNumber.INFO, context=around)

    (delivered,) = emitted(record, resource=resource)

    assert (delivered.log_record.body, delivered.log_record.event_name) == ("said", "message")
    assert delivered.log_record.context == context.Context()
    assert delivered.resource == resource
    assert delivered.instrumentation_scope.name == "test"
    assert record.context == around, "the program's own record stays as it is"


def test_a_record_is_called_by_its_event_or_else_by_its_text():
    processor = BoundedBatchLogRecordProcessor(InMemoryLogRecordExporter())

    def name_of(**fields):
        return processor.name_of(ReadableLogRecord(LogRecord(**fields), Resource({})))

    assert name_of(event_name="message", body="said") == "message"
    assert name_of(body="said") == "said"


# The provider, in this process


@pytest.fixture
def no_provider(monkeypatch):
    """OpenTelemetry has no logger provider yet, and what is set for the test is forgotten."""
    for name in ("LOGS_EXPORTER", "EXPORTER_OTLP_ENDPOINT", "PYTHON_LOGGER_PROVIDER"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)
    monkeypatch.setattr(_internal, "_LOGGER_PROVIDER", None)
    monkeypatch.setattr(_internal, "_LOGGER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(logs._logs_state, "provider", None)
    yield
    if logs._logs_state.provider is not None:
        logs._logs_state.provider.shutdown()


def test_without_an_exporter_there_is_no_provider(no_provider):
    assert logs.use_logs(Resource({})) is None
    assert _internal._LOGGER_PROVIDER is None


def test_each_exporter_has_a_queue_that_is_delivered_each_second(no_provider, monkeypatch):
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "console,otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    resource = Resource({"service.name": "shop"})
    exits = []
    settings.configure(spool="off")
    monkeypatch.setattr(logs.shutdown, "end_open_runs_at_exit", lambda: exits.append("again"))

    provider = logs.use_logs(resource)

    assert get_logger_provider() is provider
    assert provider.resource == resource
    processors = provider._multi_log_record_processor._log_record_processors
    assert [type(processor.exporter).__name__ for processor in processors] == [
        "ConsoleLogRecordExporter",
        "OTLPLogExporter",
    ]
    assert [(processor.worker._interval, processor._answer.endpoint) for processor in processors] == [
        (1.0, ""),
        (1.0, "http://127.0.0.1:9"),
    ]
    assert exits == ["again"]
    assert logs.use_logs(Resource({})) is provider, "it is made once"
    monkeypatch.delenv("OTEL_LOGS_EXPORTER")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert logs.use_logs(Resource({})) is provider
    assert exits == ["again"]


def test_a_provider_of_the_application_stays(no_provider, monkeypatch):
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "console")
    theirs = LoggerProvider(shutdown_on_exit=False)
    set_logger_provider(theirs)

    assert logs.use_logs(Resource({})) is None
    assert get_logger_provider() is theirs


def test_a_provider_that_is_named_and_not_there_is_one_error(no_provider, monkeypatch):
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "console")
    monkeypatch.setenv("OTEL_PYTHON_LOGGER_PROVIDER", "theirs")

    with pytest.raises(ConfigurationError, match="OTEL_PYTHON_LOGGER_PROVIDER"):
        logs.use_logs(Resource({}))


def test_a_limit_that_is_none_is_named(no_provider, monkeypatch):
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "console")

    def refuse(**_):
        raise ValueError("OTEL_ATTRIBUTE_COUNT_LIMIT must be a number")

    monkeypatch.setattr(logs, "_Provider", refuse)

    with pytest.raises(ConfigurationError, match=r"^OTEL_ATTRIBUTE_COUNT_LIMIT must be a number$"):
        logs.use_logs(Resource({}))


def test_a_provider_has_the_accounts_of_what_delivers_its_records():
    provider = logs._Provider(resource=Resource({"service.name": "x"}), shutdown_on_exit=False)
    exporter = InMemoryLogRecordExporter()
    provider.add_log_record_processor(BoundedBatchLogRecordProcessor(exporter))
    provider.get_logger("x").emit(LogRecord(timestamp=1, severity_number=SeverityNumber.INFO, body="said"))
    provider.force_flush()
    provider.shutdown()

    assert [log.log_record.body for log in exporter.get_finished_logs()] == ["said"]
    assert provider.accounts == (("logs", "InMemoryLogRecordExporter", 1, 1, {}),)


def test_a_record_that_is_delivered_keeps_nothing_of_the_context_in_which_it_was_made():
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BoundedBatchLogRecordProcessor(exporter))
    token = context.attach(context.set_value("large", "x" * 1_000))
    provider.get_logger("x").emit(LogRecord(timestamp=1, severity_number=SeverityNumber.INFO, body="said"))
    context.detach(token)
    provider.force_flush()
    provider.shutdown()

    assert [dict(log.log_record.context) for log in exporter.get_finished_logs()] == [{}]
