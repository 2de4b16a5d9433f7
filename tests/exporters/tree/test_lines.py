"""Lines in a given room: ids, paths and addresses stay whole, so that they can be copied."""

import pytest

from otelflow_exporters._tree.lines import cut_left, joined, wrapped


@pytest.mark.parametrize(
    ("line", "room", "lines"),
    [
        ("fits in it", 10, ["fits in it"]),
        ("one two six", 7, ["one two", "six"]),
        ("one two six", 6, ["one", "two", "six"]),
        ("  one two six", 7, ["  one", "  two", "  six"]),
        ("  one two", 8, ["  one", "  two"]),
        ("        deep words", 10, ["     deep", "     words"]),
        ("a " + "b" * 12 + " c", 6, ["a", "b" * 12, "c"]),
        ("x" * 300 + " y", 10, ["x" * 300, "y"]),
        ("x" * 301, 200, ["x" * 200, "x" * 101]),
        ("漢字漢字漢字", 4, ["漢字", "漢字", "漢字"]),
        ("é" * 7, 7, ["é" * 7]),
        ("é" * 8, 7, ["é" * 7, "é"]),
        ("ü " + "é" * 7, 7, ["ü", "é" * 7]),
    ],
)
def test_a_line_is_broken_at_its_blanks_and_a_word_only_if_it_is_no_id(line, room, lines):
    assert wrapped(line, room) == lines


def test_words_stand_on_as_few_lines_as_have_room_for_them():
    words = ["aa", "bb", "cccccc", "d"]

    assert joined(words, " · ", 7) == ["aa · bb", "cccccc", "d"]
    assert joined(words, " · ", 6) == ["aa", "bb", "cccccc", "d"]
    assert joined(words, " · ", 10) == ["aa · bb", "cccccc · d"]
    assert joined([], " · ", 10) == []


@pytest.mark.parametrize(
    ("value", "room", "end"),
    [("abcdef", 6, "abcdef"), ("abcdef", 5, "…cdef"), ("'abcdef'", 6, "'…def'"), ("漢字漢字", 5, "…漢字")],
)
def test_of_a_long_value_the_end_is_shown_in_its_quotes(value, room, end):
    assert cut_left(value, room) == end
