"""Lines at the bottom of a terminal that stay where they are, while all else scrolls above them.

The terminal itself keeps them apart, by its scrolling region. So whatever is written there, by the program, by its
children or by a library in C, stays whole, and questions that the program asks can be answered.
"""

import contextlib
import io
import os
import select
import sys
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from otelflow_exporters._tree.drawing import console_for, page_of

_SAVE, _RESTORE = "\x1b7", "\x1b8"  # the cursor, with its colours
_WHOLE_SCREEN: Final = "\x1b[r"
_CLEAR_BELOW: Final = "\x1b[J"
_DOWN: Final = "\x1bD"  # in the same column, scrolling at the bottom
_FEWEST_LINES: Final = 10
_FEWEST_COLUMNS: Final = 20
_LARGEST_SHARE: Final = 3
# A terminal that takes nothing (Ctrl-S) is not waited for.
_WRITE_SECONDS: Final = 0.5


class Footer:
    """The last lines of the terminal behind a file descriptor; each drawing is one write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.terminal_size((0, 0))
        self._height = 0
        self._written = ""

    def draw(self, lines: Sequence[Text]) -> bool:
        """Show *lines*, as many as there is room for; return whether the terminal is still there."""
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return False
        if size.lines < _FEWEST_LINES or size.columns < _FEWEST_COLUMNS:
            self.clear()
            return True
        lines = lines[: size.lines // _LARGEST_SHARE]
        text = ""
        if size != self._size or len(lines) > self._height:
            text = self.reserved(size, max(len(lines), self._height if size == self._size else 0))
        drawn = self._drawn(lines)
        if not text and drawn == self._written:
            return True
        self._written = drawn
        return self._write(text + drawn)

    def clear(self) -> None:
        """Give the lines back, empty."""
        if self._height:
            rows = "".join(f"\x1b[{row};1H\x1b[2K" for row in self._rows())
            self._write(f"{_SAVE}{rows}{_WHOLE_SCREEN}{_RESTORE}")
        self._height = 0
        self._size = os.terminal_size((0, 0))
        self._written = ""

    def _rows(self) -> range:
        return range(self._size.lines - self._height + 1, self._size.lines + 1)

    def reserved(self, size: os.terminal_size, height: int) -> str:
        """Return what makes the last *height* lines free, and keeps them so; the cursor stays in its column."""
        text = ""
        if self._height:
            # Of another size, the terminal has moved the old lines somewhere below the cursor.
            text = f"{_SAVE}{_WHOLE_SCREEN}{_RESTORE}{_CLEAR_BELOW}"
        self._size, self._height = size, height
        top = size.lines - height
        return text + _DOWN * height + f"\x1b[{height}A" + f"{_SAVE}\x1b[1;{top}r{_RESTORE}"

    def _drawn(self, lines: Sequence[Text]) -> str:
        page = page_of(sys.__stderr__ or io.StringIO())._replace(width=self._size.columns)
        pieces = [_SAVE]
        for row, line in zip(self._rows(), [*lines, *[Text()] * (self._height - len(lines))], strict=False):
            line.truncate(self._size.columns - 1, overflow="ellipsis")
            buffer = io.StringIO()
            console_for(buffer, page).print(line, end="", no_wrap=True, overflow="ignore", crop=False)
            pieces.append(f"\x1b[{row};1H\x1b[2K{buffer.getvalue()}")
        return "".join([*pieces, _RESTORE])

    def _write(self, text: str) -> bool:
        """Write *text* at once, so that nothing comes in between; return whether the terminal is still there."""
        try:
            if sys.platform != "win32" and not select.select([], [self._descriptor], [], _WRITE_SECONDS)[1]:
                return True
            rest = memoryview(text.encode(errors="replace"))
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except (OSError, ValueError):
            return False
        return True


def is_possible() -> bool:
    """Tell whether both outputs are one terminal that can do it: what is piped is left alone."""
    if sys.platform == "win32" or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    with contextlib.suppress(AttributeError, ValueError, OSError):  # there is no such stream, or it is closed
        return sys.stdout.isatty() and os.isatty(sys.stderr.fileno())
    return False
