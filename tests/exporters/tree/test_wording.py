import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow_exporters._tree.wording import clean, lines_of, one_line, size


@pytest.mark.parametrize(("amount", "words"), [(0, "0 bytes"), (1234, "1.23 kB"), (5e6, "5 MB"), (2e9, "2 GB")])
def test_a_size_is_for_people(amount, words):
    assert size(amount) == words


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


def test_long_texts_are_cut_and_say_so():
    assert clean("x" * 50, 10) == "x" * 10 + "…"
    assert lines_of("a\nb\nc\nd", 2) == (["a", "b", "… 2 more lines"], 2)
    assert lines_of("a\nb", 2) == (["a", "b"], 0)
    assert one_line("a\n  b\tc") == "a b c"


def test_a_text_is_cut_behind_its_limit_and_not_at_it():
    assert [clean("abc", 3), clean("abcd", 3)] == ["abc", "abc…"]
    assert clean("x" * 2_001) == "x" * 2_000 + "…"
    assert one_line("x" * 501) == "x" * 500 + "…"


def test_lines_that_are_very_long_are_cut_also_when_they_are_few():
    assert lines_of("x" * 400, 2) == (["x" * 400], 0)
    assert lines_of("x" * 401, 2) == (["x" * 400 + "…", "…"], 1)
    assert lines_of("a\nb\nc", 2) == (["a", "b", "… 1 more line"], 1)
    assert lines_of("\n".join("x" * 1_501), 1)[0][-1] == "… 1,500 more lines"


def test_a_size_changes_its_unit_at_a_thousand():
    words = [size(amount) for amount in (1, 999, 1_000, 999_000, 1e6, 999e6, 1e9, 25e12)]

    assert words == ["1 bytes", "999 bytes", "1 kB", "999 kB", "1 MB", "999 MB", "1 GB", "2.5e+04 GB"]
