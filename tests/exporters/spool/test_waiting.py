"""What waits in a spool, as it is seen from outside."""

import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otelflow_exporters._spool import waiting as module
from otelflow_exporters._spool.claims import claim
from otelflow_exporters._spool.waiting import waiting_in
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters.spool import SpoolSpanProcessor


@pytest.fixture
def program(tmp_path):
    """A program that writes to the spool and sends nothing; what it does is done with its tracer."""
    processor = SpoolSpanProcessor(tmp_path / "spool", is_shipped=False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    yield provider.get_tracer("program"), processor.shutdown
    processor.shutdown()


def test_what_has_ended_waits_since_its_end_and_what_has_only_started_does_not(tmp_path, program):
    tracer, end = program
    began = time.time()
    tracer.start_span("open")
    for _ in range(3):
        tracer.start_span("waits").end()

    with open_store(tmp_path / "spool", kind="spool") as folder:
        running = waiting_in(folder)
        end()
        ended = waiting_in(folder)

    assert (running.spans, running.writers, running.is_sent) == (3, 1, False)
    assert running.size > 0
    assert began <= running.since <= time.time()
    assert (ended.spans, ended.writers) == (3, 0)


def test_what_another_process_sends_is_being_sent_and_what_it_has_sent_waits_no_more(tmp_path, program):
    tracer, end = program
    tracer.start_span("sent").end()
    end()

    with open_store(tmp_path / "spool", kind="spool") as folder:
        (file,) = segment_files(folder)
        held = claim(folder, file)
        during = waiting_in(folder)
        held.advance(file.size, [])
        after = waiting_in(folder)
        held.release()
        left = waiting_in(folder)

    assert (during.spans, during.is_sent) == (1, True)
    assert (after.spans, after.size, after.is_sent) == (0, 0, True)
    assert not left.is_sent


def test_very_much_is_told_by_its_size_alone(tmp_path, program, monkeypatch):
    tracer, end = program
    tracer.start_span("waits").end()
    end()
    monkeypatch.setattr(module, "_MOST_READ", 10)

    with open_store(tmp_path / "spool", kind="spool") as folder:
        waiting = waiting_in(folder)

    assert waiting.spans is None
    assert waiting.size > 10
    assert time.time() - 60 < waiting.since <= time.time()
