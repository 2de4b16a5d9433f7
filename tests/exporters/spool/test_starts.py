"""What is kept of spans that have started, and how much of it."""

import pytest

from otelflow_exporters._spool import starts

BEGINNING = ((b"", b"", b"", 0, 0), "name", b"head", b"tail", 0)


@pytest.fixture
def small(monkeypatch):
    """Has room for ten bytes."""
    monkeypatch.setattr(starts, "_LARGEST", 10)
    return starts.Starts()


def test_records_are_kept_as_long_as_there_is_room(small):
    is_kept = [
        small.add(1, b"12345", "first", BEGINNING),
        small.add(2, b"12345", "second", BEGINNING),
        small.add(3, b"1", "third", BEGINNING),
    ]

    assert is_kept == [True, True, False]
    assert small.records() == [b"12345", b"12345"]
    assert small.spans() == {1: "first", 2: "second"}


def test_what_has_ended_makes_room(small):
    small.add(1, b"1234567890", "first", BEGINNING)
    small.remove(1)
    small.remove(1)

    assert (small.records(), small.spans(), len(small)) == ([], {}, 0)
    assert small.add(2, b"1234567890", "second", BEGINNING)
    assert not small.add(3, b"1", "third", BEGINNING)


def test_a_record_takes_the_place_of_an_earlier_one_if_there_is_room_for_what_is_more(small):
    small.add(1, b"12345", "first", BEGINNING)
    is_replaced = [small.replace(1, b"1234567890"), small.replace(1, b"12345678901"), small.replace(2, b"1")]

    assert is_replaced == [True, False, False]
    assert small.records() == [b"1234567890"]
    assert (small.spans(), small.beginning(1)) == ({1: "first"}, BEGINNING)
    assert not small.add(2, b"1", "second", BEGINNING)

    assert small.replace(1, b"1")
    assert small.add(2, b"123456789", "second", BEGINNING)
    assert not small.add(3, b"1", "third", BEGINNING)


def test_there_is_room_for_many_spans():
    many = starts.Starts()
    kept = [many.add(number, bytes(1024 * 1024), "span", BEGINNING) for number in range(8)]
    kept.append(many.add(8, b"1", "span", BEGINNING))

    assert kept == [True] * 8 + [False]


def test_what_stays_of_a_span_is_there_until_it_ends(small):
    small.add(1, b"1", "first", BEGINNING)
    before = small.beginning(1)
    small.remove(1)

    assert before is BEGINNING
    assert small.beginning(1) is None
