"""What a processor writes of spans that start and end, and of those that are open."""

import os
import signal
import threading
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import Link

from otelflow._core.process import forks
from otelflow_exporters._spool.batches import CLOSED, lost_spans, request_of
from otelflow_exporters._spool.open_runs import open_runs
from otelflow_exporters._spool.starts import Starts
from otelflow_exporters.spool import SpoolSpanProcessor
from support.receivers import spans_of
from support.spools import counts_of, distinct, provider_with, run_program


def test_what_is_not_sampled_leaves_nothing(receiver, folder):
    processor = SpoolSpanProcessor(folder)

    provider_with(processor, sampler=ALWAYS_OFF).start_span("unseen").end()
    processor.shutdown()

    assert (receiver.requests, folder.exists()) == ([], False)


class Recording(Sampler):
    """Has every span recorded, and none sampled."""

    def should_sample(self, *_args, **_options):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "Recording"


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_what_is_recorded_and_not_sampled_leaves_nothing(receiver, folder, is_in_memory):
    processor = SpoolSpanProcessor(None if is_in_memory else folder)

    span = provider_with(processor, sampler=Recording()).start_span("unseen")
    span.end()
    processor.shutdown()

    assert span.is_recording() is False
    assert (receiver.requests, processor.account.total, folder.exists()) == ([], 0, False)


def test_an_empty_folder_that_is_flushed_before_the_first_span_becomes_a_spool(receiver, folder):
    folder.mkdir()
    processor = SpoolSpanProcessor(folder)

    is_flushed = processor.force_flush()
    provider_with(processor).start_span("first").end()
    is_in_file = any(folder.glob("*.otlp"))
    processor.shutdown()

    assert (is_flushed, is_in_file, counts_of(receiver)) == (True, True, {"first": 1})


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_what_has_ended_is_sent_without_being_asked_for(receiver, folder, monkeypatch, is_in_memory):
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    processor = SpoolSpanProcessor(None if is_in_memory else folder)

    provider_with(processor).start_span("sent").end()
    deadline = time.monotonic() + 30
    while not receiver.spans and time.monotonic() < deadline:
        time.sleep(0.02)
    arrived = counts_of(receiver)
    processor.shutdown()

    assert arrived == counts_of(receiver) == {"sent": 1}


def test_a_killed_program_loses_nothing_and_the_next_one_tells_what_it_was_doing(receiver, tmp_path):
    killed = run_program(
        tmp_path, "nightly(700, lambda: os.kill(os.getpid(), signal.SIGKILL)).execute()", url=receiver.url
    )
    done = run_program(tmp_path, "nightly(1).execute()", url=receiver.url)

    assert (killed.returncode, done.returncode, done.stderr) == (-signal.SIGKILL, 0, "")
    assert distinct(receiver) == {"task work": 701, "flow nightly": 2}
    assert counts_of(receiver)["flow nightly"] == 2
    assert len(receiver.spans) <= 703 + 512
    flows = sorted(
        (span for span in receiver.spans if span.name == "flow nightly"), key=lambda span: span.start_time_unix_nano
    )
    lost, good = [{a.key: a.value.string_value for a in span.attributes} for span in flows]
    assert (lost["otelflow.run.result"], lost["error.type"]) == ("error", "process_lost")
    assert good["otelflow.run.result"] == "success"
    assert flows[0].status.message == "the process was lost"
    assert flows[0].end_time_unix_nano > flows[0].start_time_unix_nano
    assert flows[0].trace_id in {span.trace_id for span in receiver.spans if span.name == "task work"}


