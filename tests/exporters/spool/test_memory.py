"""What waits in memory: so many bytes, the oldest go first, and nothing is counted twice."""

import pytest

from otelflow_exporters._spool import memory as module
from otelflow_exporters._spool.batches import Item
from otelflow_exporters._spool.memory import Memory
from otelflow_exporters._spool.signals import SPANS


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
