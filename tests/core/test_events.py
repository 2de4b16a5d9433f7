"""Where events go: the span, log records, both; and the hub that people know."""

import pytest
from opentelemetry._logs import _internal as otel_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otelflow import Flow_Events, Flow_Run__Event, Flow_Run__Event_Data, Flow_Run__Event_Type, flow, flow_events, task
from otelflow._core.process import losses


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    yield
    flow_events.event_listeners.clear()


@pytest.fixture
def records(monkeypatch):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(otel_logs, "_LOGGER_PROVIDER", provider)
    return lambda: [one.log_record for one in exporter.get_finished_logs()]


@task
def work(this_task=None):
    print("printed")
    this_task.log_error("told")
    this_task.log_debug("whispered")
    this_task.add_task_artifact("an artifact", "key", {"a": 1}, "json")
    this_task.add_task_result("answer", 42)


@flow
def job():
    work()


@pytest.mark.parametrize(("where", "on_span", "as_records"), [("span", 4, 0), ("log", 0, 4), ("both", 4, 4)])
def test_events_go_where_the_switch_says(spans, records, monkeypatch, where, on_span, as_records):
    monkeypatch.setenv("OTELFLOW_EVENTS", where)

    job().execute()

    assert len(spans.events("task work")) == on_span
    assert len(records()) == as_records


def test_a_log_record_belongs_to_the_span_in_which_it_was_said(spans, records, monkeypatch):
    monkeypatch.setenv("OTELFLOW_EVENTS", "log")

    job().execute()

    span = spans.one("task work")
    message, error, artifact, result = records()
    assert {(one.trace_id, one.span_id) for one in records()} == {(span.context.trace_id, span.context.span_id)}
    assert (message.body, message.severity_text, message.severity_number.value) == ("printed", "INFO", 9)
    assert (error.body, error.severity_text, error.severity_number.value) == ("told", "ERROR", 17)
    assert (artifact.event_name, artifact.body) == ("otelflow.artifact", "an artifact")
    assert artifact.attributes["otelflow.artifact.data"] == '{"a": 1}'
    assert (result.event_name, result.body) == ("otelflow.result", "42")
    assert message.attributes["otelflow.task.name"] == "work"
    assert message.attributes["otelflow.flow.run.id"] == span.attributes["otelflow.flow.run.id"]
    assert span.start_time <= message.timestamp <= error.timestamp <= span.end_time


def test_a_log_processor_that_raises_changes_no_run(monkeypatch, records):
    monkeypatch.setenv("OTELFLOW_EVENTS", "log")

    class Broken(SimpleLogRecordProcessor):
        def on_emit(self, log_record):
            raise RuntimeError("log pipeline")

    otel_logs._LOGGER_PROVIDER.add_log_record_processor(Broken(InMemoryLogRecordExporter()))
    before = losses.dropped["logs", "emit_failed"]

    run = job().execute()

    assert run.status == "success"
    assert losses.dropped["logs", "emit_failed"] == before + 4


def test_nothing_is_lost_in_log_records_when_a_span_keeps_only_a_part(spans, records, monkeypatch, capsys):
    monkeypatch.setenv("OTELFLOW_EVENTS", "both")

    @flow
    def chatter():
        for number in range(500):
            print(number)

    chatter().execute()

    assert [one.body for one in records()] == [str(number) for number in range(500)]
    assert len(spans.events("flow chatter")) < 128


def test_a_separate_hub_tells_its_own_listeners_only():
    hub, heard, elsewhere = Flow_Events(), [], []
    hub.event_listeners.append(heard.append)
    flow_events.event_listeners.append(elsewhere.append)
    data = Flow_Run__Event_Data(flow_name="f", task_name="t")

    hub.on__flow__start(data)
    hub.on__task__start(data)
    hub.on__new_artifact(data)
    hub.on__new_result(data)
    hub.on__flow_run__message(30, "run", "task", "\x1b[31mred\x1b[0m")
    hub.on__task__stop(data)
    hub.on__flow__stop(data)

    kinds = ["flow_start", "task_start", "new_artifact", "new_result", "flow_message", "task_stop", "flow_stop"]
    assert [event.event_type.value for event in heard] == kinds
    assert elsewhere == []
    message = heard[4].event_data
    assert message.data["message_data"] == {"log_level": 30, "message": "\x1b[31mred\x1b[0m", "message_text": "red"}
    assert (message.log_level, message.flow_run_id, message.task_run_id) == (30, "run", "task")


def test_an_event_has_an_id_of_its_own_and_milliseconds():
    heard = []
    flow_events.event_listeners.append(heard.append)

    job().execute()

    assert len({event.event_id for event in heard}) == len(heard) > 5
    assert [event.timestamp for event in heard] == [event.time_unix_nano // 1_000_000 for event in heard]
    assert [event.time_unix_nano for event in heard] == sorted(event.time_unix_nano for event in heard)
    assert isinstance(heard[0], Flow_Run__Event)


def test_an_event_of_a_subflow_knows_its_parent_run():
    heard = []
    flow_events.event_listeners.append(heard.append)

    @flow
    def inner():
        pass

    @task
    def between(this_task=None):
        inner().execute()
        return this_task.task_id

    outer = flow(flow_name="outer")(lambda: between())().execute()

    starts = {
        (event.event_data.task_name or event.event_data.flow_name): event.event_data
        for event in heard
        if event.event_type in (Flow_Run__Event_Type.FLOW_START, Flow_Run__Event_Type.TASK_START)
    }
    assert starts["outer"].parent_run_id is None
    assert starts["between"].parent_run_id == outer.flow_id
    assert starts["inner"].parent_run_id == outer.flow_return_value


def test_a_stop_tells_result_duration_and_error():
    heard = []
    flow_events.event_listeners.append(heard.append)
    error = ValueError("password=hunter2")

    @flow
    def fails():
        raise error

    with pytest.raises(ValueError, match="hunter2"):
        fails().execute()

    data = heard[-1].event_data
    assert (data.result, data.error, data.error_type) == ("failure", error, "ValueError")
    assert data.error_message == "password=[redacted]"
    assert data.duration > 0


def test_without_listeners_no_event_is_made(monkeypatch):
    from otelflow._core.inside import events

    made = []
    monkeypatch.setattr(events, "new_event", lambda *args: made.append(args))

    job().execute()

    assert made == []
