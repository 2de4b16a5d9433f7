"""Containers are shown as Python shows them, bounded, in their own order, on every Python."""

import collections

import pytest

from otelflow._core.text.safe_str import brief_repr, safe_str


@pytest.mark.parametrize(
    "value",
    [[1, 2], (1,), {"b": 1, "a": [2, {"c": None}]}, {3}, frozenset({3}), collections.deque([1]), [], {}, ["x" * 300]],
    ids=repr,
)
def test_a_small_container_is_shown_whole(value):
    assert safe_str(value, 1_000) == repr(value)


def test_a_huge_container_costs_little_and_is_cut():
    text = safe_str(list(range(1_000_000)), 2_000)

    assert text.startswith("[0, 1, 2, 3,")
    assert text.endswith("...]")
    assert len(text) < 2_000


def test_a_huge_nested_container_costs_little_too():
    class Counted:
        asked = 0

        def __repr__(self):
            Counted.asked += 1
            return "0123456789"

    item = Counted()

    text = safe_str([[[item] * 200] * 200] * 200, 2_000)

    assert Counted.asked <= 200
    assert 1_800 < len(text) < 2_600


@pytest.mark.parametrize("value", [10**5_000, [10**5_000], "caf\ud83d" * 100, object], ids=type)
def test_a_value_is_shown_briefly_in_an_error_whatever_it_is(value):
    text = brief_repr(value)

    assert 0 < len(text) <= 80
    assert text.encode()
