"""Render the content of artifacts: markdown, tables, progress; anything else is text."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from otelflow._core.text.own_logger import log, own_logger
from otelflow._core.text.visible import clean, one_line
from otelflow_exporters._tree.details import Detail
from otelflow_exporters._tree.wording import counted

_LINES: Final = 40
_ROWS: Final = 20
_COLUMNS: Final = 8
_ALL: Final = 1_000_000_000
_LONGEST_CELL: Final = 200
_LONGEST_TEXT: Final = 20_000
_PROGRESS_STEP: Final = 5

_logger = own_logger(__name__)


class Block(NamedTuple):
    """The lines of a rendered artifact, and how much of it is not among them, by noun."""

    lines: list[Text]
    hidden: Counter[str]


def block_of(
    detail: Detail, console: Console, glyphs: Mapping[str, str], width: int, *, is_whole: bool = False
) -> Block:
    """Return a rendered artifact; content that does not fit its form comes out as text."""
    hidden: Counter[str] = Counter()
    options = console.options.update(width=max(10, width), height=None)
    try:
        rendered = console.render_lines(_rendered(detail, glyphs, hidden, is_whole=is_whole), options, pad=False)
    except Exception as error:  # noqa: BLE001 rich, and what a user has put in there
        log(_logger, logging.DEBUG, "An artifact cannot be rendered as %s", detail.form, error=error)
        longest = _ALL if is_whole else _LONGEST_TEXT
        hidden["line"] += len(detail.block) > longest
        text = clean(detail.block, longest)
        rendered = console.render_lines(Text(text), options, pad=False)
    lines = [
        Text.assemble(*((segment.text, segment.style or "") for segment in line if not segment.control))
        for line in rendered
    ]
    # Between two parts one empty line stays; the others, and those at the ends, go.
    filled = [number for number, line in enumerate(lines) if line.plain.strip()]
    gaps = {number + 1 for number, following in pairwise(filled) if following > number + 1}
    lines = [lines[number] for number in sorted({*filled, *gaps})]
    if len(lines) > _LINES and not is_whole:
        count = len(lines) - _LINES
        hidden["line"] += count
        lines[_LINES:] = [Text(f"{glyphs['more']}{counted(count, 'line', 'more ')}", style="dim")]
    return Block(lines, hidden)


def _rendered(detail: Detail, glyphs: Mapping[str, str], hidden: Counter[str], *, is_whole: bool) -> RenderableType:
    if detail.form == "markdown":
        # Without hyperlinks the address is printed, so that a reader sees where a link leads.
        return Markdown(detail.block, hyperlinks=False)
    if detail.form == "table":
        return _table(detail.block, hidden, is_whole=is_whole)
    if detail.form == "progress":
        percent = float(detail.block)
        full = round(min(100.0, max(0.0, percent)) / _PROGRESS_STEP)
        return Text(f"{glyphs['full'] * full}{glyphs['empty'] * (100 // _PROGRESS_STEP - full)} {percent:g} %")
    return Text(detail.block, style="red" if detail.form == "error" else "")


def _table(block: str, hidden: Counter[str], *, is_whole: bool) -> RenderableType:
    """Return a list of objects (or of lists) as a table; raise for anything else."""
    most_rows, most_columns, longest = (_ALL, _ALL, _ALL) if is_whole else (_ROWS, _COLUMNS, _LONGEST_CELL)
    content = json.loads(block)
    content = [content] if isinstance(content, dict) else content
    if not isinstance(content, list) or not all(isinstance(row, dict | list) for row in content):
        raise TypeError("a table is a list of rows")
    rows = [row if isinstance(row, dict) else {str(number): cell for number, cell in enumerate(row)} for row in content]
    columns = list(dict.fromkeys(key for row in rows[:most_rows] for key in row))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns[:most_columns]:
        is_number = all(isinstance(row.get(column, 0), int | float) for row in rows[:most_rows])
        table.add_column(Text(one_line(column)), justify="right" if is_number else "left", overflow="fold")
    for row in rows[:most_rows]:
        texts = [str(row.get(column, "")) for column in columns[:most_columns]]
        table.add_row(*(Text(clean(text, longest)) for text in texts))
        hidden["value"] += sum(len(text) > longest for text in texts)
    hidden.update({"row": max(0, len(rows) - most_rows), "column": max(0, len(columns) - most_columns)})
    words = [counted(hidden[noun], noun, "more ") for noun in ("row", "column") if hidden[noun]]
    # Not as the table's caption, which would be no wider than the table.
    return Group(table, Text(", ".join(words), style="dim italic")) if words else table
