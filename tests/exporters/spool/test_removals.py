"""What goes with a segment that must make room is counted once, by whoever misses it."""

import os

import pytest

from otelflow_exporters._spool.claims import take_claim
from otelflow_exporters._spool.removals import is_missed, unsent_in
from otelflow_exporters._spool.signals import SPANS
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.writer import SegmentWriter
from support.spools import ended, record_of


@pytest.fixture
def spool(tmp_path):
    """A spool with one segment of five spans; its writer, folder and file."""
    writer = SegmentWriter(tmp_path / "spool", Limits(), kind="spool")
    for number in range(5):
        writer.append(record_of(ended(f"s{number}")), 1)
    with open_store(tmp_path / "spool", kind="spool") as folder:
        (file,) = segment_files(folder)
        yield writer, folder, file
    writer.close()


@pytest.mark.parametrize(("own", "sent", "unsent"), [(7, 3, 4), (7, None, 7), (None, None, 5), (None, 2, 5)])
def test_what_is_known_is_not_read(spool, own, sent, unsent):
    _, folder, file = spool

    assert unsent_in(folder, file, SPANS.read, own=own, sent=sent) == unsent


def test_what_another_process_has_sent_of_it_is_not_lost(spool):
    _, folder, file = spool
    claim = take_claim(folder, file)
    claim.advance(len(record_of(ended("s0"))) * 2, [])
    claim.release()

    assert unsent_in(folder, file, SPANS.read, own=5, sent=None) == 3


def test_a_segment_of_somebody_who_lives_is_missed(spool):
    writer, _, file = spool
    numbers = {"of init": 1, "of nobody": 2**22 + 5, "of this process": os.getpid()}
    names = {whose: f"20270115T080000.000000Z-{number}-0123abcd.otlp" for whose, number in numbers.items()}

    assert {whose: is_missed(name) for whose, name in names.items()} == {
        "of init": True,
        "of nobody": False,
        "of this process": False,
    }
    assert is_missed(file.name)
    writer.is_watched = False
    assert not is_missed(file.name)
