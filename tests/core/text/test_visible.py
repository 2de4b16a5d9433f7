import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow._core.text.visible import clean, colored, one_line


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\x00\x08b\x7f\x85c", "abc"),
        ("a\rb\r\nc", "a\nb\nc"),
        ("\u202eevil\u2066", "evil"),
        ("half \ud800", "half "),
        ("hidden\U000e0068\U000e0069\U000e007f", "hidden"),
        ("a\u00ad\u2062\u3164\u180e\ufff9\U000e0100b", "ab"),
        ("👩\u200d🔧 ❤\ufe0f", "👩\u200d🔧 ❤\ufe0f"),
        ("tab\tkept", "tab    kept"),
        ("漢字 é 🎉", "漢字 é 🎉"),
    ],
)
def test_a_terminal_finds_nothing_to_obey_in_a_text(text, cleaned):
    assert clean(text) == cleaned


@given(st.text())
def test_no_control_character_survives(text):
    assert not [c for c in clean(text) if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"]


def test_no_format_character_survives_but_joiners_and_those_that_can_be_seen():
    formats = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in ("Cf", "Zl", "Zp")]

    names = {unicodedata.name(c) for c in formats if clean(c)}

    assert {name.split()[0] for name in names} <= {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN", "ZERO"}
    assert {name for name in names if "ZERO" in name} == {"ZERO WIDTH NON-JOINER", "ZERO WIDTH JOINER"}


def test_a_text_is_cut_behind_its_limit_and_not_at_it():
    assert [clean("abc", 3), clean("abcd", 3)] == ["abc", "abc…"]
    assert clean("x" * 2_001) == "x" * 2_000 + "…"
    assert one_line("x" * 501) == "x" * 500 + "…"


def test_a_text_on_one_line_has_one_blank_between_its_words():
    assert one_line("a\n  b\tc\r\x0bd") == "a b c d"
    assert one_line("x" * 50, 10) == "x" * 10 + "…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\nlines"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[38:5:9mred", "\x1b[38:5:9mred\x1b[0m"),
        ("up\x1b[2A\x1b[31mred\x1b]0;title\x07", "up\x1b[31mred\x1b[0m"),
        ("hidden\x1b[8m\u202e\U000e0068", "hidden\x1b[8m\x1b[0m"),
        ("é\u2066", "é"),
        ("\x1b[31m\x07", "\x1b[31m\x1b[0m"),
        ("\x1b[0m\x1b[31mé", "\x1b[0m\x1b[31mé\x1b[0m"),
        ("\x1b[31mé\x1b[0m", "\x1b[31mé\x1b[0m"),
        ("\x1b[0mé", "\x1b[0mé"),
        ("x" * 5_000 + "\x07", "x" * 5_000),
    ],
)
def test_of_what_a_terminal_obeys_colours_alone_stay_and_end_with_the_text(text, shown):
    assert colored(text) == shown
