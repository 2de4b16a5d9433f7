"""What waits in a spool, as it is seen from outside."""

import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otelflow_exporters._spool import waiting as module
from otelflow_exporters._spool.claims import take_claim
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

    assert (running.spans, running.writers, running.has_sender) == (3, 1, False)
    assert running.size > 0
    assert began <= running.since <= time.time()
    assert (ended.spans, ended.writers) == (3, 0)


def test_what_another_process_sends_is_being_sent_and_what_it_has_sent_waits_no_more(tmp_path, program):
    tracer, end = program
    tracer.start_span("sent").end()
    end()

    with open_store(tmp_path / "spool", kind="spool") as folder:
        (file,) = segment_files(folder)
        held = take_claim(folder, file)
        during = waiting_in(folder)
        held.advance(file.size, [])
        after = waiting_in(folder)
        held.release()
        left = waiting_in(folder)

    assert (during.spans, during.has_sender) == (1, True)
    assert (after.spans, after.size, after.has_sender) == (0, 0, True)
    assert not left.has_sender


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


@pytest.fixture
def two_segments(tmp_path):
    """Two programs that have ended, whose spans ended at 1 s and at 2 s after 1970; returns the folder of the spool."""
    for second in (1, 2):
        processor = SpoolSpanProcessor(tmp_path / "spool", is_shipped=False)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        for place in range(second):
            span = provider.get_tracer("program").start_span("waits", start_time=0)
            span.end(second * 1_000_000_000 + place)
        processor.shutdown()
    with open_store(tmp_path / "spool", kind="spool") as folder:
        yield folder


def test_of_several_programs_everything_waits_since_the_first_end(two_segments):
    files = sorted(segment_files(two_segments))
    waiting = waiting_in(two_segments)

    assert (waiting.spans, waiting.since, waiting.writers, waiting.has_sender) == (3, 1.0, 0, False)
    assert waiting.size == sum(file.size for file in files)


@pytest.mark.parametrize("place", [0, 1])
def test_one_segment_that_is_being_sent_is_enough(two_segments, place):
    files = sorted(segment_files(two_segments))
    held = take_claim(two_segments, files[place])
    held.advance(files[place].size, [])
    waiting = waiting_in(two_segments)
    held.release()

    assert (waiting.spans, waiting.since, waiting.has_sender) == ((2, 2.0, True) if place == 0 else (1, 1.0, True))
    assert waiting.size == files[1 - place].size


@pytest.mark.parametrize(("more", "spans"), [(-1, None), (0, 3)])
def test_spans_are_counted_up_to_so_many_bytes(two_segments, monkeypatch, more, spans):
    size = sum(file.size for file in segment_files(two_segments))
    monkeypatch.setattr(module, "_MOST_READ", size + more)
    waiting = waiting_in(two_segments)

    assert (waiting.spans, waiting.size, waiting.since) == (spans, size, 1.0)


def test_what_cannot_be_read_waits_since_its_file_was_written(two_segments, monkeypatch):
    def refuse(*_):
        raise PermissionError("no")

    files = sorted(segment_files(two_segments))
    monkeypatch.setattr(type(two_segments), "read", refuse)
    waiting = waiting_in(two_segments)

    assert (waiting.spans, waiting.size) == (0, sum(file.size for file in files))
    assert waiting.since == files[0].modified


def test_of_a_segment_of_which_a_part_was_set_aside_that_part_waits(two_segments):
    first, second = sorted(segment_files(two_segments))
    (two_segments.path / second.name).unlink()
    held = take_claim(two_segments, first)
    held.advance(first.size, [(0, first.size)])
    whole = waiting_in(two_segments)
    held.advance(first.size, [])
    none = waiting_in(two_segments)
    held.release()

    assert (whole.spans, whole.size) == (1, first.size)
    assert (none.spans, none.size, none.since) == (0, 0, 0.0)
