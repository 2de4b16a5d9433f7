"""One process at a time ships a segment, and the next one goes on where that has ended."""

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from otelflow._core.process.files import Folder
from otelflow_exporters._spool import claims
from otelflow_exporters._store.ownership import PROGRESS

SEGMENT = "20240101T000000.000000Z-1-01234567.otlp"
OWN = f"20240101T000000.000000Z-{os.getpid()}-01234567.otlp"
PARENT = f"20240101T000000.000000Z-{os.getppid()}-01234567.otlp"
GONE = f"20240101T000000.000000Z-{2**22 + 5}-01234567.otlp"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no spools without locks")


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    with Folder.reached(tmp_path) as folder:
        yield folder


def segment(folder, name=SEGMENT, size=100):
    (folder.path / name).write_bytes(bytes(size))
    return folder.file(name)


def test_what_one_has_claimed_nobody_else_gets_until_it_lets_go(folder):
    file = segment(folder)
    first = claims.take_claim(folder, file)
    second = claims.take_claim(folder, file)
    first.release()
    first.release()
    third = claims.take_claim(folder, file)

    assert (first.offset, first.aside) == (0, [])
    assert second is None
    assert third is not None
    third.release()


def test_the_next_one_goes_on_where_the_last_one_was(folder):
    file = segment(folder)
    first = claims.take_claim(folder, file)
    first.advance(60, [(10, 20), (30, 40)])
    first.advance(70, [(10, 20)])
    waiting = claims.unsent_ranges(folder, file)
    first.release()
    second = claims.take_claim(folder, file)

    assert waiting == [(10, 20), (70, 100)]
    assert (second.offset, second.aside) == (70, [(10, 20)])
    second.release()


def test_what_is_under_way_is_known_to_all_until_it_is_over_or_its_sender_is_gone(folder):
    file = segment(folder)
    claim = claims.take_claim(folder, file)
    claim.advance(60, [(10, 20), (30, 40)])
    states = [claims.is_under_way(folder, SEGMENT)]
    with claim.sending(folder):
        states.append(claims.is_under_way(folder, SEGMENT))
        waiting = claims.unsent_ranges(folder, file)
    states.append(claims.is_under_way(folder, SEGMENT))
    with claim.sending(folder):
        claim.advance(70, [])
        states.append(claims.is_under_way(folder, SEGMENT))
    with claim.sending(folder):
        claim.release()
        states.append(claims.is_under_way(folder, SEGMENT))

    assert states == [False, True, False, False, False]
    assert waiting == [(10, 20), (30, 40), (60, 100)]


def test_what_is_gone_is_not_sent(folder):
    claim = claims.take_claim(folder, segment(folder))
    folder.remove(SEGMENT)

    with pytest.raises(FileNotFoundError), claim.sending(folder):
        raise AssertionError("it was sent")
    claim.release()


@pytest.mark.parametrize(("age", "is_under_way"), [(500, True), (700, False)])
def test_without_locks_what_is_under_way_is_so_for_as_long_as_an_answer_may_take(
    folder, monkeypatch, age, is_under_way
):
    claim = claims.take_claim(folder, segment(folder))
    with claim.sending(folder):
        os.utime(folder.path / (SEGMENT + PROGRESS), (time.time() - age,) * 2)
        monkeypatch.setattr(claims, "is_held", lambda _: None)

        assert claims.is_under_way(folder, SEGMENT) is is_under_way
    claim.release()


def test_of_a_segment_that_nobody_has_looked_at_everything_waits(folder):
    assert claims.unsent_ranges(folder, segment(folder)) == [(0, 100)]


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        (b"00000000000000000070 10-20.", (70, [(10, 20)])),
        (b"70.", (70, [])),
        (b"70", (70, [])),
        (b"0.", (0, [])),
        (b"100 0-100.", (100, [(0, 100)])),
        (b"70 10-20", (0, [])),
        (b"70 10-20.5-6", (70, [(10, 20)])),
        (b"101.", (0, [])),
        (b"-1.", (0, [])),
        (b"70 10-71.", (0, [])),
        (b"70 20-20.", (0, [])),
        (b"70 20-10.", (0, [])),
        (b"70 x-y.", (0, [])),
        (b"70 1-2-3.", (0, [])),
        (b"x.", (0, [])),
        (b"", (0, [])),
    ],
)
def test_progress_that_cannot_be_is_none(text, progress):
    assert claims._progress(text, 100) == progress


