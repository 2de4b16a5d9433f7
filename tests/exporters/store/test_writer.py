"""One process appends to a segment of its own: when it begins the next one, and what becomes of half a record."""

import os
from types import SimpleNamespace

import pytest

from otelflow._core.process.files import hold
from otelflow_exporters._store import writer as module
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.writer import SegmentWriter

# Segments of 100 bytes
SMALL = Limits(max_bytes=6_400)


@pytest.fixture
def write(tmp_path):
    """Append so many bytes to the store, and return the sizes of its segments in the order of their making."""
    writer = SegmentWriter(tmp_path, SMALL)

    def append(*lengths):
        for length in lengths:
            writer.append(b"x" * length)
        return sizes(tmp_path)

    append.writer = writer
    yield append
    writer.close()


def sizes(directory):
    return [path.stat().st_size for path in sorted(directory.glob("*.otlp"))]


@pytest.fixture
def prunings(monkeypatch):
    """What the store was asked to make room for."""
    prunings = []
    monkeypatch.setattr(module, "prune", lambda store, limits, **options: prunings.append((limits, options)))
    return prunings


def test_a_segment_is_filled_to_its_last_byte_and_the_next_one_begins(write, prunings):
    assert write(60) == [60]
    assert write(40) == [100]
    assert write(1, 98) == [100, 99]
    assert write(500) == [100, 99, 500]
    assert write(1) == [100, 99, 500, 1]


def test_room_is_made_for_what_a_record_takes_beyond_a_segment(write, prunings, tmp_path):
    write(100, 130, 7)

    assert [limits for limits, _ in prunings] == [SMALL] * 3
    assert [options["room"] for _, options in prunings] == [0, 30, 0]
    assert [options["own"] for _, options in prunings] == sorted(path.name for path in tmp_path.glob("*.otlp"))


def test_the_next_segment_begins_when_the_one_is_too_old(write, monkeypatch):
    now = 1_000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    write(1)

    now += SMALL.segment_age.total_seconds()
    assert write(1) == [2]
    now += 1
    assert write(1) == [2, 1]


def test_old_files_that_cannot_be_removed_cost_no_record(write, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(module, "prune", refuse)

    assert write(5, 5) == [10]


def full_disk(monkeypatch, *, can_take_back=True):
    """Let half of what is written still fit, once."""
    written = os.write

    def half(descriptor, content):
        monkeypatch.setattr(os, "write", written)
        written(descriptor, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    def refuse(*_):
        raise OSError

    monkeypatch.setattr(os, "write", half)
    if not can_take_back:
        monkeypatch.setattr(os, "ftruncate", refuse)


@pytest.mark.parametrize(("can_take_back", "then"), [(True, [20]), (False, [15, 10])])
def test_half_a_record_is_taken_back_or_left_behind_in_its_segment(write, monkeypatch, can_take_back, then):
    write(10)
    full_disk(monkeypatch, can_take_back=can_take_back)

    with pytest.raises(OSError, match="No space left"):
        write(10)

    assert write(10) == then


def test_a_disk_that_takes_a_record_in_pieces_has_it_whole(write, monkeypatch):
    written = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: written(descriptor, content[:7]))

    assert write(20, 20) == [40]


def test_a_segment_that_another_process_was_looking_at_is_held_with_the_next_record(write, monkeypatch):
    attempts = []

    def hold_later(descriptor):
        attempts.append(descriptor)
        return len(attempts) > 2 and hold(descriptor)

    monkeypatch.setattr(module, "hold", hold_later)

    assert write(1, 1, 1, 1, 1) == [5]
    assert len(attempts) == 3


def test_only_the_first_loss_is_the_first(write):
    assert [write.writer.count_dropped(3), write.writer.count_dropped(4)] == [True, False]
    assert write.writer.dropped == 7


def test_a_writer_that_was_closed_goes_on_in_another_segment(write):
    write(1)
    descriptor = write.writer._descriptor

    write.writer.close()
    write.writer.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert write(1) == [1, 1]


def test_a_forked_child_lets_go_of_the_segment_of_its_parent_and_counts_its_own_losses(write):
    write.writer.begin_anew()  # before the first record there is nothing to let go of
    write(1)
    descriptor = write.writer._descriptor
    write.writer.count_dropped(3)

    write.writer.begin_anew()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert write.writer.count_dropped(1)
    assert write.writer.dropped == 1
    assert write(1) == [1, 1]
    os.close(write.writer._descriptor)
    write.writer.begin_anew()  # one that somebody has closed is no trouble
    assert write(1) == [1, 1, 1]