def test_what_is_open_when_a_segment_ends_is_told_however_small_the_segments_are(receiver, folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    processor = SpoolSpanProcessor(folder, max_bytes=64 * 4_000)
    tracer = provider_with(processor)
    written = 0
    write = os.write

    def count(descriptor, data):
        nonlocal written
        written += len(data)
        return write(descriptor, data)

    monkeypatch.setattr("otelflow_exporters._store.writer.os.write", count)
    spans = [tracer.start_span(f"open{number}") for number in range(500)]
    for _ in range(100):
        tracer.start_span("short").end()

    # What is open is larger than a segment, and is not written anew with each span.
    assert processor._spool.writer._first_size > 4_000
    assert written < 10 * 700 * 400
    assert len(spans) == len(processor._starts)


def test_while_the_collector_is_down_more_waits_than_would_fit_as_it_was_written(receiver, folder):
    limit = 64 * 8_000
    receiver.status = 503
    processor = SpoolSpanProcessor(folder, max_bytes=limit)
    tracer = provider_with(processor)
    segments = 0
    for number in range(1_150):
        tracer.start_span(f"task {number}", attributes={"text": "x" * 100}).end()
        segments += processor._spool.writer.is_prune_due
        deadline = time.monotonic() + 30
        while processor._spool.writer.is_prune_due and time.monotonic() < deadline:
            time.sleep(0.001)  # a program that writes a segment in each moment would make room by itself
    size = sum(path.stat().st_size for path in folder.glob("*.otlp"))
    receiver.requests.clear()
    receiver.status = 200
    processor._spool._shipper.try_once_more()

    assert processor.force_flush()
    processor.shutdown()
    assert segments * 8_000 > 1.5 * limit
    assert size <= limit
    assert processor.dropped == {}
    assert counts_of(receiver) == {f"task {number}": 1 for number in range(1_150)}


def test_a_process_that_is_killed_between_two_segments_has_not_said_that_nothing_is_open(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder, max_bytes=64 * 4_000, is_shipped=False)
    tracer = provider_with(processor)
    tracer.start_span("open")

    def killed(*_args, **_options):
        raise OSError("as if it ended here")

    monkeypatch.setattr("otelflow_exporters._store.writer.open_store", killed)
    for _ in range(100):
        tracer.start_span("short").end()

    assert not any(file.read_bytes().endswith(CLOSED) for file in folder.glob("*.otlp"))


@pytest.mark.parametrize("is_shipped", [True, False])
def test_a_process_that_only_has_open_spans_gives_signs_of_life(receiver, folder, is_shipped):
    processor = SpoolSpanProcessor(folder, is_shipped=is_shipped)
    provider_with(processor).start_span("open")
    (file,) = folder.glob("*.otlp")
    os.utime(file, (1, 1))

    times = []
    while len(times) < 200 and max(times, default=0) <= 1:
        time.sleep(0.05)
        times.append(file.stat().st_mtime)
    processor.shutdown()

    assert times[-1] > 1


def test_a_span_that_starts_with_too_much_holds_up_no_other(receiver, folder):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)

    tracer.start_span("huge", attributes={"text": "x" * 20_000_000}).end()
    tracer.start_span("small").end()
    processor.force_flush()
    processor.shutdown()

    assert counts_of(receiver) == {"small": 1}
    assert (processor.dropped, processor.waiting) == ({"too_large": 1}, 0)


def test_a_span_whose_end_begins_a_segment_is_open_in_it_until_its_end_is_there(receiver, folder):
    processor = SpoolSpanProcessor(folder, max_bytes=64 * 4_000, is_shipped=False)
    tracer = provider_with(processor)
    beginnings = []
    started = processor._spool.writer._first_records
    processor._spool.writer._first_records = lambda: beginnings.append(len(started())) or started()

    for _ in range(100):
        tracer.start_span("short", attributes={"text": "x" * 100}).end()
        tracer.start_span("even").end()

    assert len(beginnings) > 5
    assert set(beginnings) == {1}


def test_what_a_killed_program_had_said_and_left_behind_is_told_with_it(receiver, tmp_path):
    killed = run_program(
        tmp_path,
        """
        @otelflow.flow
        def talk(this_flow: otelflow.Flow = otelflow.INJECTED):
            this_flow.log_info("half of it is done")
            this_flow.add_flow_artifact(key="rows", data=[{"fruit": "melon"}], artifact_type="table")
            this_flow.add_flow_result("count", "7")
            work(1)
            folder = os.environ["OTELFLOW_SPOOL_DIR"]
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                files = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".otlp")]
                if any(b"half of it is done" in open(file, "rb").read() for file in files):
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(0.05)

        talk().execute()
        """,
        url="http://127.0.0.1:9",
    )
    (tmp_path / "spool" / "OTELFLOW_DESTINATION.txt").unlink()
    run_program(tmp_path, "nightly(0).execute()", url=receiver.url)

    assert killed.returncode == -signal.SIGKILL
    (lost,) = [span for span in receiver.spans if span.name == "flow talk"]
    values = [a.value.string_value for event in lost.events for a in event.attributes]
    assert "half of it is done" in values
    assert any("melon" in value for value in values)
    assert "count" in values
    assert lost.status.message == "the process was lost"


def test_what_happened_in_an_open_span_is_written_once_and_never_after_its_end(folder):
    news = []
    processor = SpoolSpanProcessor(folder, is_shipped=False, news=lambda: [news.pop()] if news else [])
    processor._spool.worker.is_closed = True
    tracer = provider_with(processor)
    span, other = tracer.start_span("open"), tracer.start_span("other")
    span_id = span.get_span_context().span_id

    news.append((span_id, [Event("happened", {"n": 1}, 5)]))
    processor._spool._ship()
    size = sum(file.stat().st_size for file in folder.glob("*.otlp"))
    processor._spool._ship()
    told = {run.span.name: [event.name for event in run.span.events] for run in open_runs(folder)}
    span.end()
    news.append((span_id, [Event("late", {}, 6)]))
    processor._spool._ship()

    assert told == {"open": ["happened"], "other": []}
    assert [run.span.name for run in open_runs(folder)] == ["other"]
    assert sum(file.stat().st_size for file in folder.glob("*.otlp")) < 3 * size
    assert processor._starts.spans().keys() == {other.get_span_context().span_id}


