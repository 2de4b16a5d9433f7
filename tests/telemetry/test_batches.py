"""Delivery: whole through a slow exporter, bounded with a dead one, and what is lost is counted."""

import logging
import multiprocessing
import sys
import threading
import time

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otelflow._core.process import losses
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import new_exporter
from support.programs import python
from support.receivers import GrpcReceiver


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


def test_unsampled_spans_are_not_delivered():
    exporter = Exporter()
    processor = BoundedBatchSpanProcessor(exporter)

    spans_through(processor, 3, sampler=ALWAYS_OFF)
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
