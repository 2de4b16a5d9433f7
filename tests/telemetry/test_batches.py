"""Delivery: whole through a slow exporter, bounded with a dead one, and what is lost is counted."""

import asyncio
import logging
import multiprocessing
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult

from otelflow._core.process import forks, losses, process
from otelflow._telemetry import batches
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow._telemetry.logs import BoundedBatchLogRecordProcessor
from otelflow._telemetry.store_spans import StoreSpanProcessor
from otelflow.errors import ConfigurationError
from otelflow_exporters import SpoolSpanProcessor, StoreSpanExporter
from otelflow_exporters._otlp.endpoint import CURE, ExportStatus, new_exporter
from support.ledger import expect
from support.programs import python
from support.receivers import GrpcReceiver, serving


class Exporter(SpanExporter):
    """Keeps the names of what it gets; slow, failing, raising or stuck on demand."""

    def __init__(self, seconds=0.0, outcome=SpanExportResult.SUCCESS):
        self.names = []
        self.seconds = seconds
        self.outcome = outcome
        self.is_shut_down = False

    def export(self, spans):
        time.sleep(self.seconds)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        self.names += [span.name for span in spans]
        return self.outcome

    def shutdown(self):
        self.is_shut_down = True


@pytest.fixture
def dropped():
    return losses.dropped


def spans_through(processor, count, sampler=None):
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(str(number)).end()


def test_a_program_faster_than_its_exporter_loses_nothing(monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
    exporter = Exporter(seconds=0.005)
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 2_000)
    processor.shutdown()

    assert exporter.names == [str(number) for number in range(2_000)]
    assert not dropped


def test_times_that_no_system_knows_are_very_long_ones(monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", str(2**63))
    monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", str(2**63))
    exporter = Exporter()
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 2)
    assert processor.force_flush(2**63)
    spans_through(processor, 1)
    processor.shutdown()

    assert exporter.names == ["0", "1", "0"]
    assert not dropped


@pytest.mark.parametrize("kind", ["batches", "store", "spool"])
def test_ctrl_c_never_comes_between_a_lock_and_what_gives_it_back(monkeypatch, tmp_path, kind):
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    if kind == "store":
        processor = StoreSpanProcessor(StoreSpanExporter(tmp_path / "store"))
    elif kind == "spool":
        processor = SpoolSpanProcessor(tmp_path / "spool")
    else:
        processor = BoundedBatchSpanProcessor(Exporter())
    entered = []

    def look(frame, event, _argument):
        if event == "call" and frame.f_code is threading.Condition.__enter__.__code__:
            entered.append(frame.f_back.f_code.co_filename)

    sys.setprofile(look)
    try:
        spans_through(processor, 5)
        processor.worker.wake() if kind != "spool" else processor.force_flush(0)
    finally:
        sys.setprofile(None)
    processor.shutdown()

    assert [name for name in entered if "otelflow" in name] == [], "Ctrl-C may come in a function of Python"


def test_many_threads_lose_nothing(monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64")
    exporter = Exporter(seconds=0.002)
    processor = BoundedBatchSpanProcessor(exporter)
    threads = [threading.Thread(target=spans_through, args=(processor, 500)) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    processor.shutdown()

    assert sorted(exporter.names) == sorted([str(number) for number in range(500)] * 8)
    assert not dropped


def test_a_dead_exporter_holds_nobody_up_and_each_lost_span_is_counted(monkeypatch, dropped, caplog):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64")
    exporter = Exporter(seconds=0.05, outcome=SpanExportResult.FAILURE)
    processor = BoundedBatchSpanProcessor(exporter)
    began = time.monotonic()

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        spans_through(processor, 3_000)
        processor.shutdown()

    assert time.monotonic() - began < 5
    assert sum(dropped.values()) == 3_000
    assert 1 <= len([one for one in caplog.records if one.name == "otelflow"]) <= 3
    assert exporter.is_shut_down


def test_an_exporter_that_raises_loses_its_batch_and_the_next_one_goes_through(dropped, caplog):
    exporter = Exporter(outcome=RuntimeError("no"))
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 10)
    first = processor.force_flush(5_000)
    exporter.outcome = SpanExportResult.SUCCESS
    spans_through(processor, 10)
    second = processor.force_flush(5_000)
    processor.shutdown()

    assert (first, second) == (False, True)
    assert dropped == {("traces", "export_failed"): 10}
    assert len(exporter.names) == 10


def test_a_flush_keeps_its_time_limit_and_says_so():
    exporter = Exporter(seconds=1)
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)
    began = time.monotonic()

    arrived = processor.force_flush(50)

    assert not arrived
    assert time.monotonic() - began < 0.8
    processor.shutdown()
    assert exporter.names == ["0"]


def test_a_stuck_exporter_ends_with_the_shutdown_timeout_and_its_spans_are_counted(monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", "200")
    release = threading.Event()
    exporter = Exporter()
    exporter.export = lambda spans: (release.wait(10), SpanExportResult.SUCCESS)[1]
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 5)
    began = time.monotonic()

    processor.shutdown()

    assert time.monotonic() - began < 2
    assert dropped == {("traces", "shutdown"): 5}
    release.set()


def test_spans_after_the_shutdown_are_counted(dropped):
    processor = BoundedBatchSpanProcessor(Exporter())
    processor.shutdown()

    spans_through(processor, 3)

    assert dropped == {("traces", "after_shutdown"): 3}


