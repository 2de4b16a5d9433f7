"""The store knows which runs are open, and what becomes of that when they end, or their process does."""

import os
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otelflow._core.process import forks, losses
from otelflow._telemetry import batches, store_spans
from otelflow._telemetry.store_spans import StoreSpanProcessor
from otelflow_exporters import StoredTraces, StoreSpanExporter
from support.programs import python

NOTED_AT_ONCE = """
import os, signal
import otelflow
telemetry = otelflow.configure(store=True)
@otelflow.task
def step():
    pass
@otelflow.flow
def endless():
    step()
    telemetry.force_flush(10_000)
    os.kill(os.getpid(), signal.SIGKILL)
endless().execute()
"""


def until(look):
    """Return what *look* returns as soon as it is something."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (value := look()) is not None:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come")


@pytest.fixture
def processor(tmp_path):
    processor = StoreSpanProcessor(StoreSpanExporter(tmp_path / "store"))
    yield processor
    processor.shutdown()


@pytest.fixture
def tracer(processor):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("test")


@pytest.fixture
def stored(tmp_path):
    return StoredTraces(tmp_path / "store")


def test_a_root_that_goes_on_is_running_under_its_name_and_then_it_is_what_it_became(tracer, processor, stored):
    span = tracer.start_span("flow nightly")
    running = until(lambda: next(stored.summaries(), None))
    tree = stored.load(running.trace_id)
    span.end()
    processor.force_flush()

    ended = next(stored.summaries())
    assert (running.name, running.result, running.span_count) == ("flow nightly", "running", 1)
    assert running.start == span.start_time
    assert [(span.name, span.result) for span in tree.spans] == [("flow nightly", "running")]
    assert tree.traces.resource_spans == []
    assert (ended.name, ended.result, ended.span_count) == ("flow nightly", "success", 1)
    assert [span.result for span in stored.load(ended.trace_id).spans] == ["success"]


def test_a_run_whose_process_was_killed_is_not_running_but_incomplete(tmp_path, stored):
    python(NOTED_AT_ONCE, OTELFLOW_STORE=tmp_path / "store")

    (summary,) = stored.summaries()
    trace = stored.load(summary.trace_id)
    assert (summary.name, summary.result, summary.span_count) == ("flow endless", "incomplete", 2)
    assert {span.name: span.result for span in trace.spans} == {"flow endless": "incomplete", "task step": "success"}
    assert [span.name for span in trace.lost] == ["flow endless"]


def test_a_run_goes_on_in_the_segment_that_is_written_now(tracer, processor, stored, monkeypatch):
    monkeypatch.setattr(store_spans, "_SHORTEST_NOTED", 0)
    root = tracer.start_span("flow nightly")
    until(lambda: next(stored.summaries(), None))
    processor.exporter._writer.close()
    with tracer.start_as_current_span("another trace"):
        pass
    processor.force_flush()

    def result():
        results = {trace.name: trace.result for trace in stored.summaries()}
        return results if results.get("flow nightly") == "running" else None

    assert until(result) == {"flow nightly": "running", "another trace": "success"}
    root.end()


def test_a_run_that_ends_while_it_is_noted_is_there_once(tracer, processor, stored, monkeypatch):
    note_open = processor.exporter.note_open

    def end_before(spans):
        for span in spans:
            span.end()
        return note_open(spans)

    monkeypatch.setattr(processor.exporter, "note_open", end_before)
    with tracer.start_as_current_span("short"):
        processor._is_first = True
        processor._note_open()

    (summary,) = stored.summaries()
    assert (summary.name, summary.result, summary.span_count) == ("short", "success", 1)
    assert len(stored.load(summary.trace_id).spans) == 1
    assert processor._noted == {}


def test_runs_that_are_short_are_written_once(tracer, processor, stored, tmp_path):
    with tracer.start_as_current_span("first"):
        until(lambda: next(stored.summaries(), None))
    with tracer.start_as_current_span("short"):
        processor.force_flush()
        processor._note_open()
        content = content_of(tmp_path / "store")

    assert b"first" in content
    assert b"short" not in content
    assert content_of(tmp_path / "store").count(b"short") == 1


def content_of(store):
    return b"".join(file.read_bytes() for file in store.glob("*.otlp"))


WRITTEN_AT_ONCE = """
import os, signal
import otelflow
otelflow.configure(store=True)
@otelflow.task
def step():
    pass
@otelflow.flow
def work():
    step()
for _ in range(3):
    work().execute()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_has_ended_survives_the_process_however_that_ends(tmp_path, stored):
    python(WRITTEN_AT_ONCE, OTELFLOW_STORE=tmp_path / "store")

    assert [(each.name, each.span_count, each.result) for each in stored.summaries()] == [
        ("flow work", 2, "success")
    ] * 3