def test_a_span_that_ends_while_its_news_are_written_is_not_open_again(folder, receiver):
    class EndsMeanwhile(tuple):
        __slots__ = ()

        def __iter__(self):
            span.end()
            return iter(())

    processor = SpoolSpanProcessor(
        folder, is_shipped=False, news=lambda: [(span.get_span_context().span_id, EndsMeanwhile())]
    )
    span = provider_with(processor).start_span("short")
    processor._write_news()
    (segment,) = folder.glob("*.otlp")

    assert processor.waiting == 1
    assert lost_spans(segment.read_bytes(), 0) == []
    processor.shutdown()


def test_a_span_that_a_signal_handler_starts_while_another_one_starts_waits_for_no_thread(folder, monkeypatch):
    processor = SpoolSpanProcessor(folder, is_shipped=False)
    tracer = provider_with(processor)
    open_span = tracer.start_span("open")
    ending = threading.Thread(target=open_span.end, daemon=True)
    add = Starts.add

    def interrupted(starts, span_id, record, span, beginning):
        if span.name == "outer":
            ending.start()
            ending.join(0.2)  # until it waits for what this thread has
            tracer.start_span("of the handler").end()
        return add(starts, span_id, record, span, beginning)

    monkeypatch.setattr(Starts, "add", interrupted)
    outer = threading.Thread(target=lambda: tracer.start_span("outer").end(), daemon=True)
    outer.start()
    outer.join(20)
    ending.join(20)

    assert not outer.is_alive()
    assert processor.account.total == 3
    processor.shutdown()


def told_of(folder):
    """Return what has happened in each span that is open, by its name."""
    return {run.span.name: [event.name for event in run.span.events] for run in open_runs(folder)}


@pytest.fixture
def quiet(folder):
    """Return a processor whose thread never starts, and the news that it is to write next."""
    news = []
    processor = SpoolSpanProcessor(folder, is_shipped=False, news=lambda: [news.pop(0) for _ in news[:]])
    processor._spool.worker.is_closed = True
    yield processor, news
    processor.shutdown()


@pytest.mark.parametrize(("more", "names"), [(-1, ["first"]), (0, ["first"]), (1, ["first", "second"])])
def test_in_one_second_so_much_is_written_of_what_happens_and_the_rest_is_not(quiet, folder, monkeypatch, more, names):
    processor, news = quiet
    tracer = provider_with(processor)
    spans = [tracer.start_span(name) for name in ("first", "second", "third")]
    replace, sizes = Starts.replace, []
    monkeypatch.setattr(
        Starts, "replace", lambda starts, span_id, record: sizes.append(len(record)) or replace(starts, span_id, record)
    )

    happened = [(span.get_span_context().span_id, [Event("happened", {}, 5)]) for span in spans]
    news.append(happened[0])
    processor._spool._ship()
    monkeypatch.setattr("otelflow_exporters.spool._LARGEST_NEWS", sizes[0] + more)
    news += happened
    processor._spool._ship()

    assert told_of(folder) == {name: ["happened"] if name in names else [] for name in ("first", "second", "third")}


def test_of_many_megabytes_that_happen_in_a_second_about_one_is_written(quiet, folder):
    processor, news = quiet
    tracer = provider_with(processor)
    spans = [tracer.start_span(name) for name in ("first", "second", "third")]

    news += [(span.get_span_context().span_id, [Event("large", {"text": "x" * 600_000}, 5)]) for span in spans]
    processor._spool._ship()

    assert told_of(folder) == {"first": ["large"], "second": ["large"], "third": []}


def test_news_that_cannot_be_had_cost_nothing_else_and_are_logged_for_who_looks(receiver, folder, caplog):
    def broken():
        raise RuntimeError("no news")

    processor = SpoolSpanProcessor(folder, news=broken)
    tracer = provider_with(processor)
    tracer.start_span("open")
    with caplog.at_level("DEBUG", logger="otelflow_exporters"):
        tracer.start_span("short").end()
        arrived = processor.force_flush()
    processor.shutdown()

    assert (arrived, counts_of(receiver)) == (True, {"short": 1})
    assert "What has happened in open spans could not be written" in caplog.text
    assert "no news" in caplog.text