# In containers that share a volume, each first process is number 1.
@pytest.mark.parametrize(
    ("name", "has_twin", "left"),
    [(SEGMENT, False, [SEGMENT + PROGRESS]), (OWN, False, []), (OWN, True, [OWN + PROGRESS])],
    ids=["of another", "of this", "of one in another container"],
)
def test_a_segment_that_was_shipped_goes_and_its_progress_stays_for_another_process_that_wrote_it(
    folder, name, has_twin, left
):
    claim = claims.take_claim(folder, segment(folder, name))
    claim.advance(100, [])
    opened = len(list(Path("/dev/fd").iterdir()))
    claim.remove(folder, is_own=False, is_number_shared=has_twin)

    assert folder.names() == left
    assert len(list(Path("/dev/fd").iterdir())) == opened - 1


def test_a_segment_that_is_gone_is_claimed_by_nobody_and_leaves_nothing(folder):
    file = segment(folder)
    folder.remove(SEGMENT)

    assert claims.take_claim(folder, file) is None
    assert folder.names() == []


def test_the_progress_of_a_segment_that_is_gone_stays(folder):
    file = segment(folder)
    claim = claims.take_claim(folder, file)
    claim.advance(5, [])
    claim.release()
    folder.remove(SEGMENT)

    assert claims.take_claim(folder, file) is None
    assert folder.names() == [SEGMENT + PROGRESS]


def test_a_link_in_the_place_of_the_progress_goes_and_is_not_followed(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    file = segment(folder)
    (tmp_path / (SEGMENT + PROGRESS)).symlink_to(victim)

    first = claims.take_claim(folder, file)
    second = claims.take_claim(folder, file)

    assert first is None
    assert second is not None
    assert victim.read_text() == "mine"
    second.release()


@pytest.mark.parametrize(
    ("progress", "is_mine", "expected"),
    [(b"5.", False, (3, 0)), (b"", False, (0, 3)), (None, False, (0, 3)), (b"5.", True, (0, 1))],
    ids=["another has sent it", "nobody has", "no trace of it", "this process has sent two of it"],
)
def test_of_a_segment_that_is_gone_it_is_told_who_has_sent_it(folder, progress, is_mine, expected):
    if progress is not None:
        (folder.path / (SEGMENT + PROGRESS)).write_bytes(progress)
    own, sent = {SEGMENT: 3, "other": 1}, Counter({SEGMENT: 2} if is_mine else {})

    assert claims.forget(folder, own, sent, [SEGMENT]) == expected
    assert (own, dict(sent)) == ({"other": 1}, {})
    assert folder.names() == []


def test_what_is_unknown_counts_as_nothing(folder):
    assert claims.forget(folder, {}, Counter(), [SEGMENT]) == (0, 0)


def test_what_is_gone_with_its_folder_is_counted_but_for_what_was_sent(tmp_path):
    names = {"a": 3, "b": 5, "c": 7, "d": 9}
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "c.sent").write_bytes(b"12")
    (tmp_path / "d.sent").write_bytes(b"")  # nobody has sent from it
    own = dict(names)
    of_folder = claims.take_vanished(tmp_path, own, {"a": 2}.get)
    everything = dict(names)
    of_nothing = claims.take_vanished(tmp_path / "gone", everything, {"a": 2}.get)
    of_file = claims.take_vanished(tmp_path / "b", dict(names), {}.get)

    assert (of_folder, own) == (10, {"a": 2, "b": 5, "c": 7, "d": 0})
    assert (of_nothing, everything) == (22, {"a": 2, "b": 0, "c": 0, "d": 0})
    assert of_file == 24


def test_of_a_segment_that_is_gone_with_its_folder_this_process_knows_what_it_has_sent(tmp_path):
    (tmp_path / "a.sent").write_bytes(b"00000000000000000012. ")
    own = {"a": 3}

    assert (claims.take_vanished(tmp_path, own, {"a": 2}.get), own) == (1, {"a": 2})


