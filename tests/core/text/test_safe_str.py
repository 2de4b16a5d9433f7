"""Containers are shown as Python shows them, bounded, in their own order, on every Python."""

import _signal
import collections
import functools
import os
import signal
import sys

import pytest

from otelflow._core.text.safe_str import bounded_name, brief_repr, cut, digits, is_cut, safe_str, without_ansi


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


class Limits:
    def __call__(self, *_):
        raise TimeoutError

    def handle(self, *_):
        raise TimeoutError


def overdue(*_):
    raise TimeoutError


@pytest.mark.parametrize(
    "handler",
    [overdue, Limits().handle, Limits(), functools.partial(overdue, "now")],
    ids=["function", "method", "object", "partial"],
)
def test_the_time_limit_of_a_job_comes_out_where_a_value_is_shown(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        for shown in (safe_str, brief_repr):
            with pytest.raises(TimeoutError):
                shown(Showing(lambda: os.kill(os.getpid(), signal.SIGTERM) or "shown"), 100)
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


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc… [cut, 4 characters]"),
        (b"abc", 3, "abc"),
        (b"abcd", 3, "abc… [cut, 4 characters]"),
        (bytearray(b"\xffa"), 10, "\\xffa"),
        (b"\xff\xff\xff", 3, "\\xf… [cut, 12 characters]"),
        (12_345, 3, "123… [cut, 5 characters]"),
        (True, 10, "True"),
        ("half \ud83d", 10, "half \\ud83d"),
        ([1, "abcdef"], 5, "[1, '… [cut, 12 characters]"),
    ],
    ids=repr,
)
def test_a_text_is_cut_behind_its_limit_and_says_how_long_it_was(value, limit, text):
    assert safe_str(value, limit) == text
    assert is_cut(safe_str(value, limit)) == ("cut" in text)


def test_what_only_looks_like_a_cut_text_is_none():
    assert not is_cut("so many characters]")
    assert not is_cut("… [cut, 4 characters] and more")
    assert not is_cut("… [cut, 4 " + "x" * 60 + " characters]")
    assert cut("abc", 2, 100) == "ab… [cut, 100 characters]"
    assert cut("ab", 2, 100) == "ab"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({n: n for n in range(201)}, "{" + ", ".join(f"{n}: {n}" for n in range(200)) + ", ...}"),
        ({n: n for n in range(200)}, "{" + ", ".join(f"{n}: {n}" for n in range(200)) + "}"),
        (list(range(201)), "[" + ", ".join(map(str, range(200))) + ", ...]"),
        ([[[[[[[1]]]]]]], "[[[[[[[...]]]]]]]"),
        ([[[[[[1]]]]]], "[[[[[[1]]]]]]"),
        ({1: {1: {1: {1: {1: {1: {1: 1}}}}}}}, "{1: {1: {1: {1: {1: {1: {...}}}}}}}"),
        ({1: {1: {1: {1: {1: {1: {}}}}}}}, "{1: {1: {1: {1: {1: {1: {}}}}}}}"),
    ],
    ids=range(8),
)
def test_a_container_shows_so_many_items_on_so_many_levels(value, text):
    assert safe_str(value, 10_000) == text


def test_in_a_container_the_beginning_of_a_text_is_shown_and_not_its_end():
    assert safe_str(["a" * 10 + "b" * 10], 12).startswith("['aaaaaaaaaa")
    assert "b" * 3 not in safe_str(["a" * 10 + "b" * 10], 12)


@pytest.mark.parametrize("power", [598, 599, 600, 601, 640, 1_199, 1_200, 1_800, 19_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_digits_of_an_int_are_its_digits(power, sign):
    number = sign * (10**power + 7)

    assert digits(number) == ("-" if sign < 0 else "") + "1" + "0" * (power - 1) + "7"


def test_a_gigantic_int_has_hexadecimal_digits():
    assert digits(1 << 100_000) == hex(1 << 100_000)
    assert digits(-(1 << 100_000)) == hex(-(1 << 100_000))
    assert digits(10**19_999 - 1) == "9" * 19_999


class GreenletExit(BaseException):
    """As greenlet has it."""


class Timeout(BaseException):
    """As gevent and eventlet have it."""


class Mine(Timeout):
    """One of a program."""


class BaseTimeoutException(Exception):
    """As RQ throws it into a thread where there are no signals."""


class JobTimeoutException(BaseTimeoutException):
    """The one of a job."""


class Interrupt(BaseException):
    """As dramatiq throws it into the thread of an actor."""


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), GreenletExit(), Timeout(), Mine(), Interrupt(), JobTimeoutException()], ids=repr
)
def test_what_is_thrown_into_a_thread_comes_out_wherever_it_is(error):
    def show():
        raise error

    for shown in (safe_str, brief_repr):
        with pytest.raises(type(error)):
            shown(Showing(show), 100)


class Service:
    def leave(self, *_):
        raise SystemExit(7)


def test_what_a_method_that_handles_a_signal_raises_comes_out():
    before = signal.signal(signal.SIGTERM, Service().leave)
    try:
        with pytest.raises(SystemExit):
            safe_str(Showing(lambda: os.kill(os.getpid(), signal.SIGTERM) or "shown"), 100)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_object_that_cannot_be_shown_in_an_error_is_named():
    def show():
        raise ValueError("no")

    assert brief_repr(Showing(show)) == "<Showing: repr() raised ValueError>"
    assert brief_repr("x" * 100, 5) == "'xxxx"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("é" * 256, "é" * 256),
        ("half \ud83d", "half \\ud83d"),
        ("x" * 257, "x" * 255 + "…"),
        ("\ud83d" * 200, "\\ud83d" * 42 + "\\ud" + "…"),
    ],
    ids=range(4),
)
def test_a_name_is_printable_and_its_end_marks_a_cut(value, name):
    assert bounded_name(value) == name


def test_a_text_loses_what_colours_it():
    assert without_ansi("\x1b[31mred\x1b[0m and \x1b[2Kblue") == "red and blue"
    assert without_ansi("plain [31m") == "plain [31m"


class Rows(list):
    pass


class Names(set):
    pass


class Fixed(frozenset):
    pass


class Line(collections.deque):
    pass


class Tally(collections.Counter):
    pass


class Labelled(dict):
    def __repr__(self):
        return "labelled"


@pytest.mark.parametrize(
    "value",
    [
        Rows([1]),
        Names({1}),
        Names(),
        Fixed({1}),
        Line([1]),
        Tally("a"),
        Labelled(a=1),
        collections.Counter("a"),
        collections.Counter(),
        collections.defaultdict(int, {1: [2]}),
        collections.defaultdict(list),
        collections.OrderedDict(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_small_container_of_a_subclass_is_shown_as_it_shows_itself(value):
    assert safe_str(value, 1_000) == repr(value)


class Loud:
    shown = 0

    def __repr__(self):
        Loud.shown += 1
        return "loud"


@pytest.mark.parametrize(
    "container",
    [
        Rows,
        Names,
        Fixed,
        Line,
        set,
        frozenset,
        collections.Counter,
        Tally,
        collections.OrderedDict.fromkeys,
        lambda items: collections.defaultdict(list, dict.fromkeys(items)),
    ],
)
def test_of_a_large_container_of_a_subclass_no_more_is_looked_at_than_is_shown(container):
    value = container([Loud() for _ in range(10_000)])
    Loud.shown = 0
    text = safe_str(value, 100_000)

    assert Loud.shown == 200
    assert "loud, ..." in text or "loud: None, ..." in text or "loud: 1, ..." in text
