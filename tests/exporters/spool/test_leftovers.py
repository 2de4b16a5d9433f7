"""What is left of spools that nobody uses any more goes by itself."""

import os
import time

import pytest

from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._spool import leftovers
from otelflow_exporters._spool.answers import Answers
from otelflow_exporters._spool.destination import Destination, spools_directory
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import INNER_SPOOLS, open_store
from otelflow_exporters._store.records import framed
from otelflow_exporters._store.writer import SegmentWriter

DAYS = 24 * 60 * 60


@pytest.fixture
def spool(program):
    """Make a spool that nobody has named, in which one span waits, and which is so many days old."""

    def make(name, days):
        directory = spools_directory() / name
        writer = SegmentWriter(
            directory, Limits(), kind="spool", check=Destination("http://gone:4318", name, name[:16]).check
        )
        with program.span():
            pass
        writer.append(framed(encode_span(program.done()[0])), 1)
        writer.close()
        Answers(directory).note(has_answered=True)
        for path in (*directory.iterdir(), directory):
            os.utime(path, (time.time() - days * DAYS,) * 2)
        return directory

    return make


def test_a_spool_in_which_nothing_has_changed_for_seven_days_goes_and_what_waited_there_is_counted(spool):
    own, old, recent = spool("own", 9), spool("old", 8), spool("recent", 6)
    removals = []

    leftovers.remove_old(own, lambda _, file: removals.append(file.size) or True)

    assert [path.exists() for path in (own, old, recent)] == [True, False, True]
    assert len(removals) == 1


def test_nothing_goes_beside_a_folder_that_somebody_has_named(spool, tmp_path):
    old = spool("old", 8)

    leftovers.remove_old(tmp_path / "named", print)

    assert old.exists()


def test_a_spool_with_files_of_others_stays_and_so_does_one_that_is_written(spool):
    with_others, written = spool("others", 8), spool("written", 1)
    (with_others / "notes.txt").write_text("mine")
    os.utime(with_others, (time.time() - 8 * DAYS,) * 2)
    writer = SegmentWriter(written, Limits(), kind="spool")
    writer.append(b"", 0)
    os.utime(written, (time.time() - 8 * DAYS,) * 2)

    leftovers.remove_old(spools_directory() / "own", print)

    assert (with_others / "notes.txt").read_text() == "mine"
    with open_store(written, kind="spool") as folder:
        assert sum(name.endswith(".otlp") for name in folder.names()) == 2
    writer.close()


def test_it_goes_after_seven_days_and_not_before(spool, monkeypatch):
    old = spool("old", 0)
    for path in (*old.iterdir(), old):
        os.utime(path, (1_000_000, 1_000_000))
    left = []
    for age in (7 * DAYS, 7 * DAYS + 1):
        monkeypatch.setattr("otelflow._core.process.clock.time", lambda age=age: 1_000_000 + age)
        leftovers.remove_old(spools_directory() / "own", lambda *_: True)
        left.append(old.exists())

    assert left == [True, False]


def test_nobody_without_a_home_has_spools_that_could_go(spool, monkeypatch):
    def homeless():
        raise ConfigurationError("no home")

    old = spool("old", 8)
    monkeypatch.setattr(leftovers.destination, "spools_directory", homeless)

    leftovers.remove_old(old.parent / "own", print)

    assert old.exists()


def test_progress_that_nobody_needs_goes_with_its_spool(spool):
    old = spool("old", 8)
    progress = old / f"20240101T000000.000000Z-{2**22 + 5}-01234567.otlp.sent"
    progress.write_bytes(b"5.")
    for path in (progress, old):
        os.utime(path, (time.time() - 8 * DAYS,) * 2)

    leftovers.remove_old(spools_directory() / "own", lambda *_: True)

    assert not old.exists()


def test_logs_and_metrics_go_with_their_spool(spool):
    old = spool("old", 8)
    for name in INNER_SPOOLS:
        spool(f"old/{name}", 8)
    os.utime(old, (time.time() - 8 * DAYS,) * 2)
    removals = []

    leftovers.remove_old(spools_directory() / "own", lambda _, file: removals.append(file.size) or True)

    assert not old.exists()
    assert len(removals) == 3