class RecordOnly(Sampler):
    """Has each span recorded for processors, and none exported."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "RecordOnly"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, RecordOnly()])
def test_unsampled_spans_are_not_delivered(sampler):
    exporter = Exporter()
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 3, sampler=sampler)
    processor.shutdown()

    assert exporter.names == []


def test_an_export_is_not_itself_traced():
    exporter = Exporter()
    seen = []
    exporter.export = lambda spans: (
        seen.append(otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY)),
        SpanExportResult.SUCCESS,
    )[1]
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 1)
    processor.shutdown()

    assert seen == [True]


@pytest.mark.parametrize("variable", ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_SCHEDULE_DELAY"])
def test_a_variable_that_is_no_number_is_named(monkeypatch, variable):
    monkeypatch.setenv(variable, "many")

    with pytest.raises(ConfigurationError, match=f"{variable} must be a whole number above 0, not 'many'"):
        BoundedBatchSpanProcessor(Exporter())


class FileExporter(Exporter):
    """Appends the names of what it gets to a file, from any process."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def export(self, spans):
        with self.path.open("a") as file:
            file.writelines(f"{span.name}\n" for span in spans)
        return SpanExportResult.SUCCESS


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_forked_worker_delivers_its_own_spans_and_not_those_of_its_parent(tmp_path):
    path = tmp_path / "names"
    processor = BoundedBatchSpanProcessor(FileExporter(path))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    tracer.start_span("parent").end()

    child = multiprocessing.get_context("fork").Process(target=lambda: tracer.start_span("child").end())
    child.start()
    child.join(20)
    processor.shutdown()

    assert child.exitcode == 0
    assert sorted(path.read_text().split()) == ["child", "parent"]


def test_a_handler_that_runs_a_task_is_told_of_a_loss_without_any_lock(dropped):
    processor = BoundedBatchSpanProcessor(Exporter(outcome=SpanExportResult.FAILURE), schedule_delay_millis=10)
    handling = threading.Lock()  # as logging holds one for each handler

    class Alerts(logging.Handler):
        def emit(self, record):
            with handling:
                return

    handler = Alerts()
    losses.logger.addHandler(handler)
    try:
        spans_through(processor, 1)
        with handling:
            time.sleep(0.1)
            worker = threading.Thread(target=spans_through, args=(processor, 1), daemon=True)
            worker.start()
            worker.join(10)
            is_stuck = worker.is_alive()
    finally:
        losses.logger.removeHandler(handler)
    processor.shutdown()

    assert not is_stuck


def test_a_span_that_waits_for_room_when_the_program_is_interrupted_is_still_delivered(monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    exporter = Exporter(seconds=0.2)
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)
    wait_for = processor.worker.changed.wait_for

    def interrupted(predicate, timeout=None):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return wait_for(predicate, timeout)

    monkeypatch.setattr(processor.worker.changed, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        spans_through(processor, 5)
    monkeypatch.undo()
    processor.shutdown()

    assert len(exporter.names) >= 2
    assert not dropped


def test_what_comes_when_no_thread_can_start_any_more_is_delivered_at_the_end(monkeypatch, dropped):
    exporter = Exporter()
    processor = BoundedBatchSpanProcessor(exporter)

    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for name in "abc":
        provider.get_tracer("test").start_span(name).end()
    processor.shutdown()

    assert exporter.names == ["a", "b", "c"]
    assert exporter.is_shut_down
    assert not dropped


def test_a_span_is_lost_once_however_late_its_exporter_comes_back(monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", "100")
    processor = BoundedBatchSpanProcessor(
        Exporter(seconds=1, outcome=SpanExportResult.FAILURE), schedule_delay_millis=10
    )

    spans_through(processor, 3)
    time.sleep(0.1)
    processor.shutdown()
    processor.worker.thread.join(10)

    assert sum(dropped.values()) == 3


def test_an_exporter_that_never_comes_back_holds_nobody_up(dropped):
    class Stuck(Exporter):
        def force_flush(self, timeout_millis=30_000):
            threading.Event().wait(20)

    processor = BoundedBatchSpanProcessor(Stuck())

    assert not processor.force_flush(50)


class Picky(Exporter):
    """Refuses a batch with a bad name whole, as an encoder does."""

    def __init__(self, bad, error):
        super().__init__()
        self.bad, self.error, self.calls = bad, error, 0

    def export(self, spans):
        self.calls += 1
        if any(self.bad(span.name) for span in spans):
            raise self.error
        return super().export(spans)


def test_one_bad_span_costs_itself_only_and_is_named_once(dropped, caplog):
    exporter = Picky(lambda name: name == "61", UnicodeEncodeError("utf-8", "\udce9", 0, 1, "no"))
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 102)
    processor.shutdown()

    assert exporter.names == [str(number) for number in range(102) if number != 61]
    assert dropped == {("traces", "export_failed"): 1}
    assert caplog.text.count("could not deliver ReadableSpan 61") + caplog.text.count("could not deliver Span 61") == 1


def test_an_exporter_that_refuses_everything_is_found_out_soon(dropped):
    exporter = Picky(lambda _: True, ValueError("no"))
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 500)
    processor.shutdown()

    assert dropped == {("traces", "export_failed"): 500}
    assert exporter.calls < 60


