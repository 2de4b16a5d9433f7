import json

import pytest
from rich.console import Console

from otelflow_exporters._tree import glyphs
from otelflow_exporters._tree.artifacts import block_of
from otelflow_exporters._tree.details import Detail


def lines(form, block):
    return [
        line.plain.rstrip()
        for line in block_of(Detail("artifact", form=form, block=block), Console(width=80), glyphs.UNICODE, 60).lines
    ]


def test_one_empty_line_stays_between_two_parts_and_none_at_the_ends():
    assert lines("text", "\n\none\n\n\n\ntwo\nthree\n\n") == ["one", "", "two", "three"]


def test_of_many_lines_the_rest_is_counted():
    block = "\n".join(map(str, range(50)))

    assert lines("text", block)[-2:] == ["39", "… 10 more lines"]


def test_of_a_large_table_the_rest_is_counted():
    rows = "[" + ", ".join("{" + ", ".join(f'"c{n}": {n}' for n in range(10)) + "}" for _ in range(25)) + "]"

    assert "5 more rows, 2 more columns" in lines("table", rows)[-1]


def test_a_single_object_is_a_table_of_one_row():
    assert [line.split() for line in lines("table", '{"file": "a.py", "lines": 10}')][::2] == [
        ["file", "lines"],
        ["a.py", "10"],
    ]


@pytest.mark.parametrize(
    ("percent", "full", "words"),
    [
        ("0", 0, "0 %"),
        ("2.4", 0, "2.4 %"),
        ("40", 8, "40 %"),
        ("100", 20, "100 %"),
        ("130", 20, "130 %"),
        ("-7", 0, "-7 %"),
    ],
)
def test_a_progress_is_a_bar_of_twenty_that_is_never_more_than_full(percent, full, words):
    assert lines("progress", percent) == [f"{'█' * full}{'░' * (20 - full)} {words}"]


def test_what_does_not_fit_its_form_is_text():
    assert lines("progress", "soon") == ["soon"]
    assert lines("table", '{"a": 1') == ['{"a": 1']
    assert lines("table", "[1, 2]") == ["[1, 2]"]
    assert lines("table", "7") == ["7"]
    assert lines("table", '["ab"]') == ['["ab"]']
    assert lines("table", '["ab", {"a": 1}]') == ['["ab", {"a": 1}]']


def test_a_table_of_lists_has_numbers_for_names_and_numbers_stand_at_the_right():
    assert lines("table", '[[1, "a"], [200, "b", "c"]]') == [
        "   0   1   2",
        " ───────────",
        "   1   a",
        " 200   b   c",
    ]


def test_as_many_lines_rows_and_columns_as_fit_are_shown_whole():
    assert lines("text", "\n".join(map(str, range(40))))[-1] == "39"
    rows = json.dumps([{f"c{number}": "x" for number in range(8)}] * 20)
    assert not any("more" in line for line in lines("table", rows))
    assert len(lines("table", rows)) == 22
    more = json.dumps([{f"c{number}": "x" for number in range(9)}] * 21)
    assert "1 more row, 1 more column" in lines("table", more)[-1]
    many = json.dumps([{"c": 1}] * 2_021)
    assert lines("table", many)[-1] == "2,001 more rows", "however narrow the table is"


def test_a_column_is_of_numbers_if_every_row_that_is_shown_has_one_there():
    rows = [{"name": "a", "n": 1, "mixed": 1}, {"name": "b", "mixed": "x"}]

    first = lines("table", json.dumps(rows))[2]

    assert first.index("1") > first.index("a")
    assert lines("table", json.dumps(rows)) == [
        " name   n   mixed",
        " ────────────────",
        " a      1   1",
        " b          x",
    ]


def test_markdown_shows_where_its_links_lead_and_an_error_is_red():
    assert lines("markdown", "[docs](https://example.org)") == ["docs (https://example.org)"]
    (line,) = block_of(Detail("x", form="error", block="it broke"), Console(width=80), glyphs.UNICODE, 60).lines
    assert [str(span.style) for span in line.spans] == ["red"]


def test_a_narrow_page_still_has_room_for_ten_characters():
    detail = Detail("x", form="text", block="abcdefghijkl")

    parts = [line.plain for line in block_of(detail, Console(width=80), glyphs.UNICODE, 2).lines]

    assert parts == ["abcdefghij", "kl"]


def test_why_an_artifact_is_shown_as_text_is_in_the_log_for_whoever_looks(caplog):
    caplog.set_level("DEBUG", "otelflow_exporters")

    lines("progress", "soon")

    assert caplog.messages == ["An artifact cannot be rendered as progress"]
    assert "ValueError" in caplog.text


@pytest.mark.parametrize(
    ("form", "block", "counts"),
    [
        ("table", '[{"name": "tea", "note": "%s"}]' % ("x" * 200), {}),
        ("table", '[{"name": "tea", "note": "%s"}]' % ("x" * 201), {"value": 1}),
        ("table", '[{"name": "%s"}' % ("x" * 10), {}),
        ("table", "x" * 20_001, {"line": 1 + 20_001 // 60 + 1 - 40}),
    ],
    ids=["short", "long", "broken", "long and broken"],
)
def test_whatever_is_cut_is_counted(form, block, counts):
    block_of_it = block_of(Detail("artifact", form=form, block=block), Console(width=80), glyphs.UNICODE, 60)

    assert +block_of_it.hidden == counts
