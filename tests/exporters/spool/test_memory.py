"""What waits in memory: so many bytes, the oldest go first, and nothing is counted twice."""

import os
import threading
from collections import Counter
from types import SimpleNamespace

import pytest

from otelflow_exporters._spool import memory as module
from otelflow_exporters._spool.batches import CLOSED, Item
from otelflow_exporters._spool.memory import Memory
from otelflow_exporters._spool.signals import SPANS
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.records import Segment, is_note, spans_of
from otelflow_exporters._store.writer import SegmentWriter
from otelflow_exporters.spool import SpoolSpanProcessor
from support.programs import run_python
from support.servers import wait_until
from support.spools import distinct, provider_with


@pytest.fixture
def memory(monkeypatch):
    """A memory of ten bytes."""
    monkeypatch.setattr(module, "LARGEST_MEMORY", 10)
    return Memory()


def test_the_oldest_go_when_there_is_no_room(memory):
    surplus = [memory.add(body) for body in (b"aaaa", b"bbbb", b"cc", b"d", b"e" * 10)]

    assert surplus == [0, 0, 0, 1, 3]
    assert memory.take(10) == [b"e" * 10]


def test_what_is_larger_than_all_room_goes_itself(memory):
    assert memory.add(b"x" * 11) == 1
    assert len(memory) == 0
    assert memory.add(b"x" * 10) == 0


def test_what_is_on_its_way_still_counts_and_takes_its_room_until_it_has_gone(memory):
    for body in (b"aaa", b"bbb", b"ccc"):
        memory.add(body)
    bodies = memory.take(2)
    surplus = memory.add(b"dd")  # the one that waits must go, not those that may have arrived

    assert (bodies, surplus, len(memory)) == ([b"aaa", b"bbb"], 1, 3)
    assert memory.give_back(bodies, 2, is_done=True) == 2
    assert [memory.add(b"e" * 8), memory.add(b"f")] == [0, 1]


def test_what_was_tried_in_vain_is_taken_after_the_others_and_what_was_not_tried_before_them(memory):
    for letter in (b"a", b"b", b"c", b"d"):
        memory.add(letter)
    bodies = memory.take(3)

    assert memory.give_back(bodies, 1, is_done=False) == 0
    assert memory.take(9) == [b"b", b"c", b"d", b"a"]


def test_what_was_given_up_meanwhile_has_not_gone(memory):
    for letter in (b"a", b"b", b"c"):
        memory.add(letter)
    bodies = memory.take(2)
    count = memory.give_up()

    assert count == 3
    assert memory.give_back(bodies, 2, is_done=True) == 0
    assert (len(memory), memory.take(9)) == (0, [])
    assert memory.add(b"x" * 10) == 0, "all room is free again"


def test_there_is_room_for_sixteen_megabytes():
    memory = Memory()

    assert memory.add(bytes(16 * 1024 * 1024)) == 0
    assert memory.add(b"x") == 1
    assert len(memory) == 1


class Taking:
    """Takes some of what it is to ship."""

    def __init__(self, tried, *, is_done):
        self.answer = tried, is_done
        self.items = []

    def send_records(self, items):
        self.items = items
        return self.answer


def test_what_has_been_shipped_has_gone_and_what_nobody_can_read_is_one_item():
    signal = SPANS._replace(read=lambda body, end: Item(end, [body], 2) if body != b"noise" else None)
    memory = Memory(signal)
    for body in (b"a", b"noise", b"b"):
        memory.add(body)
    delivery = Taking(2, is_done=True)

    assert memory.send(delivery, 2) == 2
    assert delivery.items == [Item(0, [b"a"], 2), Item(0, [], 1)]
    assert (len(memory), memory.take(9)) == (1, [b"b"])


def test_what_has_gone_once_is_counted_once():
    memory = Memory()
    memory.add(b"a")
    bodies = memory.take(1)

    assert memory.give_back(bodies, 1, is_done=True) == 1
    assert memory.give_back(bodies, 1, is_done=True) == 0
    assert len(memory) == 0


def test_what_was_not_taken_is_shipped_again():
    memory = Memory()
    memory.add(b"a")

    assert memory.send(Taking(1, is_done=False), 1) == 0
    assert (len(memory), memory.take(9)) == (1, [b"a"])


# Back to the folder


@pytest.fixture
def writer(tmp_path):
    """Writes to a folder, unless its ``error`` is raised before or after."""
    writer = SegmentWriter(tmp_path, Limits())
    writer.before = writer.after = None

    def write(body):
        if writer.before is not None:
            raise writer.before
        writer.append(body, 1)
        if writer.after is not None:
            raise writer.after

    writer.write = write
    yield writer
    writer.close()


def test_what_is_written_to_the_folder_is_kept_no_more(memory, writer):
    for body in (b"aaa", b"bbb", b"ccc"):
        memory.add(body)

    assert [memory.move_first(writer.write, writer) for _ in range(4)] == [True, True, True, False]
    assert (len(memory), writer.spans) == (0, 3)
    assert memory.add(b"x" * 10) == 0, "all room is free again"


