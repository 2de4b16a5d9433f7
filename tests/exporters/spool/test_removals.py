"""What goes with a segment that must make room is counted once, by whoever misses it."""

import os

import pytest

from otelflow._core.process.files import hold
from otelflow_exporters._otlp.sender import new_sender
from otelflow_exporters._spool.claims import take_claim
from otelflow_exporters._spool.removals import tell_writer, unsent_in
from otelflow_exporters._spool.shipper import Shipper
from otelflow_exporters._spool.signals import SPANS
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.writer import SegmentWriter
from otelflow_exporters.spool import SpoolSpanProcessor
from support.receivers import spans_of
from support.spools import ended, provider_with, record_of


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


def test_a_segment_of_somebody_who_lives_tell_writer(spool):
    writer, folder, file = spool
    numbers = {"of init": 1, "of nobody": 2**22 + 5, "of this process": os.getpid()}
    names = {whose: f"20270115T080000.000000Z-{number}-0123abcd.otlp" for whose, number in numbers.items()}

    assert {whose: tell_writer(folder, name, 5) for whose, name in names.items()} == {
        "of init": True,
        "of nobody": False,
        "of this process": False,
    }
    assert tell_writer(folder, file.name, 5)
    writer.is_watched = False
    assert not tell_writer(folder, file.name, 5)


@pytest.mark.parametrize("number", [os.getpid(), 2**22 + 5], ids=["that of this process", "nobody's"])
def test_so_is_somebody_who_lives_in_another_container_whatever_the_number_there(spool, number):
    _, folder, _ = spool
    ended, written = (f"2027011{day}T080000.000000Z-{number}-0123abcd.otlp" for day in (5, 6))
    answers = [tell_writer(folder, ended, 5)]
    (folder.path / written).write_bytes(b"")
    answers.append(tell_writer(folder, ended, 5))
    with (folder.path / written).open("rb") as file:
        assert hold(file.fileno())
        answers.append(tell_writer(folder, ended, 5))

    assert answers == [False, False, True]


@pytest.fixture
def removed(receiver, folder):
    """Let one write ten spans, another send some batches of four, and a third remove what is there; return the first.

    It has no thread, and looks when it is told to.
    """

    def make(batches):
        first, third = SpoolSpanProcessor(folder, is_shipped=False), SpoolSpanProcessor(folder)
        for processor in (first, third):
            processor._spool.worker.is_closed = True
        tracer = provider_with(first)
        for _ in range(10):
            tracer.start_span("span").end()
        second = Shipper(folder, new_sender("traces"), batch_size=4, on_loss=print, is_for_all=True)
        for _ in range(batches):
            second.ship()
        with open_store(folder, kind="spool") as store:
            (file,) = segment_files(store)
            third._spool._count_removed(store, file)
            store.remove(file.name)
        second.ship()
        second.close()
        third.shutdown()
        assert third.dropped == {}, "the first one counts it"
        return first

    return make


@pytest.mark.parametrize(("batches", "sent"), [(0, 0), (1, 4), (2, 8), (3, 10)])
def test_who_has_written_a_segment_that_another_sends_and_a_third_removes_knows_what_is_lost(
    removed, receiver, folder, batches, sent
):
    first = removed(batches)
    first._spool._ship()
    first.shutdown()

    assert len(spans_of(receiver.trace_requests)) == sent
    lost = {"vanished": 10 - sent} if sent < 10 else {}
    assert first.account == ("traces", "SpoolSpanProcessor", 10, sent, lost)
    assert not list(folder.glob("*.otlp*"))


@pytest.mark.parametrize(("batches", "lost"), [(0, 10), (1, 6), (2, 2), (3, 0)])
def test_who_ends_without_a_look_has_counted_what_is_lost_all_the_same(removed, batches, lost):
    first = removed(batches)
    first.shutdown()

    assert first.dropped == ({"vanished": lost} if lost else {})
    assert first.waiting == 10 - lost


def test_where_no_word_can_be_left_all_of_it_is_lost(removed, folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("otelflow_exporters._spool.claims.Folder.write", full)
    first = removed(1)
    first.shutdown()

    assert first.dropped == {"vanished": 10}
