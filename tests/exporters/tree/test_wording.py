import pytest

from otelflow_exporters._tree.wording import counted, lines_of, local_time, size


@pytest.mark.parametrize(("amount", "words"), [(0, "0 bytes"), (1234, "1.23 kB"), (5e6, "5 MB"), (2e9, "2 GB")])
def test_a_size_is_for_people(amount, words):
    assert size(amount) == words


def test_of_a_noun_of_two_words_the_last_has_the_plural():
    words = [counted(count, noun) for noun in ("span", "log record", "metrics report") for count in (0, 1, 1_000)]

    assert words == [
        *("0 spans", "1 span", "1,000 spans"),
        *("0 log records", "1 log record", "1,000 log records"),
        *("0 metrics reports", "1 metrics report", "1,000 metrics reports"),
    ]


def test_long_texts_are_cut_and_say_so():
    assert lines_of("a\nb\nc\nd", 2) == (["a", "b", "… 2 more lines"], 2)
    assert lines_of("a\nb", 2) == (["a", "b"], 0)


def test_lines_that_are_very_long_are_cut_also_when_they_are_few():
    assert lines_of("x" * 400, 2) == (["x" * 400], 0)
    assert lines_of("x" * 401, 2) == (["x" * 400 + "…", "…"], 1)
    assert lines_of("a\nb\nc", 2) == (["a", "b", "… 1 more line"], 1)
    assert lines_of("\n".join("x" * 1_501), 1)[0][-1] == "… 1,500 more lines"


def test_a_size_changes_its_unit_at_a_thousand():
    words = [size(amount) for amount in (1, 999, 1_000, 999_000, 1e6, 999e6, 1e9, 25e12)]

    assert words == ["1 bytes", "999 bytes", "1 kB", "999 kB", "1 MB", "999 MB", "1 GB", "2.5e+04 GB"]


def test_what_is_hidden_is_counted_by_what_is_shown():
    assert lines_of("a\n" * 3, 2) == (["a", "a", "… 1 more line"], 1)
    assert lines_of("a\rb\r\nc\rd", 2) == (["a", "b", "… 2 more lines"], 2)
    assert lines_of("x" * 401 + "\nb" * 9, 2) == (["x" * 400 + "…", "… 9 more lines"], 9)


@pytest.mark.parametrize("nanoseconds", [10**21, -(10**21), 10**40], ids=str)
def test_a_time_that_no_calendar_has_is_the_beginning_of_all(nanoseconds):
    assert local_time(nanoseconds) == local_time(0)
