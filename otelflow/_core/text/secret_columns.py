"""Hide what stands in a column under a secret's name: in tables, and in what is inserted into those of databases."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from otelflow._core.text import secret_notations, secret_patterns
from otelflow._core.text.regex import lazy_compile
from otelflow._core.text.secret_values import REDACTED, is_secret_value, secret_name

# A longer line is no row of a table that people made.
_LONGEST_LINE: Final = 4_000


def hide_inserted(text: str) -> str:
    """Return *text* in which the values of secret columns are hidden in each INSERT."""
    return lazy_compile(secret_notations.INSERT).sub(_hide_values, text)


def _hide_values(match: re.Match[str]) -> str:
    names = match["columns"].split(",")
    columns = _secret_columns(names)
    position = -1

    def hide(value: re.Match[str]) -> str:
        nonlocal position
        position += 1
        words = columns.get(position % len(names))
        return "'" + REDACTED + "'" if words and is_secret_value(value[0], words, is_spoken=False) else value[0]

    return match[0][: match.start("values") - match.start()] + lazy_compile(secret_notations.INSERTED).sub(
        hide, match["values"]
    )


def hide_columns(text: str) -> str:
    """Return *text* in which the cells below a secret's name are hidden: CSV, tabs, Markdown, what databases print."""
    pieces, done = list[str](), 0
    for heading in lazy_compile(secret_notations.HEADING).finditer(text):
        line = heading["line"]
        lowered = line.lower()
        if heading.start() < done or not [stem for stem in secret_patterns.NAME_STEMS if stem in lowered]:
            continue
        separator = next(mark for mark in "|\t;," if mark in line)
        cell = secret_notations.HEADING_OF_LINES if separator == "|" else secret_notations.HEADING_OF_CELLS
        names = line.split(separator)
        columns = _secret_columns(names) if all(map(lazy_compile(cell).fullmatch, names)) else {}
        if columns:
            rows, below = _hide_below(text, heading.end(), separator, len(names), columns)
            pieces += (text[done : heading.end()], *rows)
            done = below
    return "".join((*pieces, text[done:])) if pieces else text


def _hide_below(
    text: str, start: int, separator: str, count: int, columns: Mapping[int, tuple[str, ...]]
) -> tuple[list[str], int]:
    """Return the rows of the table that begin at *start*, with their secrets hidden, and where they end."""
    rows, mark = list[str](), re.escape(separator)
    # What stands in quotes may have separators.
    cell = lazy_compile(rf'(?:\A|(?<={mark}))(?:[ ]*"(?:[^"]|"")*+"\s*(?={mark}|\Z)|[^{mark}]*+)')
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        line = text[start:end]
        if len(line) > _LONGEST_LINE:
            break
        if line.strip("-+|:= \t\r\n"):
            cells = cell.findall(line) if '"' in line else line.split(separator)
            if len(cells) != count:
                break
            for position, words in columns.items():
                value = cells[position].strip()
                bare = value.strip("\"'`")
                if _is_secret_cell(bare.replace(" ", "") if value.startswith('"') else bare, words):
                    cells[position] = cells[position].replace(bare, REDACTED, 1)
            line = separator.join(cells)
        elif not line.strip():
            break
        rows.append(line)
        start = end
    return rows, start


def hide_rows(rows: Sequence[object]) -> Sequence[object]:
    """Return *rows* with the texts below a secret's name hidden, if the first has nothing but names."""
    names = rows[0] if rows else None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and len(name) < 80 for name in names):
        return rows
    columns = _secret_columns(names)
    if (
        not columns
        or len(names) < 2
        or not all(isinstance(row, list | tuple) and len(row) == len(names) for row in rows)
    ):
        return rows
    return [
        names,
        *(
            [
                REDACTED
                if n in columns and isinstance(cell, str) and _is_secret_cell(cell.strip(), columns[n])
                else cell
                for n, cell in enumerate(row)
            ]
            for row in rows[1:]
            if isinstance(row, list | tuple)
        ),
    ]


def _secret_columns(names: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Return the places of the *names* that are those of secrets, and the words of each."""
    return {n: words for n, name in enumerate(names) if (words := secret_name(name.strip("\"'`[]* \t\r")))}


def _is_secret_cell(cell: str, words: tuple[str, ...]) -> bool:
    """Tell whether *cell* looks like a secret below the name of these *words*: a table of words may be about them."""
    if cell.replace("_", "").replace("-", "").replace(" ", "").isalpha():
        return False
    is_password = words[-1] in secret_patterns.PASSWORD_NAMES
    # "cvv: 731", but not "pass: 731", which counts what passed.
    is_number = cell.isdecimal() and words[-1] in secret_patterns.NUMERIC_NAMES - secret_patterns.PASS_NAMES
    if not is_password and not is_number and (len(cell) < 8 or lazy_compile(secret_notations.WORDED).fullmatch(cell)):
        return False  # a word of a text, the name of a secret: "db-credentials-2"
    return is_secret_value(cell, words, is_spoken=not is_password or " " in cell)
