"""YAML is read back the same, and is written for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

from otelflow.generate._rules.yaml_text import to_yaml  # noqa: E402 needs PyYAML

PLAIN = st.recursive(
    st.text()
    | st.integers()
    | st.booleans()
    | st.none()
    | st.sampled_from(["a\nb\n", "on", "1e3", "- x", "a: b", 'it\'s "x"']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_written_as_yaml_is_read_back_the_same(value):
    assert yaml.safe_load(to_yaml(value, "a comment")) == value


@pytest.mark.parametrize("text", ["y", "n", "1e3", "+1", "", "0x1f", "~"])
def test_what_a_reader_of_another_language_takes_for_something_else_stands_in_quotes(text):
    assert to_yaml(text) == f"'{text}'\n"


def test_words_and_lines_are_written_for_people():
    assert to_yaml({"word": "ab", "lines": "one\ntwo\n"}) == "word: ab\nlines: |\n  one\n  two\n"


def test_what_cannot_be_seen_is_written_as_an_escape_also_in_one_of_several_lines():
    assert to_yaml({"text": "one\n\u202etwo\u2028\U000e0041"}) == 'text: "one\\n\\u202Etwo\\L\\U000E0041"\n'
