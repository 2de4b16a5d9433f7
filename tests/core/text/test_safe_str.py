"""Containers are shown as Python shows them, bounded, in their own order, on every Python."""

import _signal
import collections
import functools
import os
import signal
import sys

import pytest

from otelflow._core.text.safe_str import bounded_name, brief_repr, safe_str


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


class Showing:
    def __init__(self, show):
        self.show = show

    def __repr__(self):
        return self.show()


class Panic(BaseException):
    """As a library in another language raises it."""


@pytest.mark.parametrize("error", [Panic(), SystemExit(1), GeneratorExit(), RecursionError()])
def test_whatever_an_object_raises_when_it_is_shown_stays_inside(error):
    def show():
        raise error

    assert safe_str(Showing(show), 100) == f"<Showing: str() raised {type(error).__name__}>"
    assert safe_str([Showing(show)], 100) == f"<list: str() raised {type(error).__name__}>"


def leave(*_):
    sys.exit(7)


@pytest.mark.parametrize("handler", [leave, functools.partial(leave, "now")], ids=["function", "partial"])
def test_what_a_signal_handler_raises_comes_out(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit):
            safe_str(Showing(lambda: os.kill(os.getpid(), signal.SIGTERM) or "shown"), 100)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_handler_that_cannot_be_shown_is_not_shown():
    def show():
        raise SystemExit

    # As asyncio.run() has one; signal.signal() would show it when it is taken back.
    before = _signal.signal(signal.SIGTERM, functools.partial(leave, Showing(show)))
    try:
        assert safe_str(Showing(show), 100) == "<Showing: str() raised SystemExit>"
    finally:
        _signal.signal(signal.SIGTERM, before)


def test_an_int_of_any_length_has_its_digits():
    assert safe_str(10**5_000, 10_000) == "1" + "0" * 5_000
    assert safe_str([-(10**5_000)], 10_000) == "[-1" + "0" * 5_000 + "]"


@pytest.mark.parametrize(
    ("value", "name"),
    [("load", "load"), ("x" * 256, "x" * 256), ("x" * 5_000_000, "x" * 255 + "…"), (5, "5")],
    ids=repr,
)
def test_a_name_is_a_bounded_text(value, name):
    assert bounded_name(value) == name
