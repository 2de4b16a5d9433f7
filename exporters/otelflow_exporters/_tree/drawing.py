"""Draw one trace with rich; imported only when something is drawn, because rich is optional."""

import io
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from otelflow import semconv as names
from otelflow._core.text.durations import in_words
from otelflow_exporters._tree import glyphs
from otelflow_exporters._tree.artifacts import block_lines
from otelflow_exporters._tree.details import Detail, details_of
from otelflow_exporters._tree.forest import Fold, Forest, Rest, SpanNode, fold
from otelflow_exporters._tree.wording import one_line

PIPED_WIDTH: Final = 100
_NARROWEST: Final = 20
MOST_LINES: Final = 2_000
DEEPEST: Final = 60
_DURATION_WIDTH: Final = 9
_NARROW: Final = 56

_STYLES: Final = {
    names.SUCCESS: "green",
    names.FAILURE: "red",
    names.TIMEOUT: "red",
    names.ERROR: "red",
    names.CANCELLATION: "yellow",
    names.SKIP: "dim",
}


class Page(NamedTuple):
    """The width and signs that an output can show."""

    width: int
    colors: str | None
    is_unicode: bool


def page_of(target: TextIO, width: int | None = None) -> Page:
    """Return the page of *target*; rich knows about terminals, NO_COLOR, FORCE_COLOR and COLUMNS."""
    console = Console(file=target, force_jupyter=False)
    if width is None:
        width = console.width if console.is_terminal or "COLUMNS" in os.environ else PIPED_WIDTH
    colors = None if console.no_color or console.legacy_windows else console.color_system
    encoding = getattr(target, "encoding", None) or "utf-8"
    return Page(max(_NARROWEST, width), colors, glyphs.is_drawable(encoding))


class _Row(NamedTuple):
    prefix: str
    below: str
    item: SpanNode | Fold | Rest
    depth: int


