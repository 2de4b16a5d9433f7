"""Lines of text in a given room, in cells of a terminal."""

from typing import Final

from rich.cells import cell_len, chop_cells

# A word up to this length (an id, a path, an address) is never broken, so that it can be copied.
_LONGEST_WORD: Final = 300
_ELLIPSIS: Final = "…"


def wrapped(line: str, room: int) -> list[str]:
    """Return *line* broken at its spaces; a word that is longer than *room* stays whole, if it may be an id."""
    if cell_len(line) <= room:
        return [line]
    indent = line[: len(line) - len(line.lstrip())][: room // 2]
    lines = [indent]
    for word in line.split():
        pieces = [word]
        if cell_len(word) > room and (not word.isascii() or len(word) > _LONGEST_WORD):
            pieces = chop_cells(word, room)
        for piece in pieces:
            if lines[-1] == indent:
                lines[-1] += piece
            elif cell_len(lines[-1]) + 1 + cell_len(piece) <= room:
                lines[-1] += f" {piece}"
            else:
                lines.append(indent + piece)
    return lines


def joined(words: list[str], separator: str, room: int) -> list[str]:
    """Return *words* on as few lines as have room for them; none is broken."""
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]}{separator}{word}" if lines else word
        if lines and cell_len(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def cut_left(value: str, room: int) -> str:
    """Return the end of *value* in *room* cells, with a mark, in its quotes."""
    if cell_len(value) <= room:
        return value
    quote = "'" if value.startswith("'") else ""
    end = value[max(0, len(value) - room) :]
    while cell_len(end) > room - 1 - len(quote):
        end = end[1:]
    return f"{quote}{_ELLIPSIS}{end}"