def test_what_is_too_large_for_a_grpc_endpoint_arrives_in_pieces(monkeypatch, dropped):
    with GrpcReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
        exporter, answer = new_exporter("traces", "otlp")
        processor = BoundedBatchSpanProcessor(exporter, answer=answer)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        for number in range(101):
            size = 5_000_000 if number == 7 else 60_000
            provider.get_tracer("test").start_span(str(number), attributes={"large": "x" * size}).end()
        processor.force_flush(60_000)
        processor.shutdown()

    assert sorted(int(span.name) for span in receiver.spans) == [number for number in range(101) if number != 7]
    assert dropped == {("traces", "export_failed"): 1}


@pytest.fixture
def no_thread(monkeypatch):
    """No thread is to be had any more."""

    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("otelflow"):  # the SDK itself has some
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_without_a_thread_the_program_delivers_itself_and_loses_nothing(no_thread, monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    exporter = Exporter()
    processor = BoundedBatchSpanProcessor(exporter)
    began = time.monotonic()

    spans_through(processor, 1_000)
    is_flushed = processor.force_flush()
    flushed = len(exporter.names)
    spans_through(processor, 10)
    processor.shutdown()

    assert time.monotonic() - began < 2
    assert (is_flushed, flushed, len(exporter.names)) == (True, 1_000, 1_010)
    assert not dropped


def test_without_a_thread_a_dead_exporter_holds_nobody_up(no_thread, monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    exporter = Exporter(seconds=0.2, outcome=SpanExportResult.FAILURE)
    processor = BoundedBatchSpanProcessor(exporter)
    began = time.monotonic()

    spans_through(processor, 1_000)
    processor.shutdown()

    assert time.monotonic() - began < 2
    assert sum(dropped.values()) == 1_000


def test_what_comes_after_the_shutdown_is_counted_and_said(dropped, caplog):
    processor = BoundedBatchSpanProcessor(Exporter())
    processor.shutdown()

    spans_through(processor, 3)

    assert dropped == {("traces", "after_shutdown"): 3}
    assert caplog.text.count("was shut down before") == 1


def test_an_exporter_may_end_delivery_from_within(dropped):
    class Ending(Exporter):
        def export(self, spans):
            processor.shutdown()
            return super().export(spans)

    processor = BoundedBatchSpanProcessor(Ending())

    spans_through(processor, 2)
    processor.force_flush(3_000)

    assert not processor.worker.thread.is_alive() or processor.worker.thread.join(5) is None


def test_threads_that_are_greenlets_since_the_import_lose_no_span():
    pytest.importorskip("gevent")
    source = """
    from otelflow._telemetry.batches import BoundedBatchSpanProcessor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    import time
    class Counting(SpanExporter):
        count = 0
        def export(self, spans):
            time.sleep(0.001)
            self.count += len(spans)
            return SpanExportResult.SUCCESS
    exporter = Counting()
    processor = BoundedBatchSpanProcessor(exporter)
    provider = TracerProvider()
    provider.add_span_processor(processor)
    from gevent import monkey
    monkey.patch_all()
    import gevent
    def work():
        for _ in range(50):
            provider.get_tracer("x").start_span("x").end()
            gevent.sleep(0)
    gevent.joinall([gevent.spawn(work) for _ in range(20)], raise_error=True)
    processor.shutdown()
    print(exporter.count)
    """
    done = python(source, options=())

    assert done.stdout == "1000\n", done.stderr


# Its limits, on a clock that stands still


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(batches, "clock", clock)
    return clock


@pytest.fixture
def small(monkeypatch):
    """A queue of four, batches of two, and no delivery because of the time."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")


class Counting(Exporter):
    """Keeps the sizes of its batches, and how often it was told to flush and to end."""

    def __init__(self, **options):
        super().__init__(**options)
        self.sizes, self.flushes, self.ends, self.flushed = [], [], 0, None

    def export(self, spans):
        self.sizes.append(len(spans))
        return super().export(spans)

    def force_flush(self, timeout_millis=30_000):
        self.flushes.append(timeout_millis)
        if isinstance(self.flushed, Exception):
            raise self.flushed
        return self.flushed

    def shutdown(self):
        super().shutdown()
        self.ends += 1


class Held(Counting):
    """Holds what it gets until it is released."""

    def __init__(self, **options):
        super().__init__(**options)
        self.begun, self.release = threading.Event(), threading.Event()

    def export(self, spans):
        self.begun.set()
        assert self.release.wait(20)
        return super().export(spans)


@pytest.mark.parametrize(
    ("kind", "word", "delay"),
    [(BoundedBatchSpanProcessor, "BSP", 5.0), (BoundedBatchLogRecordProcessor, "BLRP", 5.0)],
)
def test_the_variables_of_opentelemetry_and_its_defaults_are_in_force(monkeypatch, kind, word, delay):
    def limits():
        processor = kind(Exporter())
        worker = processor.worker
        return processor._capacity, processor._batch_size, worker._interval, worker.shutdown_timeout

    usual = limits()
    for name, value in (("MAX_QUEUE_SIZE", 70), ("MAX_EXPORT_BATCH_SIZE", 30), ("SCHEDULE_DELAY", 20)):
        monkeypatch.setenv(f"OTEL_{word}_{name}", str(value))
    monkeypatch.setenv(f"OTEL_{word}_EXPORT_TIMEOUT", "40")
    chosen = limits()
    monkeypatch.setenv(f"OTEL_{word}_MAX_QUEUE_SIZE", "10")

    assert usual == (2_048, 512, delay, 4.5)
    assert chosen == (70, 30, 0.02, 0.04)
    assert limits()[:2] == (10, 10)


def test_a_batch_is_delivered_as_soon_as_it_is_full(small):
    exporter = Held()
    exporter.release.set()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)
    processor.force_flush()  # the thread waits from here on
    exporter.begun.clear()

    spans_through(processor, 2)

    assert exporter.begun.wait(20)
    processor.shutdown()
    assert exporter.sizes == [1, 2]


def waits_of_this_thread(processor, monkeypatch):
    """Return a list of the seconds that this thread waits for the processor, at most, from now on."""
    waits, wait_for, thread = [], processor.worker.changed.wait_for, threading.current_thread()

    def spy(predicate, timeout=None):
        if threading.current_thread() is thread:
            waits.append(timeout)
        return wait_for(predicate, timeout)

    monkeypatch.setattr(processor.worker.changed, "wait_for", spy)
    return waits


def test_a_program_waits_once_for_an_exporter_that_hangs_and_again_when_it_has_come_back(
    small, monkeypatch, dropped, caplog
):
    monkeypatch.setattr(batches, "_ROOM_SECONDS", 0.05)
    exporter = Held()
    processor = BoundedBatchSpanProcessor(exporter)
    waits = waits_of_this_thread(processor, monkeypatch)

    spans_through(processor, 2)
    assert exporter.begun.wait(20)
    spans_through(processor, 4)
    assert (waits, dict(dropped)) == ([], {})
    spans_through(processor, 3)
    assert (waits, dict(dropped)) == ([0.05], {("traces", "queue_full"): 3})

    exporter.release.set()
    processor.force_flush()
    assert exporter.names == ["0", "1", "3", "0", "1", "2"], "the oldest are lost"
    exporter.begun.clear()
    exporter.release.clear()
    spans_through(processor, 2)
    assert exporter.begun.wait(20)
    waits.clear()
    spans_through(processor, 6)
    assert (waits, dict(dropped)) == ([0.05], {("traces", "queue_full"): 5})
    exporter.release.set()
    processor.shutdown()
    assert caplog.messages == [
        "Held is slower than the program and its queue is full: spans are lost (OTEL_BSP_MAX_QUEUE_SIZE)"
    ]


def test_a_single_span_is_delivered_at_once_where_it_is_a_whole_batch(small, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    exporter = Held()
    exporter.release.set()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)
    processor.force_flush()
    exporter.begun.clear()

    spans_through(processor, 1)

    assert exporter.begun.wait(20)


class OneByOne(Counting):
    """Holds each batch until it is permitted."""

    def __init__(self):
        super().__init__()
        self.begun, self.permits = threading.Event(), threading.Semaphore(0)

    def export(self, spans):
        self.begun.set()
        assert self.permits.acquire(timeout=20)
        return super().export(spans)


def test_whoever_waits_for_room_goes_on_as_soon_as_there_is_room_for_one(small, monkeypatch, dropped):
    monkeypatch.setattr(batches, "_ROOM_SECONDS", 60)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    exporter = OneByOne()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)
    assert exporter.begun.wait(20)
    waiting = threading.Thread(target=spans_through, args=(processor, 5), daemon=True)

    waiting.start()
    waiting.join(0.1)
    is_waiting = waiting.is_alive()
    exporter.permits.release()
    waiting.join(20)
    assert (is_waiting, waiting.is_alive()) == (True, False)

    exporter.permits.release(5)
    processor.shutdown()
    assert exporter.sizes == [1] * 6
    assert not dropped


def test_what_many_threads_have_queued_at_once_is_delivered_when_it_is_too_much(small, dropped):
    exporter = Counting()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)
    processor.force_flush()

    processor._queue.extend(TracerProvider().get_tracer("test").start_span("of a thread") for _ in range(4))
    processor._tally.total += 4
    spans_through(processor, 1)

    assert not dropped
    processor.shutdown()
    assert exporter.names == ["0", *["of a thread"] * 4, "0"]


def test_what_an_exporter_records_itself_waits_for_no_room(small, monkeypatch, dropped):
    waits = []

    class Chatty(Counting):
        def export(self, spans):
            if not self.sizes:
                nonlocal waits
                waits = waits_of_this_thread(processor, monkeypatch)
                spans_through(processor, 6)
                waits = list(waits)
            return super().export(spans)

    processor = BoundedBatchSpanProcessor(Chatty())
    spans_through(processor, 2)
    processor.force_flush()

    assert waits == []
    assert dropped == {("traces", "queue_full"): 2}


def test_what_is_rejected_after_it_was_given_up_is_lost_once(small, monkeypatch, dropped):
    monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", "10")
    answer = ExportStatus()

    class RejectedLate(Held):
        def export(self, spans):
            result = super().export(spans)
            answer.rejected = 1
            return result

    exporter = RejectedLate()
    processor = BoundedBatchSpanProcessor(exporter, answer=answer)
    spans_through(processor, 2)
    assert exporter.begun.wait(20)
    processor.shutdown()

    exporter.release.set()
    processor.worker.thread.join(20)

    assert dropped == {("traces", "shutdown"): 2}
    expect(processor.account, total=2, delivered=0, shutdown=2)


def test_of_a_batch_that_an_exporter_loses_in_part_the_rest_is_delivered(small, dropped):
    class Leaky(Counting):
        dropped = 0

        def export(self, spans):
            super().export(spans)
            self.dropped += 1
            return SpanExportResult.FAILURE

    processor = BoundedBatchSpanProcessor(Leaky())
    spans_through(processor, 2)
    processor.shutdown()

    expect(processor.account, total=2, delivered=1, export_failed=1)


def test_an_event_loop_never_waits_for_room(small, monkeypatch, dropped):
    exporter = Held()
    processor = BoundedBatchSpanProcessor(exporter)
    waits = waits_of_this_thread(processor, monkeypatch)

    async def work():
        spans_through(processor, 2)
        assert exporter.begun.wait(20)
        spans_through(processor, 7)

    asyncio.run(work())

    assert (waits, dict(dropped)) == ([], {("traces", "queue_full"): 3})
    exporter.release.set()
    processor.shutdown()
    assert exporter.names == ["0", "1", "3", "4", "5", "6"], "the oldest are lost"
    expect(processor.account, total=9, delivered=6, queue_full=3)


# Without a thread


def test_without_a_thread_an_event_loop_delivers_nothing_itself(no_thread, small, dropped):
    exporter = Counting()
    processor = BoundedBatchSpanProcessor(exporter)

    async def work():
        spans_through(processor, 9)

    asyncio.run(work())

    assert (exporter.sizes, dict(dropped)) == ([], {("traces", "queue_full"): 5})
    processor.shutdown()
    expect(processor.account, total=9, delivered=4, queue_full=5)


def test_without_a_thread_a_batch_is_delivered_when_the_queue_is_more_than_full(no_thread, small, dropped):
    exporter = Counting()
    processor = BoundedBatchSpanProcessor(exporter)

    delivered = []
    for _ in range(9):
        spans_through(processor, 1)
        delivered.append(len(exporter.names))

    assert delivered == [0, 0, 0, 0, 2, 2, 4, 4, 6]
    assert not dropped


def test_without_a_thread_an_exporter_that_failed_is_left_alone_for_five_seconds(no_thread, small, clock, dropped):
    exporter = Counting(outcome=SpanExportResult.FAILURE)
    processor = BoundedBatchSpanProcessor(exporter)

    calls = []
    for moment in (0.0, 0.0, 4.9, 5.0, 5.0, 9.9):
        clock.now = moment
        spans_through(processor, 5)
        calls.append(len(exporter.sizes))
    assert calls == [1, 1, 1, 2, 2, 2]
    assert dropped["traces", "export_failed"] == 4

    exporter.outcome = SpanExportResult.SUCCESS
    clock.now = 10.0
    lost = sum(dropped.values())
    spans_through(processor, 10)
    assert len(exporter.sizes) == 7
    assert sum(dropped.values()) == lost


def test_without_a_thread_nothing_is_delivered_inside_an_export(no_thread, small, dropped):
    class Chatty(Counting):
        depth = deepest = 0

        def export(self, spans):
            self.depth += 1
            self.deepest = max(self.depth, self.deepest)
            if self.depth < 9 and len(self.sizes) < 9:
                spans_through(processor, 6)
            self.depth -= 1
            return super().export(spans)

    processor = BoundedBatchSpanProcessor(Chatty())
    spans_through(processor, 5)

    assert processor.exporter.deepest == 1
    assert dropped["traces", "queue_full"] == 5


def test_without_a_thread_a_flush_asks_a_dead_exporter_once_and_what_is_left_did_not_arrive(
    no_thread, small, clock, dropped
):
    exporter = Counting(outcome=SpanExportResult.FAILURE)
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 4)

    flushes = [processor.force_flush(), processor.force_flush()]

    assert flushes == [False, False]
    assert (exporter.sizes, dict(dropped)) == ([2], {("traces", "export_failed"): 2})


def test_without_a_thread_a_flush_without_time_delivers_nothing_and_says_so(no_thread, small, clock):
    exporter = Counting()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 3)

    assert not processor.force_flush(0)
    assert exporter.sizes == []
    assert processor.force_flush(1)
    assert exporter.sizes == [2, 1]


@pytest.mark.parametrize("call", ["take", "force_flush", "shutdown"])
def test_what_a_parent_has_queued_is_not_delivered_by_a_child_of_a_fork_in_c(no_thread, monkeypatch, call):
    exporter = Exporter()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)

    monkeypatch.setattr(forks.fork, "process_id", 0)  # as in a child of which nobody has told Python
    monkeypatch.setattr(forks.fork, "page", forks._EMPTY)
    if call == "take":
        processor.take(TracerProvider().get_tracer("test").start_span("of the child"))
    else:
        getattr(processor, call)()

    assert [span.name for span in processor._queue] == ["of the child"] * (call == "take")
    assert exporter.names == []


# Flush and shutdown


def test_a_flush_gives_the_exporter_the_time_that_is_left(clock, monkeypatch):
    exporter = Counting()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)
    waits = waits_of_this_thread(processor, monkeypatch)

    assert processor.force_flush()
    assert processor.force_flush(1_234)

    assert exporter.flushes == [30_000, 1_234]
    assert waits == [30.0, 1.234]


def test_a_flush_that_has_used_up_its_time_leaves_the_exporter_none(monkeypatch, clock):
    exporter, told = Counting(), threading.Event()
    force_flush = exporter.force_flush
    exporter.force_flush = lambda millis: (force_flush(millis), told.set())[0]
    processor = BoundedBatchSpanProcessor(exporter)

    processor.force_flush(0)

    assert told.wait(20)
    assert exporter.flushes == [0]


@pytest.mark.parametrize(
    ("flushed", "arrived"), [(True, True), (None, True), (False, False), (RuntimeError("no"), False)]
)
def test_what_the_exporter_says_of_its_own_flush_counts(flushed, arrived, caplog):
    exporter = Counting()
    exporter.flushed = flushed
    processor = BoundedBatchSpanProcessor(exporter)

    assert processor.force_flush() is arrived
    assert ("An exporter raised when it was to end or flush" in caplog.text) is isinstance(flushed, Exception)


def test_a_flush_waits_for_a_slow_flush_of_the_exporter():
    exporter = Exporter()
    exporter.force_flush = lambda millis: time.sleep(0.1) or True

    assert BoundedBatchSpanProcessor(exporter).force_flush(20_000)


def test_a_flush_waits_for_the_batch_that_is_being_delivered(small):
    exporter = Held()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 2)
    assert exporter.begun.wait(20)

    assert not processor.force_flush(50)
    exporter.release.set()
    assert processor.force_flush()
    assert exporter.names == ["0", "1"]


def test_what_is_left_at_the_end_is_lost_once_with_what_is_being_delivered(small, monkeypatch, dropped, caplog):
    monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", "100")
    exporter = Held()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 2)
    assert exporter.begun.wait(20)
    spans_through(processor, 3)

    processor.shutdown()
    processor.shutdown()

    assert dropped == {("traces", "shutdown"): 5}
    message = "Held had no time left to deliver the last spans: they are lost (OTEL_BSP_EXPORT_TIMEOUT)"
    assert caplog.messages == [message]
    assert exporter.ends == 1
    exporter.release.set()
    processor.worker.thread.join(20)
    assert exporter.names == ["0", "1"]
    assert dropped == {("traces", "shutdown"): 5}


def test_a_dead_exporter_is_asked_once_at_the_end_and_what_is_left_is_lost(no_thread, small, dropped):
    exporter = Counting(outcome=SpanExportResult.FAILURE)
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 4)

    processor.shutdown()

    assert (exporter.sizes, dict(dropped)) == ([2], {("traces", "export_failed"): 4})


def test_what_the_time_at_the_end_does_not_suffice_for_is_lost(no_thread, small, clock, dropped):
    class Slow(Counting):
        def export(self, spans):
            clock.now = float("inf")
            return super().export(spans)

    processor = BoundedBatchSpanProcessor(Slow())
    spans_through(processor, 4)

    processor.shutdown()

    assert (processor.exporter.names, dict(dropped)) == (["0", "1"], {("traces", "export_failed"): 2})


def test_what_an_exporter_raises_is_said_once_with_its_traceback(caplog):
    processor = BoundedBatchSpanProcessor(Exporter(outcome=RuntimeError("of the exporter")))

    for _ in range(2):
        spans_through(processor, 1)
        processor.force_flush()

    assert caplog.messages.count("Exporter raised") == 1
    assert "RuntimeError: of the exporter" in caplog.text


def test_the_name_of_a_refused_span_is_shown_to_a_hundred_characters(caplog):
    exporter = Picky(lambda name: len(name) > 1, ValueError("no"))
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 1)

    processor.take(TracerProvider().get_tracer("test").start_span("y" * 500))
    processor.force_flush()

    assert f" {'y' * 100}… [cut, 500 characters]: it is lost" in caplog.text


def test_an_exporter_that_does_not_end_keeps_neither_the_shutdown_nor_the_process_up(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", "50")
    ended, threads = threading.Event(), []
    exporter = Exporter()
    exporter.shutdown = lambda: (threads.append(threading.current_thread()), ended.wait(20))

    BoundedBatchSpanProcessor(exporter).shutdown()

    assert [(thread.daemon, thread.is_alive()) for thread in threads] == [(True, True)]
    ended.set()


def test_an_exporter_that_raises_when_it_is_to_end_is_one_warning(caplog):
    exporter = Exporter()

    def fail():
        raise RuntimeError("no")

    exporter.shutdown = fail
    BoundedBatchSpanProcessor(exporter).shutdown()

    assert caplog.messages == ["An exporter raised when it was to end or flush"]


# What an exporter and its endpoint answer


class Answering(Counting):
    """Answers as it is told to, with the words of an endpoint; *lost* is what it counts itself."""

    def __init__(self, says=(), lost=None, **options):
        super().__init__(**options)
        self.answer = ExportStatus("http://collector:4318")
        self.says, self.lost = dict(says), lost
        if lost is not None:
            self.dropped = 100

    def export(self, spans):
        for name, value in self.says.items():
            setattr(self.answer, name, value)
        if self.lost is not None:
            self.dropped += self.lost
        return super().export(spans)


FAILURE = SpanExportResult.FAILURE
FOR_GOOD = {"is_for_good": True, "is_refused": True, "reason": "HTTP 413 Too Large"}
ANSWERS = {
    "taken": ({}, {}, 1),
    "taken, with the word of another signal": ({"outcome": LogRecordExportResult.SUCCESS}, {}, 1),
    "failed": ({"outcome": FAILURE}, {"export_failed": 4}, 1),
    "no word at all": ({"outcome": None}, {"export_failed": 4}, 1),
    "failed for good": ({"says": FOR_GOOD, "outcome": FAILURE}, {"export_failed": 4}, 7),
    "said to be taken, and refused": ({"says": {"is_refused": True}}, {"export_failed": 4}, 1),
    "said to be taken, and refused for good": ({"says": FOR_GOOD}, {"export_failed": 4}, 7),
    "raised": ({"outcome": RuntimeError("no")}, {"export_failed": 4}, 1),
    "raised for good": ({"says": FOR_GOOD, "outcome": RuntimeError("no")}, {"export_failed": 4}, 7),
    "raised as encoders do": ({"outcome": TypeError("no")}, {"export_failed": 4}, 7),
    "failed in part, which it counts": ({"outcome": FAILURE, "lost": 3}, {"export_failed": 3}, 1),
    "failed in part for good": ({"says": FOR_GOOD, "outcome": FAILURE, "lost": 3}, {"export_failed": 3}, 1),
    "rejected in part": ({"says": {"rejected": 3}}, {"rejected": 3}, 1),
    "rejected more than there was": ({"says": {"rejected": 9}}, {"rejected": 4}, 1),
}


@pytest.mark.parametrize(("options", "lost", "calls"), ANSWERS.values(), ids=ANSWERS)
def test_what_was_not_taken_is_counted_and_tried_in_pieces_if_a_piece_may_be_taken(options, lost, calls, dropped):
    exporter = Answering(**options)
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)

    spans_through(processor, 4)
    is_delivered = processor.force_flush()
    processor.shutdown()

    assert {reason: count for (_, reason), count in dropped.items()} == lost
    assert is_delivered is not bool(lost)
    assert len(exporter.sizes) == calls


def test_an_answer_counts_for_its_own_batch(dropped):
    exporter = Answering({"rejected": 3})
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)
    spans_through(processor, 4)
    processor.force_flush()

    exporter.says = {}
    spans_through(processor, 4)

    assert processor.force_flush()
    assert dropped == {("traces", "rejected"): 3}


MESSAGES = [
    (
        {"says": {"reason": "HTTP 503 Busy"}, "outcome": FAILURE},
        f"Answering could not deliver to http://collector:4318 (HTTP 503 Busy): spans are lost; {CURE}",
    ),
    (
        {"says": {"rejected": 3, "message": "too old"}},
        "Answering delivered to http://collector:4318, which rejected some of it (too old): spans are lost",
    ),
    (
        {"says": {"rejected": 3}},
        "Answering delivered to http://collector:4318, which rejected some of it (it does not say why): spans are lost",
    ),
    ({"says": {"message": "too old"}}, "Answering: http://collector:4318 says: too old"),
    ({}, ""),
    ({"outcome": FAILURE, "lost": 4}, ""),  # it says so itself
]


@pytest.mark.parametrize(("options", "message"), MESSAGES)
def test_what_the_endpoint_answered_is_said_once(options, message, caplog):
    exporter = Answering(**options)
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)

    for _ in range(2):
        spans_through(processor, 4)
        processor.force_flush()
    processor.shutdown()

    assert caplog.messages == [message] * bool(message)


def test_an_exporter_without_an_endpoint_has_no_place_and_no_cure(caplog):
    processor = BoundedBatchSpanProcessor(Exporter(outcome=FAILURE))

    spans_through(processor, 1)
    processor.shutdown()

    assert caplog.messages == ["Exporter could not deliver: spans are lost"]


def test_an_exporter_that_says_itself_what_it_lost_does_not_say_what_comes_too_late(caplog):
    exporter = Answering(lost=0)
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)
    processor.shutdown()

    spans_through(processor, 1)

    assert caplog.messages == ["Answering was shut down before these came: spans are lost"]


# A batch that is delivered in pieces


class Choosy(Picky):
    """Refuses for good, with an answer of its endpoint, what has a bad name in it."""

    def __init__(self, bad):
        super().__init__(bad, ValueError("no"))
        self.answer = ExportStatus("http://collector:4318")

    def export(self, spans):
        self.answer.reason = "HTTP 400 Bad Request"
        return super().export(spans)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(st.integers(1, 40), st.sets(st.integers(0, 39), max_size=4))
def test_bad_spans_cost_themselves_and_the_others_arrive_in_order(count, bad):
    process.reset()
    exporter = Choosy(lambda name: int(name) in bad)
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)
    assume(any(number not in bad for number in range(min(2, count))))

    spans_through(processor, count)
    processor.shutdown()

    lost = sum(number < count for number in bad)
    assert exporter.names == [str(number) for number in range(count) if number not in bad]
    assert losses.dropped["traces", "export_failed"] == lost


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (2, 3), (4, 7), (512, 45)])
def test_an_endpoint_that_refuses_everything_is_asked_so_often_and_not_more(count, calls, dropped):
    exporter = Choosy(lambda _: True)
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)

    spans_through(processor, count)
    processor.shutdown()

    assert (exporter.calls, dropped["traces", "export_failed"]) == (calls, count)


@pytest.mark.parametrize(("good", "calls"), [({0}, 445), ({1}, 445), ({511}, 45)])
def test_an_endpoint_that_has_taken_something_is_asked_more_often_and_not_without_end(good, calls, dropped):
    exporter = Choosy(lambda name: int(name) not in good)
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)

    spans_through(processor, 512)
    processor.shutdown()

    assert exporter.calls == calls


def test_a_span_that_is_refused_is_named_with_the_reason_beside_others_and_not_alone(caplog):
    exporter = Choosy(lambda name: name == "1")
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)
    spans_through(processor, 2)
    processor.force_flush()
    refused = [text for text in caplog.messages if "the others are not" in text]
    caplog.clear()
    process.reset()
    exporter.bad = lambda _: True
    spans_through(processor, 1)
    processor.shutdown()

    assert len(refused) == 1
    assert refused[0].endswith("Span 1 (HTTP 400 Bad Request): it is lost, and the others are not")
    assert not any("the others are not" in text for text in caplog.messages)


@pytest.mark.parametrize(("is_closed", "deadline", "calls"), [(True, -1.0, 1), (True, 1.0, 7), (False, -1.0, 7)])
def test_the_pieces_of_a_batch_end_with_the_time_of_the_shutdown(no_thread, clock, is_closed, deadline, calls, dropped):
    exporter = Choosy(lambda _: True)
    export = exporter.export

    def end_and_export(spans):
        processor.worker.is_closed, processor.worker.deadline = is_closed, deadline
        return export(spans)

    exporter.export = end_and_export
    processor = BoundedBatchSpanProcessor(exporter, answer=exporter.answer)
    spans_through(processor, 4)
    processor.force_flush()

    assert (exporter.calls, dict(dropped)) == (calls, {("traces", "export_failed"): 4})


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_child_of_a_parent_that_waits_for_its_exporter_delivers_its_own(small, tmp_path):
    exporter = Held()
    processor = BoundedBatchSpanProcessor(exporter)
    spans_through(processor, 2)
    assert exporter.begun.wait(20)
    spans_through(processor, 2)

    def work():
        exporter.release.set()
        spans_through(processor, 3)
        is_flushed = processor.force_flush(20_000)
        (tmp_path / "names").write_text(f"{is_flushed} {exporter.names}")

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    exporter.release.set()
    processor.shutdown()

    assert (tmp_path / "names").read_text() == "True ['0', '1', '2']"
    assert exporter.names == ["0", "1", "0", "1"]


# In a forked child

FORKED = """
    import os, sys
    import otelflow

    telemetry = otelflow.configure(events=sys.argv[1])

    @otelflow.flow
    def work():
        print("said")

    def run():
        work().execute()
        return telemetry.force_flush(20_000)

    before = run()
    child = os.fork()
    if child == 0:
        is_sent = run()
        telemetry.shutdown()
        os._exit(0 if is_sent and not telemetry.dropped else 1)
    status = os.waitpid(child, 0)[1]
    print(before, os.waitstatus_to_exitcode(status), run(), telemetry.dropped)
    """


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_without_a_spool_a_forked_child_sends_on_a_connection_of_its_own(signal):
    peers = []

    class Kept(BaseHTTPRequestHandler):
        """Keeps its connections open, and remembers whose a request was."""

        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == f"/v1/{signal}":
                peers.append(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Kept) as server:
        done = python(
            FORKED,
            options=(),
            arguments=["log" if signal == "logs" else "span"],
            OTEL_EXPORTER_OTLP_ENDPOINT=server.url,
            OTELFLOW_SPOOL="off",
        )

    assert done.stdout.splitlines()[-1] == "True 0 True {}", done.stderr
    assert peers[0] == peers[-1], "the parent goes on with its own"
    assert len(set(peers)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_without_a_spool_a_forked_child_has_a_grpc_channel_of_its_own():
    with GrpcReceiver() as receiver:
        done = python(
            FORKED,
            options=(),
            arguments=["span"],
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTELFLOW_SPOOL="off",
        )

    assert done.stdout.splitlines()[-1] == "True 0 True {}", done.stderr
    assert receiver.peers[0] == receiver.peers[-1], "the parent goes on with its own"
    assert len(set(receiver.peers)) == 2


def test_a_child_that_has_sent_nothing_leaves_the_exporter_of_its_parent_alone():
    exporter, of_child = Counting(), Counting()
    processor = BoundedBatchSpanProcessor(exporter, renew=lambda: (of_child, ExportStatus()))
    processor.begin_anew()
    is_flushed = processor.force_flush(1_000)
    processor.shutdown()

    assert (is_flushed, exporter.flushes, exporter.ends) == (True, [], 0)
    assert (of_child.flushes, of_child.ends) == ([], 0)


def test_what_a_child_cannot_connect_for_is_lost_and_counted(dropped):
    def refuse():
        raise ConfigurationError("OTEL_EXPORTER_OTLP_PROTOCOL is nothing")

    exporter = Counting()
    processor = BoundedBatchSpanProcessor(exporter, renew=refuse)
    processor.begin_anew()
    spans_through(processor, 2)
    is_flushed = processor.force_flush(10_000)
    processor.shutdown()

    assert (is_flushed, exporter.sizes) == (False, [])
    assert processor.account.dropped == {"export_failed": 2}
