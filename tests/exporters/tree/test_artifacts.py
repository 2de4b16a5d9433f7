from rich.console import Console

from otelflow_exporters._tree import glyphs
from otelflow_exporters._tree.artifacts import block_lines
from otelflow_exporters._tree.details import Detail


def lines(form, block):
    return [
        line.plain.rstrip()
        for line in block_lines(Detail("artifact", form=form, block=block), Console(width=80), glyphs.UNICODE, 60)
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
