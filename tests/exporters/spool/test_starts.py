"""What is kept of spans that have started, and how much of it."""

import pytest

from otelflow_exporters._spool import starts


@pytest.fixture
def small(monkeypatch):
    """Has room for ten bytes."""
    monkeypatch.setattr(starts, "_LARGEST", 10)
    return starts.Starts()


def test_records_are_kept_as_long_as_there_is_room(small):
    is_kept = [small.add(1, "first", b"12345"), small.add(2, "second", b"12345"), small.add(3, "third", b"1")]

    assert is_kept == [True, True, False]
    assert small.records == {1: b"12345", 2: b"12345"}
    assert small.spans == {1: "first", 2: "second"}


def test_what_has_ended_makes_room(small):
    small.add(1, "first", b"1234567890")
    small.remove(1)
    small.remove(1)

    assert (small.records, small.spans) == ({}, {})
    assert small.add(2, "second", b"1234567890")
    assert not small.add(3, "third", b"1")


def test_a_record_takes_the_place_of_an_earlier_one_if_there_is_room_for_what_is_more(small):
    small.add(1, "first", b"12345")
    is_replaced = [small.replace(1, b"1234567890"), small.replace(1, b"12345678901"), small.replace(2, b"1")]

    assert is_replaced == [True, False, False]
    assert small.records == {1: b"1234567890"}
    assert not small.add(2, "second", b"1")

    assert small.replace(1, b"1")
    assert small.add(2, "second", b"123456789")
    assert not small.add(3, "third", b"1")


def test_there_is_room_for_many_spans():
    many = starts.Starts()
    kept = [many.add(number, "span", bytes(1024 * 1024)) for number in range(8)]
    kept.append(many.add(8, "span", b"1"))

    assert kept == [True] * 8 + [False]
