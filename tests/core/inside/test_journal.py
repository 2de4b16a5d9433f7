"""Where what happens inside a run is written: its span, log records, both; and what is left out."""

import os

import pytest
from opentelemetry._logs import _internal as otel_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otelflow import flow, task
from otelflow._core.inside import messages
from otelflow._core.process import forks, losses
from otelflow._core.process import provider as span_maker
from support.flows import job, run_of
from support.programs import python
from support.spans import texts


@pytest.mark.parametrize(("where", "on_span", "as_records"), [("span", 4, 0), ("log", 0, 4), ("both", 4, 4)])
def test_events_go_where_the_switch_says(spans, records, monkeypatch, where, on_span, as_records):
    monkeypatch.setenv("OTELFLOW_EVENTS", where)

    job().execute()

    assert len(spans.events("task work")) == on_span
    assert len(records()) == as_records


@pytest.mark.parametrize(("where", "on_span", "as_records"), [("span", 1, 0), ("log", 0, 1), ("both", 1, 1)])
@pytest.mark.parametrize("is_sampled", [True, False])
def test_an_exception_is_recorded_once_where_the_switch_says(
    spans, records, monkeypatch, where, on_span, as_records, is_sampled
):
    monkeypatch.setenv("OTELFLOW_EVENTS", where)
    if not is_sampled:
        span_maker.use_provider(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))

    @task
    def break_down():
        raise ValueError("password=hunter2hunter2")

    @flow
    def fail():
        break_down()

    with pytest.raises(ValueError, match="password"):
        fail().execute()

    events = [event for span in spans.spans for event in span.events]
    assert [event.name for event in events] == ["exception"] * (on_span if is_sampled else 0)
    assert len(records()) == as_records
    for record in records():
        attributes = dict(record.attributes)
        assert (record.event_name, record.severity_text, record.body) == ("exception", "ERROR", "password=[redacted]")
        assert (attributes["exception.type"], attributes["otelflow.task.name"]) == ("ValueError", "break_down")
        assert attributes["exception.message"] == "password=[redacted]"
        assert "in break_down" in attributes["exception.stacktrace"]
        assert "hunter2" not in attributes["exception.stacktrace"]
        assert record.trace_flags.sampled is is_sampled


def test_an_exception_that_stays_inside_is_a_log_record_of_its_task_and_a_cancellation_is_no_error(
    spans, records, monkeypatch
):
    monkeypatch.setenv("OTELFLOW_EVENTS", "log")

    @task(raise_on_error=False)
    def fail():
        raise ValueError("inside")

    @flow
    def survive():
        fail()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survive().execute()

    assert [(record.severity_text, record.body) for record in records()] == [
        ("ERROR", "inside"),
        ("WARNING", "KeyboardInterrupt"),
    ]


def test_a_log_record_has_the_scope_that_spans_have(spans, monkeypatch):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(otel_logs, "_LOGGER_PROVIDER", provider)
    monkeypatch.setenv("OTELFLOW_EVENTS", "log")

    job().execute()

    scopes = {log.instrumentation_scope for log in exporter.get_finished_logs()}
    assert [(scope.name, scope.version, scope.schema_url) for scope in scopes] == [
        (scope.name, scope.version, scope.schema_url) for scope in {span.instrumentation_scope for span in spans.spans}
    ]


def test_a_log_record_belongs_to_the_span_in_which_it_was_said(spans, records, monkeypatch):
    monkeypatch.setenv("OTELFLOW_EVENTS", "log")

    job().execute()

    span = spans.one("task work")
    message, error, artifact, result = records()
    assert {(record.trace_id, record.span_id) for record in records()} == {
        (span.context.trace_id, span.context.span_id)
    }
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

    assert [record.body for record in records()] == [str(number) for number in range(500)]
    assert len(spans.events("flow chatter")) < 128


def said(run):
    """The messages of a run, without the engine's own."""
    return [line.plain_text for line in run.log if line.level >= 20]


def test_ten_thousand_prints_keep_head_tail_and_errors_and_push_out_no_artifact(spans, capsys):
    @task
    def chatter(this_task=None):
        this_task.add_task_artifact(key="early", data="a")
        this_task.add_task_result("r", "v")
        for number in range(10_000):
            print(number)
            if number % 2_000 == 1_000:
                this_task.log_error(f"error {number}")

    run = run_of(lambda: chatter())

    texts_left = spans.messages("task chatter")
    kinds = [event.name for event in spans.events("task chatter")]
    assert texts_left[:2] == ["0", "1"]
    assert texts_left[-1] == "9999"
    assert [text for text in texts_left if text.startswith("error")] == [
        f"error {n}" for n in range(1_000, 10_000, 2_000)
    ]
    assert kinds.count("otelflow.artifact") == kinds.count("otelflow.result") == 1
    omitted = spans.one("task chatter").attributes["otelflow.messages.omitted"]
    assert omitted == 10_005 - len(texts_left)
    assert len(run.log) + run.log.omitted >= 10_005
    assert len(capsys.readouterr().out.splitlines()) == 10_000


