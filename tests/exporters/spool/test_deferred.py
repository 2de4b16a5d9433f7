"""What a spool tells: by nobody's lock, and whatever becomes of it there."""

import contextlib
import logging
import threading
import time

import pytest

from otelflow._core.process import forks
from otelflow_exporters._spool.deferred import DeferredCalls
from otelflow_exporters.spool import SpoolSpanProcessor
from support.spools import counts_of, provider_with, run_program


@contextlib.contextmanager
def handling(handler):
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def test_a_log_handler_that_ends_a_span_and_a_thread_that_warns_do_not_wait_for_each_other(receiver, tmp_path):
    place = tmp_path / "file"
    place.write_text("no folder")
    processor = SpoolSpanProcessor(place)
    tracer = provider_with(processor)
    is_inside, is_warned_of = threading.Event(), threading.Event()

    class Traced(logging.Handler):
        """Ends a span while it has its lock, and another thread waits for that."""

        def filter(self, record):
            if record.name == "otelflow_exporters.spool":
                is_warned_of.set()
            return super().filter(record)

        def emit(self, record):
            if record.name == "program":
                is_inside.set()
                is_warned_of.wait(20)
                tracer.start_span("of the handler").end()

    with handling(Traced()):
        logs = threading.Thread(target=lambda: logging.getLogger("program").warning("busy"), daemon=True)
        ends = threading.Thread(target=lambda: tracer.start_span("of the program").end(), daemon=True)
        logs.start()
        assert is_inside.wait(20)
        ends.start()
        for thread in (ends, logs):
            thread.join(10)
        hang = [thread for thread in (logs, ends) if thread.is_alive()]

        assert is_warned_of.is_set()
        assert hang == []
        processor.shutdown()
    assert counts_of(receiver) == {"of the program": 1, "of the handler": 1}


def test_who_holds_the_lock_tells_once_it_has_let_go():
    lock, heard = forks.new_lock(), []
    deferred = DeferredCalls(lock)
    deferred.add(heard.append, "first")

    with lock:
        deferred.tell()
        while_held = list(heard)
    deferred.tell()
    deferred.tell()

    assert (while_held, heard) == ([], ["first"])


def test_what_hears_of_losses_and_raises_costs_neither_the_program_nor_the_next_one(receiver, folder, caplog):
    heard = []

    def broken(*loss):
        heard.append(loss)
        raise ZeroDivisionError("of the program")

    processor = SpoolSpanProcessor(folder, on_loss=broken)
    tracer = provider_with(processor)
    processor.shutdown()
    for _ in range(2):
        tracer.start_span("late").end()

    assert heard == [("after_shutdown", 1)] * 2
    assert processor.dropped == {"after_shutdown": 2}
    assert "ZeroDivisionError: of the program" in caplog.text


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_the_thread_goes_on_when_what_hears_of_a_refusal_raises(receiver, folder, monkeypatch, is_in_memory):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")

    def broken(*_loss):
        raise ZeroDivisionError("of the program")

    receiver.status = 400
    processor = SpoolSpanProcessor(None if is_in_memory else folder, on_loss=broken)
    tracer = provider_with(processor)
    tracer.start_span("refused").end()
    deadline = time.monotonic() + 20
    while processor.waiting and time.monotonic() < deadline:
        time.sleep(0.01)
    receiver.status = 200
    tracer.start_span("sent").end()
    arrived = processor.force_flush(20_000)

    assert arrived
    assert processor._spool.worker.thread.is_alive()
    assert (processor.dropped, processor.waiting) == ({"rejected": 1}, 0)
    assert counts_of(receiver)["sent"] == 1
    processor.shutdown()


class Broken(logging.Handler):
    """Raises, as a handler without ``handleError`` may."""

    def emit(self, record):
        raise ZeroDivisionError(record.getMessage())


def test_a_log_handler_that_raises_costs_no_span(receiver, tmp_path):
    place = tmp_path / "file"
    place.write_text("no folder")
    with handling(Broken()):
        processor = SpoolSpanProcessor(place)
        tracer = provider_with(processor)
        tracer.start_span("kept").end()
        processor.shutdown()
        tracer.start_span("late").end()

    assert counts_of(receiver) == {"kept": 1}
    assert processor.dropped == {"after_shutdown": 1}


def test_what_hears_of_lost_processes_and_raises_is_asked_once(receiver, folder, tmp_path, caplog):
    run_program(
        tmp_path,
        "nightly(3, lambda: os.kill(os.getpid(), signal.SIGKILL)).execute()",
        url=receiver.url,
        OTEL_BSP_SCHEDULE_DELAY="60000",
    )
    heard = []

    def broken(traces):
        heard.append(traces)
        raise ZeroDivisionError("of the program")

    processor = SpoolSpanProcessor(folder, on_recovery=broken)
    provider_with(processor).start_span("own").end()
    arrived = [processor.force_flush(), processor.force_flush()]
    processor.shutdown()

    assert (arrived, len(heard)) == ([True, True], 1)
    assert "could not be read further" not in caplog.text
    assert "ZeroDivisionError: of the program" in caplog.text