@pytest.mark.parametrize(("moment", "left"), [("before", [b"aaa", b"bbb"]), ("after", [b"bbb"])])
def test_what_is_not_written_stays_and_what_is_goes_though_ctrl_c_comes(memory, writer, moment, left):
    memory.add(b"aaa")
    memory.add(b"bbb")
    setattr(writer, moment, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        memory.move_first(writer.write, writer)

    assert memory.take(9) == left
    assert writer.spans + len(left) == 2


def test_what_is_taken_back_waits_as_before_and_its_answer_counts_no_more(memory, writer):
    for body in (b"a", b"b", b"c"):
        memory.add(body)
    bodies = memory.take(2)

    assert memory.move_first(writer.write, writer), "what is not on its way"
    memory.take_back()

    assert memory.give_back(bodies, 2, is_done=True) == 0
    assert memory.take(9) == [b"a", b"b"]


def stored_in(folder):
    """Return the names of the spans that have ended and wait in the files of *folder*."""
    records = [record for path in folder.glob("*.otlp") for record in Segment(path.read_bytes()).records()]
    return [span.name for record in records for span in spans_of(record.traces) if not is_note(span)]


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes nothing until ``free()`` is called."""
    write = os.write
    disk = SimpleNamespace(is_full=True)

    def refuse(descriptor, content):
        if disk.is_full:
            raise OSError(28, "No space left on device")
        return write(descriptor, content)

    monkeypatch.setattr("otelflow_exporters._store.writer.os.write", refuse)
    return disk


@pytest.mark.parametrize("is_shipped", [True, False])
def test_what_waits_in_memory_goes_to_the_files_when_there_is_room_again(receiver, folder, full_disk, is_shipped):
    receiver.status = 503
    processor = SpoolSpanProcessor(folder, is_shipped=is_shipped)
    tracer = provider_with(processor)
    for _ in range(600):
        tracer.start_span("early").end()
    in_memory = len(processor._spool._memory)

    full_disk.is_full = False
    wait_until(lambda: not processor._spool._memory)
    tracer.start_span("late").end()
    ended = Counter(stored_in(folder))
    account = processor.account
    processor.shutdown()
    receiver.status = 200
    receiver.requests.clear()
    done = run_python("-m", "otelflow", "ship", folder, "--once", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert (in_memory, ended) == (600, {"early": 600, "late": 1})
    assert account == ("traces", "SpoolSpanProcessor", 601, 0, {})
    assert processor.waiting == 601
    assert done.returncode == 0
    assert distinct(receiver) == {"early": 600, "late": 1}


@pytest.mark.parametrize("is_shipped", [True, False])
@pytest.mark.parametrize("is_full", [True, False])
def test_what_is_in_memory_at_the_end_is_written_if_there_is_room_and_else_lost_and_counted(
    receiver, folder, full_disk, monkeypatch, is_shipped, is_full
):
    receiver.status = 503
    processor = SpoolSpanProcessor(folder, is_shipped=is_shipped)
    monkeypatch.setattr(processor._spool.worker, "start_thread", lambda: False)
    tracer = provider_with(processor)
    for _ in range(5):
        tracer.start_span("kept").end()

    full_disk.is_full = is_full
    processor.shutdown()

    assert processor.account == ("traces", "SpoolSpanProcessor", 5, 0, {"shutdown": 5} if is_full else {})
    assert len(stored_in(folder)) == (0 if is_full else 5)
    if not is_full:
        (path,) = folder.glob("*.otlp")
        assert path.read_bytes().endswith(CLOSED), "no run of it is lost"


@pytest.mark.parametrize("is_full", [True, False])
def test_ctrl_c_at_the_end_costs_nothing_for_which_there_is_room(receiver, folder, full_disk, monkeypatch, is_full):
    def interrupt(_):
        raise KeyboardInterrupt

    receiver.status = 503
    processor = SpoolSpanProcessor(folder)
    monkeypatch.setattr(processor._spool.worker, "start_thread", lambda: False)
    monkeypatch.setattr(processor._spool.worker, "work_here", interrupt)
    tracer = provider_with(processor)
    for _ in range(5):
        tracer.start_span("kept").end()

    full_disk.is_full = is_full
    with pytest.raises(KeyboardInterrupt):
        processor.shutdown()

    assert processor.account == ("traces", "SpoolSpanProcessor", 5, 0, {"shutdown": 5} if is_full else {})
    assert len(stored_in(folder)) == (0 if is_full else 5)


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_what_is_written_while_a_signal_handler_shuts_down_waits_in_a_file_or_is_lost_and_counted(
    receiver, folder, monkeypatch, is_in_memory
):
    receiver.status = 503
    processor = SpoolSpanProcessor(None if is_in_memory else folder)
    tracer = provider_with(processor)
    spool = processor._spool
    span = tracer.start_span("interrupted")

    # Its thread can do nothing before the interrupted one goes on: who waited for it would wait so long.
    spool.worker.shutdown_timeout = 600.0

    def shut_down(*_):
        monkeypatch.undo()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        flushes.append(processor.force_flush(600_000))
        processor.shutdown()
        return OSError(9, "Bad file descriptor")

    def interrupted(descriptor, content):
        raise shut_down()

    def add(body):
        shut_down()
        return memory.add(body)

    memory, flushes = spool._memory, []
    if is_in_memory:
        monkeypatch.setattr(spool, "_memory", SimpleNamespace(add=add))
    else:
        # Of that module alone: other threads of the process write, too.
        monkeypatch.setattr(
            "otelflow_exporters._store.writer.os", SimpleNamespace(**{**vars(os), "write": interrupted})
        )
    ending = threading.Thread(target=span.end, daemon=True)
    ending.start()
    ending.join(30)

    assert not ending.is_alive()
    assert flushes == [not is_in_memory], "in a file nothing is yet"
    assert len(memory) == 0
    assert stored_in(folder) == ([] if is_in_memory else ["interrupted"])
    assert processor.account == ("traces", "SpoolSpanProcessor", 1, 0, {"shutdown": 1} if is_in_memory else {})