def test_a_host_that_keeps_sixteen_events_keeps_the_exception_the_results_and_the_artifacts():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_events=16), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = span_maker.use_provider(provider)

    def body(this_flow):
        this_flow.add_flow_artifact(key="early", data="a")
        this_flow.add_flow_result("r", "v")
        for number in range(100):
            print(number)
        raise ValueError("boom")

    try:
        with pytest.raises(ValueError, match="boom"):
            run_of(body)
    finally:
        span_maker.use_provider(before)

    (span,) = exporter.get_finished_spans()
    kinds = [event.name for event in span.events]
    assert len(kinds) == 16
    assert kinds[-3:] == ["otelflow.artifact", "otelflow.result", "exception"]
    assert texts(span)[-1] == "99"


def test_a_print_of_a_million_lines_keeps_both_ends_and_counts_the_rest(spans, capsys):
    run = run_of(lambda: print("\n".join(map(str, range(1_000_000)))))

    assert said(run)[0] == "0"
    assert said(run)[-1] == "999999"
    assert (
        len(spans.messages("flow body")) + spans.one("flow body").attributes["otelflow.messages.omitted"] == 1_000_000
    )


def test_only_levels_that_are_asked_for_get_onto_the_span(spans, monkeypatch):
    monkeypatch.setenv("OTELFLOW_MESSAGE_LEVEL", "error")

    run = run_of(lambda this_flow: (this_flow.log_warning("w"), this_flow.log_error("e")))

    assert spans.messages("flow body") == ["e"]
    assert said(run)[:2] == ["w", "e"]


def say_late(flow_or_task, kind):
    flow_or_task.log_info("late")
    getattr(flow_or_task, f"add_{kind}_artifact")(key="late", data=1)
    getattr(flow_or_task, f"add_{kind}_result")("late", 1)


ONE_OF_EACH = {("messages", "run_ended"): 1, ("artifacts", "run_ended"): 1, ("results", "run_ended"): 1}


def test_what_is_said_after_the_end_of_a_flow_is_counted(spans, warnings_said):
    run = job().execute()

    say_late(run, "flow")

    assert dict(losses.dropped) == ONE_OF_EACH
    assert len(warnings_said.records) == 3


def test_what_is_said_after_the_end_of_a_task_is_counted(spans):
    @task
    def leave(this_task=None):
        return this_task

    say_late(leave(), "task")

    assert dict(losses.dropped) == ONE_OF_EACH


def test_what_a_forked_child_says_on_a_run_of_its_parent_is_counted_and_not_warned_of(spans, warnings_said):
    @task
    def work(this_task=None):
        forks.fork.begin_anew()  # from here on it is a child
        print("printed")
        this_task.add_task_artifact("an artifact", "key", 1)
        this_task.add_task_result("answer", 42)

    try:
        work()
    finally:
        forks.fork.reset()

    assert dict(losses.dropped) == {("messages", "forked"): 1, ("artifacts", "forked"): 1, ("results", "forked"): 1}
    assert warnings_said.records == []


def test_what_a_thread_says_on_a_run_that_has_ended_is_counted(spans):
    held = []

    @flow
    def short(this_flow=None):
        held.append(this_flow.flow_state.run)
        return this_flow.add_flow_artifact(key="load", data=0, artifact_type="progress")

    progress = short().execute().flow_return_value
    messages.write(held[0], 20, "late")
    progress.update(1)

    assert dict(losses.dropped) == {("messages", "run_ended"): 1, ("artifacts", "run_ended"): 1}


@pytest.mark.parametrize("has_provider", [True, False])
def test_what_is_said_where_no_span_has_ended_is_no_loss(request, has_provider):
    if has_provider:
        request.getfixturevalue("spans")
        with flow(lambda: None)() as block:
            say_late(block, "flow")
    else:
        say_late(job().execute(), "flow")

    assert dict(losses.dropped) == {}


def test_a_log_record_is_never_too_late(spans, records, monkeypatch):
    monkeypatch.setenv("OTELFLOW_EVENTS", "log")
    run = job().execute()
    before = len(records())

    say_late(run, "flow")

    assert len(records()) == before + 3
    assert dict(losses.dropped) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_a_forked_child_says_on_the_run_of_its_parent_is_counted():
    source = """
    import os
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from otelflow import flow
    from otelflow._core.process import forks, losses
    trace.set_tracer_provider(TracerProvider())

    @flow
    def parent(this_flow=None):
        child = os.fork()
        if child == 0:
            this_flow.log_info("from the child")
            print(dict(losses.dropped), flush=True)
            os._exit(0)
        os.waitpid(child, 0)

    parent().execute()
    print(dict(losses.dropped))
    """
    done = python(source, options=())

    assert done.stdout.splitlines() == ["{('messages', 'forked'): 1}", "{}"]
