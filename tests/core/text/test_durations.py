import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow._core.text import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        ("1h 30m", 5_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("500ms", 0.5),
        ("9ms", 0.009),
        ("4.1m", 246),
        ("1.1h", 3_960),
        (" 10 S ", 10),
        ("0s", 0),
    ],
)
def test_a_text_says_how_many_seconds(text, seconds):
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10", "m", "10 minutes", "-5m", "1h-30m", "1,5h", "5m!", "٣s"])
def test_a_text_that_says_no_length_of_time_is_refused(text):
    with pytest.raises(ValueError, match="is no length of time such as 90s"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ns"),
        (0, "0 ns"),
        (9.99e-7, "999 ns"),
        (1e-9, "1 ns"),
        (1e-6, "1 µs"),
        (0.001, "1 ms"),
        (0.01234, "12.3 ms"),
        (0.9999, "1000 ms"),
        (1.5, "1.5 s"),
        (59.94, "59.9 s"),
        (60, "1 m 00 s"),
        (3_599.9, "59 m 59 s"),
        (3_600, "1 h 00 m"),
        (3_900, "1 h 05 m"),
        (86_399, "23 h 59 m"),
        (86_400, "1 d 00 h"),
        (86_400 * 2 + 7_200, "2 d 02 h"),
    ],
)
def test_measured_seconds_have_one_unit_or_two_from_a_minute_on(seconds, words):
    assert durations.in_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0ms"), (0.25, "250ms"), (2.5, "2s 500ms"), (90, "1m 30s"), (5_400, "1h 30m"), (604_800, "7d")],
)
def test_agreed_seconds_are_written_exactly(seconds, words):
    assert durations.in_units(seconds) == words


@given(st.integers(0, 10**12))
def test_what_is_written_exactly_is_read_back(milliseconds):
    written = durations.in_units(milliseconds / 1_000)

    assert round(durations.parse(written) * 1_000) == milliseconds


@given(st.text())
def test_no_text_breaks_the_parser(text):
    with contextlib.suppress(ValueError):
        assert durations.parse(text) >= 0
