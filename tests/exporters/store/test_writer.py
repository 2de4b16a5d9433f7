"""One process appends to a segment of its own: when it begins the next one, and what becomes of half a record."""

import contextlib
import errno
import itertools
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from otelflow._core.process import files
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has other locks")
def test_where_very_many_write_their_segments_are_smaller_and_earlier_ones_are_kept(write, tmp_path):
    write(60)
    write.writer.close()
    writers = [SegmentWriter(tmp_path, SMALL) for _ in range(64)]
    for writer in writers:
        writer.append(b"x" * 10)

    assert sizes(tmp_path) == [60, *[10] * 64]
    writers[-1].append(b"x" * 40)
    writers[-1].append(b"x")
    assert sizes(tmp_path) == [60, *[10] * 63, 50, 1]
    for writer in writers:
        writer.close()


def test_room_is_made_for_what_a_record_takes_beyond_a_segment(write, prunings, tmp_path):
    write(100, 130, 7)

    assert [limits for limits, _ in prunings] == [SMALL] * 3
    assert [options["room"] for _, options in prunings] == [0, 30, 0]
    assert [options["own_name"] for _, options in prunings] == sorted(path.name for path in tmp_path.glob("*.otlp"))


def test_the_next_segment_begins_when_the_one_is_too_old(write, monkeypatch):
    now = 1_000.0
    monkeypatch.setattr(module, "clock", SimpleNamespace(monotonic=lambda: now, time=time.time))
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


def limited(monkeypatch, most):
    """Let no file be larger than *most* bytes, as ``ulimit -f`` does."""
    written = os.write

    def write(descriptor, content):
        room = most - os.fstat(descriptor).st_size
        if room <= 0:
            raise OSError(errno.EFBIG, "File too large")
        return written(descriptor, content[:room])

    monkeypatch.setattr(os, "write", write)


def test_where_no_file_may_be_large_the_next_one_begins(write, monkeypatch):
    limited(monkeypatch, 25)

    assert write(10, 10, 10, 10, 25) == [20, 20, 25]
    with pytest.raises(OSError, match="File too large"):
        write(26)
    assert write(3)[-1] == 3
    assert write.writer.segments.keys() >= {path.name for path in write.writer._directory.glob("*.otlp")}


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
    descriptor = write.writer._file.descriptor

    write.writer.close()
    write.writer.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert write(1) == [1, 1]