def test_what_nobody_can_tell_is_not_lost(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError("no")

    monkeypatch.setattr(claims.os, "listdir", refuse)
    own = {"a": 3}

    assert (claims.take_vanished(tmp_path, own, {}.get), own) == (0, {"a": 3})


def test_the_progress_of_processes_that_are_gone_goes_when_nobody_reads_it_any_more(folder):
    old = time.time() - 700
    young = time.time() - 500
    for name, when in ((GONE, old), (PARENT, old), (OWN, old), (GONE.replace("2024", "2025"), young), ("notes", old)):
        path = folder.path / (name + (PROGRESS if name != "notes" else ""))
        path.write_bytes(b"5.")
        os.utime(path, (when, when))
    kept = segment(folder, GONE.replace("2024", "2026")).name
    (folder.path / (kept + PROGRESS)).write_bytes(b"5.")
    os.utime(folder.path / (kept + PROGRESS), (old, old))

    claims.remove_orphans(folder)

    young_name = GONE.replace("2024", "2025") + PROGRESS
    assert sorted(folder.names()) == sorted([PARENT + PROGRESS, young_name, "notes", kept, kept + PROGRESS])


@pytest.mark.parametrize(("age", "is_left"), [(600, True), (600.5, False)])
def test_the_progress_is_left_for_ten_minutes_to_who_may_read_it(folder, monkeypatch, age, is_left):
    path = folder.path / (GONE + PROGRESS)
    path.write_bytes(b"5.")
    os.utime(path, (1_000, 1_000))
    monkeypatch.setattr("otelflow._core.process.clock.time", lambda: 1_000 + age)

    claims.remove_orphans(folder)

    assert path.exists() is is_left


@pytest.mark.parametrize(("age", "is_left"), [(86_400, True), (86_400.5, False)])
def test_the_progress_is_left_for_a_day_where_a_process_has_that_number(folder, monkeypatch, age, is_left):
    path = folder.path / (PARENT + PROGRESS)
    path.write_bytes(b"5.")
    os.utime(path, (1_000, 1_000))
    monkeypatch.setattr("otelflow._core.process.clock.time", lambda: 1_000 + age)

    claims.remove_orphans(folder)

    assert path.exists() is is_left


def test_who_cannot_read_how_far_it_is_ships_nothing_and_holds_nothing(folder, monkeypatch):
    def broken(*_):
        raise OSError("input/output error")

    file = segment(folder)
    opened = len(list(Path("/dev/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(claims.os, "pread", broken)
        refused = claims.take_claim(folder, file)

    assert refused is None
    assert len(list(Path("/dev/fd").iterdir())) == opened
    held = claims.take_claim(folder, file)
    assert held is not None
    held.release()


@pytest.mark.parametrize(
    ("name", "is_claimed"),
    [(OWN, True), (GONE, True), (f"20240101T000000.000000Z-{os.getppid()}-01234567.otlp", False)],
    ids=["own", "of one that is gone", "of one that lives"],
)
def test_without_locks_who_has_written_a_segment_ships_it_while_it_lives(folder, monkeypatch, name, is_claimed):
    monkeypatch.setattr(claims, "lock", lambda _: None)
    held = claims.take_claim(folder, segment(folder, name))

    assert (held is not None) is is_claimed
    if held is not None:
        held.release()


def test_a_full_disk_costs_the_progress_only(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    held = claims.take_claim(folder, segment(folder))
    monkeypatch.setattr(claims.os, "pwrite", full)
    held.advance(60, [(10, 20)])

    assert (held.offset, held.aside) == (60, [(10, 20)])
    held.release()


def test_a_claim_whose_file_the_program_has_closed_writes_into_no_other_and_can_be_had_again(folder, tmp_path):
    file = segment(folder)
    first = claims.take_claim(folder, file)
    first.advance(30, [])
    number = first._file.descriptor
    with (tmp_path / "user.dat").open("wb") as user:
        os.dup2(user.fileno(), number)
    first.advance(60, [])
    is_held = first.is_held
    first.release()
    os.write(number, b"mine")
    os.close(number)
    second = claims.take_claim(folder, file)

    assert (tmp_path / "user.dat").read_bytes() == b"mine"
    assert (is_held, second.is_held, second.offset) == (False, True, 30)
    second.release()
