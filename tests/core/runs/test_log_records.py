"""What happens in a run, as OpenTelemetry's log records: which severity, of which run, and with what."""

import logging
import time
from dataclasses import dataclass, field

import pytest
from opentelemetry import trace
from opentelemetry._logs import _internal as otel_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

import otelflow
from otelflow import semconv
from otelflow._core.process import losses
from otelflow._core.runs import log_records
from otelflow._core.runs.endings import CANCELLED, Ending
from otelflow._core.runs.engine import close_run
from support.flows import opened


@dataclass
class Note:
    """An entry, as far as a log record says something of it."""

    event_name: str = "otelflow.message"
    level: int = 20
    time_ns: int = 1_234_567_890
    body: str = "a text"
    own: dict[str, str] = field(default_factory=lambda: {"key": "value"})

    def attributes(self):
        return self.own


@pytest.fixture
def run():
    run = opened()
    run.flow_name, run.flow_run_id = "order", "flow-1"
    yield run
    close_run(run, CANCELLED)


@pytest.mark.parametrize(
    ("level", "name", "number"),
    [
        (0, "NOTSET", 1),
        (5, "DEBUG", 1),
        (10, "DEBUG", 5),
        (19, "DEBUG", 5),
        (20, "INFO", 9),
        (21, "INFO", 9),
        (25, "INFO", 9),
        (30, "WARNING", 13),
        (40, "ERROR", 17),
        (50, "CRITICAL", 21),
        (99, "CRITICAL", 21),
    ],
)
def test_each_level_has_the_severity_of_the_standard_level_below_it(records, run, level, name, number):
    log_records.emit_entry(run, Note(level=level))

    (record,) = records()
    assert (record.severity_text, record.severity_number.value) == (name, number)


def test_a_program_that_gives_levels_other_names_means_its_own_log(records, run, monkeypatch):
    monkeypatch.setattr(logging, "_levelToName", {**logging._levelToName, 40: "\x1b[31mERROR\x1b[0m", 25: "NOTICE"})
    for level in (40, 25):
        log_records.emit_entry(run, Note(level=level))

    assert [record.severity_text for record in records()] == ["ERROR", "INFO"]


def test_a_message_is_a_plain_record_and_anything_else_an_event_with_its_attributes(records, run):
    log_records.emit_entry(run, Note())
    log_records.emit_entry(run, Note("otelflow.artifact"))

    message, artifact = records()
    assert message.attributes["otelflow.flow.name"] == "order"
    assert (message.body, message.event_name, dict(message.attributes)) == ("a text", None, run.attributes())
    assert (artifact.body, artifact.event_name) == ("a text", "otelflow.artifact")
    assert dict(artifact.attributes) == {**run.attributes(), "key": "value"}
    assert message.timestamp == message.observed_timestamp == 1_234_567_890


def test_a_record_is_of_otelflow_in_its_version(monkeypatch, run):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(otel_logs, "_LOGGER_PROVIDER", provider)
    log_records.emit_entry(run, Note())

    (log,) = exporter.get_finished_logs()
    scope = log.instrumentation_scope
    assert (scope.name, scope.version, scope.schema_url) == ("otelflow", otelflow.__version__, semconv.SCHEMA_URL)


def test_a_record_belongs_to_the_span_of_its_run_also_when_another_is_current(spans, records, run):
    other = opened("other")
    log_records.emit_entry(run, Note())
    close_run(other, CANCELLED)

    (record,) = records()
    assert (record.trace_id, record.span_id) == (run.span.context.trace_id, run.span.context.span_id)


def test_a_record_of_a_run_without_a_span_belongs_to_the_span_around_it(records, run):
    host = TracerProvider(shutdown_on_exit=False).get_tracer("host")
    with host.start_as_current_span("request") as request:
        log_records.emit_entry(run, Note())

    assert run.span is trace.INVALID_SPAN
    assert records()[0].span_id == request.get_span_context().span_id


@pytest.mark.parametrize(
    ("ending", "severity", "body"),
    [
        (Ending("failure", ValueError("no money")), "ERROR", "no money"),
        (Ending("failure", ValueError()), "ERROR", "ValueError"),
        (Ending("cancellation", KeyboardInterrupt("stop")), "WARNING", "stop"),
    ],
)
def test_an_exception_is_an_event_with_all_that_a_span_says_of_it(records, run, ending, severity, body):
    run.ending = ending
    before = time.time_ns()
    log_records.emit_exception(run)

    (record,) = records()
    assert (record.severity_text, record.body, record.event_name) == (severity, body, "exception")
    assert dict(record.attributes) == {**run.attributes(), **ending.exception_attributes()}
    assert before <= record.timestamp <= time.time_ns()


def test_a_record_that_cannot_be_emitted_is_counted_and_said(monkeypatch, warnings_said, run):
    def emit(*_, **__):
        raise RuntimeError("no logger")

    monkeypatch.setattr(otel_logs, "_LOGGER_PROVIDER", LoggerProvider(shutdown_on_exit=False))
    monkeypatch.setattr("opentelemetry.sdk._logs._internal.Logger.emit", emit)
    log_records.emit_entry(run, Note())

    assert losses.dropped == {("logs", "emit_failed"): 1}
    assert warnings_said.messages == ["A log record could not be emitted; the run goes on"]