def draw(forest: Forest, page: Page, note: str = "") -> str:
    """Return the trees of *forest* as text for *page*."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=page.width,
        color_system=page.colors,  # type: ignore[arg-type] # rich types it as its own literals
        force_terminal=page.colors is not None,
        no_color=page.colors is None,
        force_jupyter=False,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    first = forest.roots[0].span
    count = len(forest.nodes)
    words = [
        f"trace {first.trace_id}",
        one_line(first.service, 60),
        f"{datetime.fromtimestamp(forest.start / 1e9, UTC).astimezone():%Y-%m-%d %H:%M:%S}",
        f"{count:,} span{'s' if count != 1 else ''}",
        f"{forest.failed:,} failed" if forest.failed else "",
        note,
    ]
    signs = glyphs.UNICODE if page.is_unicode else glyphs.ASCII
    console.print(Text(signs["separator"].join(word for word in words if word), style="dim"), soft_wrap=True)
    _Drawing(forest, console, signs).run()
    return buffer.getvalue()


class _Drawing:
    def __init__(self, forest: Forest, console: Console, signs: Mapping[str, str]) -> None:
        self._forest = forest
        self._console = console
        self._signs = signs
        self._left = MOST_LINES
        width = console.width
        self._bar_width = 0 if width < _NARROW else min(40, width // 4)
        right = _DURATION_WIDTH + (self._bar_width + 2 if self._bar_width else 1)
        self._name_width = max(10, width - right)

    def run(self) -> None:
        """Draw row by row from a stack of the rows that are still to be drawn."""
        waiting = self._rows(fold(self._forest.roots), "", 0)
        while waiting:
            if self._left <= 0:
                self._print(Text(f"{self._signs['more']}and more: {MOST_LINES:,} lines are enough", style="dim"))
                return
            row = waiting.pop()
            if isinstance(row.item, SpanNode):
                waiting.extend(self._draw_node(row, row.item))
            elif isinstance(row.item, Fold):
                waiting.extend(self._draw_fold(row, row.item))
            else:
                failed = f", {row.item.failed:,} of them failed" if row.item.failed else ""
                self._print_words(row.prefix, f"{self._signs['more']}{row.item.count:,} more spans{failed}")

    def _rows(self, items: "list[SpanNode | Fold | Rest]", prefix: str, depth: int) -> list[_Row]:
        """Return the rows of siblings, the last first, for the stack."""
        rows = []
        for number, item in enumerate(items):
            is_last = number == len(items) - 1
            branch, below = ("last", "space") if is_last else ("branch", "pipe")
            if depth == 0:
                branch = below = ""
            rows.append(_Row(prefix + self._signs[branch], prefix + self._signs[below], item, depth))
        return rows[::-1]

    def _draw_node(self, row: _Row, node: SpanNode) -> list[_Row]:
        """Draw one span and its details; return the rows below it."""
        span = node.span
        style = _STYLES.get(span.result, "yellow")
        label = Text(f"{self._mark(span.result)} ", style=style)
        label.append(one_line(span.name) or "(no name)", style="bold red" if node.is_failed else "bold")
        run_name = span.attributes.get(names.TASK_RUN_NAME) or span.attributes.get(names.FLOW_RUN_NAME)
        if run_name:
            label.append(f" {one_line(str(run_name))}", style="bold")
        if span.kind not in ("internal", "unspecified"):
            label.append(f" {span.kind}", style="dim")
        if span.result not in (names.SUCCESS, names.FAILURE):
            label.append(f" {one_line(span.result)}", style=style)
        if node.is_orphan:
            label.append(" (its parent is missing)", style="yellow")
        self._print(self._line(row.prefix, label, [(span.start, span.end)], span.end - span.start, span.result))
        pipe = row.below + (self._signs["pipe"] if node.children else self._signs["space"])
        for detail in details_of(node, self._forest.nodes):
            self._draw_detail(pipe, detail)
        if node.children and row.depth >= DEEPEST:
            self._print_words(pipe, f"{self._signs['more']}deeper spans are not shown")
            return []
        return self._rows(fold(node.children), row.below, row.depth + 1)

    def _draw_fold(self, row: _Row, folded: Fold) -> list[_Row]:
        """Draw one line for many siblings; return the rows below it."""
        signs = self._signs
        label = Text(f"{one_line(folded.name)} {signs['times']} {len(folded.nodes):,}", style="bold")
        counts: dict[str, int] = {}
        for node in folded.nodes:
            counts[node.span.result] = counts.get(node.span.result, 0) + 1
        for result, count in counts.items():
            label.append(f"  {self._mark(result)} {count:,}", style=_STYLES.get(result, "yellow"))
        times = [(node.span.start, node.span.end) for node in folded.nodes]
        whole = max(end for _, end in times) - times[0][0]
        self._print(self._line(row.prefix, label, times, whole, ""))
        median, slowest = folded.durations
        pipe = row.below + (signs["pipe"] if folded.examples else signs["space"])
        self._print_words(pipe, f"median {in_words(median / 1e9)}, slowest {in_words(slowest / 1e9)}")
        items: list[SpanNode | Fold | Rest] = [*folded.examples]
        if folded.other_failures:
            items.append(Rest(folded.other_failures, folded.other_failures))
        return self._rows(items, row.below, row.depth + 1)

    def _mark(self, result: str) -> str:
        return self._signs.get(result, self._signs["unknown"]) if result in _STYLES else self._signs["unknown"]

    def _line(self, prefix: str, label: Text, times: list[tuple[int, int]], length: int, result: str) -> Text:
        """Return name, bar and duration in their columns."""
        prefix = _shortened(prefix, self._name_width // 2)
        label.truncate(self._name_width - cell_len(prefix), overflow="ellipsis", pad=True)
        line = Text.assemble((prefix, "dim"), label, " ")
        if self._bar_width:
            line.append(self._bar(times), style=_STYLES.get(result, "blue"))
            line.append(" ")
        line.append(f"{in_words(length / 1e9):>{_DURATION_WIDTH}}")
        return line

    def _bar(self, times: list[tuple[int, int]]) -> str:
        """Return the bar of *times*, on the time line that all bars share."""
        width, start = self._bar_width, self._forest.start
        whole = max(1, self._forest.end - start)
        cells = [" "] * width
        for begin, end in times:
            first = min(width - 1, max(0, (begin - start) * width // whole))
            last = min(width, max(first + 1, -((start - end) * width // whole)))
            glyph = self._signs["bar" if (end - begin) * width >= whole // 2 else "dot"]
            for cell in range(first, last):
                cells[cell] = glyph if cells[cell] == " " else self._signs["bar"]
        return "".join(cells)

    def _draw_detail(self, prefix: str, detail: Detail) -> None:
        if self._left <= 0:
            return
        prefix = _shortened(prefix, self._name_width // 2)
        mark = self._signs[detail.mark]
        room = max(10, self._console.width - cell_len(prefix) - len(mark))
        lines = [
            part for line in detail.text.splitlines() for part in Text(line, detail.style).wrap(self._console, room)
        ]
        for number, line in enumerate(lines):
            self._print(Text.assemble((prefix, "dim"), (mark if number == 0 else " " * len(mark), "dim"), line))
        if detail.block:
            width = self._console.width - cell_len(prefix) - 2
            for line in block_lines(detail, self._console, self._signs, width):
                self._print(Text.assemble((prefix + "  ", "dim"), line))

    def _print_words(self, prefix: str, words: str) -> None:
        """Print *words* about spans that have no line of their own."""
        self._print(Text(_shortened(prefix, self._name_width // 2) + words, style="dim"))

    def _print(self, line: Text) -> None:
        self._left -= 1
        line.rstrip()
        line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, no_wrap=True, overflow="ignore", crop=False)


def _shortened(prefix: str, width: int) -> str:
    """Return the guides of a deep row cut from the left, so that its name still has room."""
    return prefix if len(prefix) <= width else ".." + prefix[-(width - 2) :]