def test_the_store_makes_room_on_the_thread_that_nobody_waits_for(processor, tracer):
    threads = []
    processor.exporter.prune = lambda: threads.append(threading.current_thread().name)
    tracer.start_span("flow nightly").end()
    processor.worker.start_thread()
    until(lambda: threads or None)

    assert set(threads) == {"otelflow-worker"}


def test_children_in_the_trace_are_not_noted(tracer, processor, stored):
    with tracer.start_as_current_span("root"):
        until(lambda: next(stored.summaries(), None))
        with tracer.start_as_current_span("child"):
            assert [span.name for span in processor._open.values()] == ["root"]


def test_what_is_forgotten_counts_ended_spans_only(tracer, processor, stored):
    with tracer.start_as_current_span("root"):
        running = until(lambda: next(stored.summaries(), None))
    processor.force_flush()

    assert stored.forget(running.trace_id) == (1, 1)
    assert list(stored.summaries()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_child_does_not_say_that_its_parents_runs_are_its_own(tmp_path, stored):
    program = """
    import os, time
    import otelflow
    telemetry = otelflow.configure(store=True)
    @otelflow.flow
    def inner():
        time.sleep(1.5)
    @otelflow.flow
    def outer():
        if os.fork() == 0:
            inner().execute()
            telemetry.force_flush(10_000)
            os._exit(0)
        os.wait()
    outer().execute()
    """
    done = python(program, options=("-W", "ignore"), OTELFLOW_STORE=tmp_path / "store", check=True)

    assert done.returncode == 0
    assert [(trace.name, trace.result, trace.span_count) for trace in stored.summaries()] == [
        ("flow outer", "success", 2)
    ]


def test_what_a_parent_has_not_stored_yet_is_not_stored_by_its_child(tmp_path, stored):
    program = """
    import os, sys
    import otelflow
    otelflow.configure(store=True)
    @otelflow.flow
    def numbered(number):
        return number
    numbered(1).execute()
    if os.fork() == 0:
        numbered(2).execute()
        sys.exit(0)
    os.wait()
    """
    python(program, options=("-W", "ignore"), OTELFLOW_STORE=tmp_path / "store", check=True)

    assert [(trace.name, trace.span_count) for trace in stored.summaries()] == [("flow numbered", 1)] * 2


# When a run is noted, and how often


@pytest.fixture
def rarely(monkeypatch):
    """Look only when there is a reason."""
    monkeypatch.setattr(store_spans, "_LOOK_MILLIS", 600_000)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when it is told to."""

    class Clock:
        seconds = 1_000.0

        def monotonic(self):
            return self.seconds

        def time_ns(self):
            return round(self.seconds * 1_000_000_000)

    clock = Clock()
    for module in (store_spans, batches):
        monkeypatch.setattr(module, "clock", clock)
    return clock


def names_of(stored):
    return {trace.name: trace.result for trace in stored.summaries()}


def test_the_first_run_of_a_process_is_noted_at_once(rarely, tracer, stored):
    span = tracer.start_span("flow nightly")

    assert until(lambda: names_of(stored) or None) == {"flow nightly": "running"}
    span.end()


def test_so_is_the_first_of_a_forked_child_which_notes_none_of_its_parents(
    rarely, tracer, processor, stored, monkeypatch
):
    tracer.start_span("of the parent")
    until(lambda: names_of(stored) or None)

    monkeypatch.setattr(forks.fork, "process_id", 0)  # as in a child of which nobody has told Python
    monkeypatch.setattr(forks.fork, "page", forks._EMPTY)
    forks.notice()
    tracer.start_span("of the child")

    assert until(lambda: names_of(stored).get("of the child")) == "running"
    assert [span.name for span in processor._open.values()] == ["of the child"]


@pytest.mark.parametrize(("age", "is_noted"), [(999_999_999, False), (1_000_000_000, True), (1_000_000_001, True)])
def test_another_run_is_noted_when_it_has_been_open_for_a_second(
    rarely, clock, tracer, processor, stored, age, is_noted
):
    tracer.start_span("first", start_time=1)
    until(lambda: names_of(stored) or None)
    tracer.start_span("next", start_time=clock.time_ns() - age)
    processor.worker.flush(20)

    assert names_of(stored) == {"first": "running", **({"next": "running"} if is_noted else {})}


def test_a_run_is_noted_once_in_a_segment_and_forgotten_with_its_end(rarely, tracer, processor, stored, tmp_path):
    span = tracer.start_span("flow nightly")
    until(lambda: names_of(stored) or None)
    for _ in range(3):
        processor.worker.flush(20)
    count = content_of(tmp_path / "store").count(b"flow nightly")
    span.end()

    assert count == 1
    assert content_of(tmp_path / "store").count(b"flow nightly") == 2
    assert (processor._open, processor._noted) == ({}, {})


def test_of_spans_that_never_end_only_so_many_are_remembered(tracer, processor, monkeypatch):
    monkeypatch.setattr(store_spans, "_MOST_OPEN", 3)
    spans = [tracer.start_span(str(number)) for number in range(5)]
    remembered = len(processor._open)
    for span in spans:
        span.end()

    assert remembered == 3
    assert processor._open == {}
    assert processor.account.delivered == 5


def test_the_first_span_of_a_trace_that_begins_elsewhere_is_noted(rarely, tracer, stored):
    parent = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    tracer.start_span("continued", set_span_in_context(NonRecordingSpan(parent)))

    assert until(lambda: names_of(stored) or None) == {"continued": "running"}


# What becomes of spans


def test_what_comes_too_late_is_lost_and_counted(tracer, processor, stored):
    tracer.start_span("in time").end()
    processor.shutdown()
    for _ in range(2):
        tracer.start_span("late").end()

    account = processor.account
    assert (account.total, account.delivered, account.dropped) == (3, 1, {"after_shutdown": 2})
    assert losses.dropped == {("traces", "after_shutdown"): 2}
    assert names_of(stored) == {"in time": "success"}


def test_what_cannot_be_stored_is_lost_and_counted_and_a_flush_says_so(
    tracer, processor, stored, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(processor.exporter._writer, "append", full)
        tracer.start_span("lost").end()
    tracer.start_span("stored").end()

    account = processor.account
    assert (account.total, account.delivered, account.dropped) == (2, 1, {"export_failed": 1})
    assert losses.dropped == {("traces", "export_failed"): 1}
    assert names_of(stored) == {"stored": "success"}


# Its flush


def test_a_flush_notes_what_is_open_and_leaves_the_rest_of_its_time(rarely, clock, tracer, processor, monkeypatch):
    tracer.start_span("open")
    waits, left = [], []

    def flush(seconds):
        waits.append(seconds)
        clock.seconds += 3

    monkeypatch.setattr(processor.worker, "flush", flush)
    monkeypatch.setattr(processor.exporter, "force_flush", left.append)
    for millis in (10_000, 2_000):
        processor.force_flush(millis)

    assert waits == [10.0, 2.0]
    assert left == [7_000, 0]


@pytest.mark.parametrize("state", ["nothing open", "no thread", "shut down"])
def test_a_flush_waits_for_no_note_that_nobody_writes(rarely, tracer, processor, monkeypatch, state):
    waits = []
    if state != "nothing open":
        tracer.start_span("open")
    if state == "shut down":
        processor.shutdown()
    monkeypatch.setattr(processor.worker, "flush", waits.append)
    if state == "no thread":
        monkeypatch.setattr(processor.worker, "thread", None)
    processor.force_flush(1_000)

    assert waits == []


@pytest.mark.parametrize(("is_written", "account"), [(True, (2, 2, {})), (False, (2, 1, {"interrupted": 1}))])
def test_a_span_that_ctrl_c_interrupts_is_stored_or_lost(processor, tracer, monkeypatch, is_written, account):
    tracer.start_span("whole").end()
    span = tracer.start_span("interrupted")
    real = os.write

    def interrupted(descriptor, content):
        if is_written:
            real(descriptor, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("otelflow_exporters._store.writer.os.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            span.end()

    assert processor.account == ("traces", "StoreSpanExporter", *account)


def test_the_first_run_is_noted_also_in_the_moment_in_which_it_began(rarely, clock, tracer, processor, stored):
    span = tracer.start_span("flow nightly", start_time=clock.time_ns())
    processor.worker.flush(20)

    assert names_of(stored) == {"flow nightly": "running"}
    span.end()


def test_a_child_of_which_nobody_has_told_counts_its_own_spans_only(tracer, processor, monkeypatch):
    tracer.start_span("of the parent").end()
    span = tracer.start_span("of the child")
    monkeypatch.setattr(forks.fork, "process_id", 0)
    monkeypatch.setattr(forks.fork, "page", forks._EMPTY)
    span.end()

    assert (processor.account.total, processor.account.delivered) == (1, 1)


def test_what_is_lost_is_said_in_the_log_once_and_what_is_stored_is_not(tracer, processor, caplog):
    tracer.start_span("in time").end()
    said_before = list(caplog.messages)
    processor.shutdown()
    for _ in range(2):
        tracer.start_span("late").end()

    assert said_before == []
    assert caplog.messages == ["StoreSpanExporter was shut down before these came: spans are lost"]