def test_a_forked_child_lets_go_of_the_segment_of_its_parent_and_counts_its_own_losses(write):
    write.writer.begin_anew()  # before the first record there is nothing to let go of
    write(1)
    descriptor = write.writer._file.descriptor
    write.writer.count_dropped(3)

    write.writer.begin_anew()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert write.writer.count_dropped(1)
    assert write.writer.dropped == 1
    assert write(1) == [1, 1]
    os.close(write.writer._file.descriptor)
    write.writer.begin_anew()  # one that somebody has closed is no trouble
    assert write(1) == [1, 1, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_real_child_writes_a_segment_of_its_own(write):
    write(10)
    write.writer.count_dropped(3)
    child = os.fork()
    if child == 0:
        seen = []
        with contextlib.suppress(BaseException):
            seen.append(({**write.writer.segments}, write.writer.dropped))
            seen.append(write(20))
        os._exit(0 if seen == [({}, 0), [10, 20]] else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert write(5) == [15, 20], "the parent goes on in its own"
    assert write.writer.dropped == 3


def test_a_segment_that_was_removed_is_written_no_more(write, tmp_path):
    write(10)
    (segment,) = tmp_path.glob("*.otlp")
    segment.unlink()

    assert write(7) == [7]
    assert write(1) == [8]


def test_a_segment_that_its_owner_gives_up_while_it_is_written_costs_no_program_an_error(write, monkeypatch):
    write(1)
    real = os.write

    def slow_write(descriptor, content):
        write.writer.segments.clear()  # as the thread that ships does, when somebody has deleted the segment
        return real(descriptor, content)

    monkeypatch.setattr(module.os, "write", slow_write)
    write.writer.append(b"x", 1)

    assert list(write.writer.segments.values()) == [1]


@pytest.fixture
def interrupt(monkeypatch):
    """Let Ctrl-C come when the next record is written: before, or when all of it is there."""
    real = os.write

    def interrupt_at(moment):
        def write(descriptor, content):
            monkeypatch.setattr(module.os, "write", real)
            if moment == "after":
                real(descriptor, content)
            elif moment == "within":
                real(descriptor, content[: len(content) // 2])
            raise KeyboardInterrupt

        monkeypatch.setattr(module.os, "write", write)

    return interrupt_at


@pytest.mark.parametrize(("moment", "size", "spans"), [("before", 12, 3), ("within", 12, 3), ("after", 22, 4)])
def test_what_is_there_when_ctrl_c_comes_is_written_and_all_else_is_not(write, interrupt, moment, size, spans):
    writer = write.writer
    writer.append(b"x" * 10, 2)
    interrupt(moment)
    with pytest.raises(KeyboardInterrupt):
        writer.append(b"y" * 10, 1)
    writer.append(b"zz", 1)

    assert (write(), list(writer.segments.values()), writer.spans) == ([size], [spans], spans)


def test_a_segment_that_ctrl_c_interrupts_leaves_nothing_and_the_earlier_one_goes_on(write, monkeypatch):
    def interrupted(_descriptor):
        raise KeyboardInterrupt

    write(60)
    opened = len(list(Path("/dev/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(module, "OpenFile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write.writer.append(b"x" * 70)

    assert write(10) == [70]
    assert len(list(Path("/dev/fd").iterdir())) == opened


@pytest.fixture
def pruned_later(tmp_path):
    """A writer whose owner prunes, on a thread of its own."""
    writer = SegmentWriter(tmp_path, SMALL, is_pruned_by_owner=True)
    yield writer
    writer.close()


def test_who_prunes_on_another_thread_has_room_for_one_segment_more_and_is_told_when_it_is_used(pruned_later, prunings):
    told = []
    for length in (100, 100, 100):
        pruned_later.append(b"x" * length)
        told.append((pruned_later.is_prune_due, len(prunings)))
        if pruned_later.is_prune_due:
            pruned_later.prune()
            told.append((pruned_later.is_prune_due, len(prunings)))
    pruned_later.append(b"x" * 130)  # more than a segment: room is made for it at once

    assert told == [(False, 1), (True, 1), (False, 2), (True, 2), (False, 3)]
    assert [options["room"] for _, options in prunings] == [100, 100, 100, 130]


def test_nobody_waits_for_a_thread_that_prunes(pruned_later, prunings):
    pruned_later.append(b"x")
    with pruned_later.pruning:
        other = threading.Thread(target=pruned_later.prune)
        other.start()
        other.join(30)
        was_due = pruned_later.is_prune_due
    pruned_later.prune()

    assert was_due
    assert not pruned_later.is_prune_due
    assert len(prunings) == 2


@pytest.mark.parametrize("is_reused", [True, False])
def test_a_segment_that_the_program_has_closed_is_followed_by_another(write, tmp_path, is_reused):
    write(10)
    user = tmp_path.parent / f"{tmp_path.name}-user.dat"
    number = write.writer._file.descriptor
    with user.open("wb") as file:
        os.dup2(file.fileno(), number)
    if not is_reused:
        os.close(number)
    os.utime(user, (1, 1))
    write.writer.touch()
    sizes_afterwards = write(7)
    if is_reused:
        os.fstat(number)
        os.close(number)

    assert sizes_afterwards == [10, 7]
    assert (user.read_bytes(), user.stat().st_mtime) == (b"", 1)


def test_a_writer_whose_segment_the_program_has_closed_ends_and_forks_without_a_look_at_what_has_its_number(tmp_path):
    for let_go in (SegmentWriter.close, SegmentWriter.begin_anew):
        writer = SegmentWriter(tmp_path / "store", SMALL, last_record=b"end")
        writer.append(b"x")
        number = writer._file.descriptor
        with (tmp_path / "user.dat").open("wb") as file:
            os.dup2(file.fileno(), number)
        let_go(writer)
        os.write(number, b"mine")
        os.close(number)

        assert (tmp_path / "user.dat").read_bytes() == b"mine"


def test_each_segment_begins_and_ends_with_the_records_that_it_must(tmp_path, prunings):
    number = itertools.count()
    writer = SegmentWriter(
        tmp_path, SMALL, first_records=lambda: [b"first", str(next(number)).encode()], last_record=b"last"
    )
    for _ in range(3):
        writer.append(b"x" * 60)
    content = [path.read_bytes() for path in sorted(tmp_path.glob("*.otlp"))]
    writer.close()
    writer.close()

    whole = [f"first{place}".encode() + b"x" * 60 + b"last" for place in range(3)]
    assert content == [*whole[:2], whole[2].removesuffix(b"last")]
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.otlp"))] == whole


def test_a_segment_whose_first_records_are_large_has_as_much_room_besides(tmp_path, prunings):
    writer = SegmentWriter(tmp_path, SMALL, first_records=lambda: [b"f" * 80])
    for _ in range(2):
        writer.append(b"x" * 40)
    before = sizes(tmp_path)
    writer.append(b"x")

    assert (before, sizes(tmp_path)) == ([160], [160, 81])
    writer.close()


def test_so_has_one_that_begins_where_there_is_room_already(tmp_path, prunings):
    writer = SegmentWriter(tmp_path, SMALL, first_records=lambda: [b"f" * 80], is_pruned_by_owner=True)
    for _ in range(5):
        writer.append(b"x" * 40)

    assert sizes(tmp_path) == [160, 160, 120]
    writer.close()


def test_the_time_of_a_segment_is_a_sign_of_life(write, tmp_path):
    write.writer.touch()  # there is none yet
    write(1)
    (segment,) = tmp_path.glob("*.otlp")
    os.utime(segment, (1, 1))
    write.writer.touch()

    assert segment.stat().st_mtime > time.time() - 60


@pytest.mark.parametrize("instead", ["folder", "nothing", "the same", "too many files"])
def test_a_writer_whose_folder_was_moved_begins_anew_in_the_one_that_is_there_now(
    write, tmp_path, monkeypatch, instead
):
    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    writer = write.writer
    writer._directory = folder = tmp_path / "store"
    writer.append(b"before")
    if instead in ("folder", "nothing"):
        folder.rename(tmp_path / "moved")
    if instead == "folder":
        folder.mkdir(mode=0o700)
    with monkeypatch.context() as broken:
        if instead == "too many files":
            broken.setattr(files.os, "open", refuse)
        writer.leave_wrong_folder()
    writer.append(b"after")

    assert sizes(folder) == [len(b"after" if instead in ("folder", "nothing") else b"beforeafter")]