def test_news_that_cannot_be_written_cost_none_of_other_spans(quiet, folder):
    processor, news = quiet
    tracer = provider_with(processor)
    spans = [tracer.start_span(name) for name in ("bad", "good")]

    times = (-1, 5)  # OTLP holds no time before 1970
    news += [
        (span.get_span_context().span_id, [Event("happened", {}, at)]) for span, at in zip(spans, times, strict=True)
    ]
    processor._spool._ship()

    assert told_of(folder) == {"bad": [], "good": ["happened"]}


def test_a_span_that_cannot_be_written_when_it_starts_is_lost_at_its_end_and_nobody_is_interrupted(receiver, folder):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)

    span = tracer.start_span(7)  # a name is a text
    lost_before = dict(processor.dropped)
    span.end()
    processor.shutdown()

    assert lost_before == {}
    assert processor.dropped == {"encoding_failed": 1}
    assert processor.account.total == 1


def test_what_a_span_is_linked_to_when_it_starts_is_told_if_its_process_is_lost(folder):
    processor = SpoolSpanProcessor(folder, is_shipped=False)
    tracer = provider_with(processor)
    cause = tracer.start_span("cause").get_span_context()
    tracer.start_span("effect", links=[Link(cause, {"why": "it asked"})])

    (segment,) = folder.glob("*.otlp")
    (lost,) = [
        span
        for span in spans_of([TracesData.FromString(request_of(lost_spans(segment.read_bytes(), 0)))])
        if span.name == "effect"
    ]
    assert [link.span_id for link in lost.links] == [cause.span_id.to_bytes(8, "big")]
    processor.shutdown()


@pytest.mark.parametrize("moment", ["start", "end"])
def test_a_child_that_nobody_has_told_python_of_begins_with_no_span(folder, monkeypatch, moment):
    processor = SpoolSpanProcessor(folder, is_shipped=False)
    tracer = provider_with(processor)
    parents = tracer.start_span("of the parent")
    tracer.start_span("ended in the parent").end()

    monkeypatch.setattr(forks.fork, "process_id", 0)  # as in a child that was forked in C
    monkeypatch.setattr(forks.fork, "page", forks._EMPTY)
    if moment == "start":
        tracer.start_span("of the child")
    else:
        parents.end()

    assert [span.name for span in processor._starts.spans().values()] == ["of the child"] * (moment == "start")
    assert processor.account.total == (moment == "end")
    processor.shutdown()


def test_spans_in_memory_and_those_after_the_end_are_written_down_as_open_by_nobody(receiver, folder):
    in_memory, ended = SpoolSpanProcessor(None), SpoolSpanProcessor(folder)
    ended.shutdown()
    for processor in (in_memory, ended):
        tracer = provider_with(processor)
        tracer.start_span("open")
        tracer.start_span("late").end()
    in_memory.shutdown()

    assert in_memory.dropped == {}
    assert (ended.dropped, ended.waiting) == ({"after_shutdown": 1}, 0)
    assert counts_of(receiver) == {"late": 1}
    assert list(folder.glob("*.otlp")) == []
    assert (in_memory.directory, ended.directory) == (None, folder)


@pytest.mark.parametrize("is_heard", [True, False])
def test_who_wants_to_hear_of_it_is_told_what_was_sent_of_a_lost_process(receiver, folder, tmp_path, is_heard):
    run_program(
        tmp_path,
        "nightly(3, lambda: os.kill(os.getpid(), signal.SIGKILL)).execute()",
        url=receiver.url,
        OTEL_BSP_SCHEDULE_DELAY="60000",
    )
    told = []
    processor = SpoolSpanProcessor(folder, **({"on_recovery": told.append} if is_heard else {}))
    provider_with(processor).start_span("own").end()
    arrived = processor.force_flush()
    processor.shutdown()

    assert arrived
    assert distinct(receiver)["flow nightly"] == 1
    assert [span.name for span in spans_of(map(TracesData.FromString, told))] == ["flow nightly"] * is_heard


def test_a_ctrl_c_while_a_start_is_written_comes_out_and_the_span_can_end(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder)
    span = provider_with(processor).start_span("started")

    def interrupted(_):
        raise KeyboardInterrupt

    class SoftTimeLimitExceeded(Exception):
        """As Celery raises it in the middle of whatever a task does."""

    def limited(_):
        raise SoftTimeLimitExceeded

    for raising, kind in ((interrupted, KeyboardInterrupt), (limited, SoftTimeLimitExceeded)):
        with monkeypatch.context() as patch:
            patch.setattr("otelflow_exporters.spool.encode_start", raising)
            with pytest.raises(kind):
                processor.on_start(span)
    span.end()
    processor.shutdown()

    assert counts_of(receiver) == {"started": 1}
