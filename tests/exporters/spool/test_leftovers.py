"""What is left of spools that nobody uses any more goes by itself."""

import os
import time

import pytest

from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._spool import leftovers
from otelflow_exporters._spool.answers import Answers
from otelflow_exporters._spool.destination import Destination, spools_directory
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store
from otelflow_exporters._store.records import framed
from otelflow_exporters._store.writer import SegmentWriter

DAYS = 24 * 60 * 60


@pytest.fixture
def spool(program):
    """Make a spool that nobody has named, in which one span waits, and which is so many days old."""

    def make(name, days):
        directory = spools_directory() / name
        writer = SegmentWriter(directory, Limits(), kind="spool", check=Destination("http://gone:4318", name).check)
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

    leftovers.remove_old(own, lambda _, file: removals.append(file.size))

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
