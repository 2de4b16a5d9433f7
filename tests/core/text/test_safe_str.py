"""Containers are shown as Python shows them, bounded, in their own order, on every Python."""

import collections

import pytest

from otelflow._core.text.safe_str import safe_str


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
