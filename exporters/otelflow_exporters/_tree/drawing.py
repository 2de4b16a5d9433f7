"""Draw one trace with rich; imported only when something is drawn, because rich is optional."""

import io
import os
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from otelflow import semconv as names
from otelflow._core.text.durations import in_words
from otelflow._core.text.visible import one_line
from otelflow_exporters._store.summaries import INCOMPLETE
from otelflow_exporters._tree import glyphs
from otelflow_exporters._tree.artifacts import block_of
from otelflow_exporters._tree.details import Detail, details_of
from otelflow_exporters._tree.forest import NOUNS, Fold, Forest, Rest, SpanNode, fold, start_of
from otelflow_exporters._tree.labels import label_of
from otelflow_exporters._tree.lines import joined, wrapped
from otelflow_exporters._tree.view import TreeView
from otelflow_exporters._tree.wording import counted, local_time

if TYPE_CHECKING:
    from collections.abc import Sequence

PIPED_WIDTH: Final = 100
NARROWEST: Final = 20
MOST_LINES: Final = 2_000
DEEPEST: Final = 60
_DEEPEST_OF_ALL: Final = 1_000
_DURATION_WIDTH: Final = 9
_NARROW: Final = 56
_NO_EDGE: Final = 1_000_000
_NARROW_FOR_TIMES: Final = 36

_STYLES: Final = {
    names.SUCCESS: "green",
    names.FAILURE: "red",
    names.TIMEOUT: "red",
    names.ERROR: "red",
    names.CANCELLATION: "yellow",
    names.SKIP: "dim",
    names.RUNNING: "cyan",
}


class Page(NamedTuple):
    """The width and signs that an output can show; what no terminal shows is not wrapped."""

    width: int
    colors: str | None
    is_unicode: bool
    is_wrapped: bool = True


def page_of(target: TextIO, width: int | None = None) -> Page:
    """Return the page of *target*; rich knows about terminals, NO_COLOR, FORCE_COLOR and COLUMNS."""
    console = Console(file=target, force_jupyter=False)
    is_wrapped = width is not None or console.is_terminal or "COLUMNS" in os.environ
    if width is None:
        width = width_of(console) if is_wrapped else PIPED_WIDTH
    colors = None if console.no_color or console.legacy_windows else console.color_system
    encoding = getattr(target, "encoding", None) or "utf-8"
    return Page(max(NARROWEST, width), colors, glyphs.is_drawable(encoding), is_wrapped)


def width_of(console: Console) -> int:
    """Return how wide the terminal of *console* is; rich says of each dumb one that it has 80 columns."""
    if not console.is_dumb_terminal:
        return console.width
    columns = os.environ.get("COLUMNS", "")
    try:
        return int(columns) if columns.isdigit() else os.get_terminal_size(console.file.fileno()).columns
    except (OSError, ValueError):  # it has no size
        return console.width


class _Row(NamedTuple):
    prefix: str
    below: str
    item: SpanNode | Fold | Rest | Detail
    depth: int
    #: Whether all that it is in has failed, so that it may be what made the trace fail
    is_cause: bool


def draw(forest: Forest, page: Page, view: TreeView, note: str = "") -> str:
    """Return the trees of *forest* as text for *page*."""
    buffer = io.StringIO()
    console = console_for(buffer, page)
    _Drawing(forest, console, page, view).run(note)
    return buffer.getvalue()


def console_for(buffer: io.StringIO, page: Page) -> Console:
    """Return what writes into *buffer* as it is to stand on *page*."""
    return Console(
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


class _Drawing:
    def __init__(self, forest: Forest, console: Console, page: Page, view: TreeView) -> None:
        self._forest = forest
        self._console = console
        self._page = page
        self._view = view
        self._signs = glyphs.UNICODE if page.is_unicode else glyphs.ASCII
        self._lines_left: float = float("inf") if view.full else MOST_LINES
        self._hidden: Counter[str] = Counter()
        width = console.width
        self._bar_width = 0 if width < _NARROW else min(40, width // 4)
        right = _DURATION_WIDTH + (self._bar_width + 2 if self._bar_width else 1)
        self._name_width = max(10, width - right)

    def run(self, note: str) -> None:
        """Draw the heading, row by row from a stack of the rows that are still to be drawn, and what was left out."""
        self._draw_heading(note)
        if self._view.failed_only and not self._forest.failures:
            self._print_whole(Text("nothing failed", style="green"))
            return
        waiting = self._rows(fold(self._forest.roots, self._view), "", 0, is_cause=True)
        while waiting:
            if self._lines_left <= 0:
                self._print(Text(f"{self._signs['more']}and more: {MOST_LINES:,} lines are enough", style="dim"))
                self._hidden["line"] += len(waiting)
                break
            row = waiting.pop()
            if isinstance(row.item, SpanNode):
                waiting.extend(self._draw_node(row, row.item))
            elif isinstance(row.item, Fold):
                waiting.extend(self._draw_fold(row, row.item))
            elif isinstance(row.item, Detail):
                self._hidden += row.item.hidden
                self._draw_detail(row, row.item)
            else:
                failed = f", {row.item.failed:,} of them failed" if row.item.failed else ""
                self._hidden["span"] += row.item.count
                prefix = _shortened(row.prefix, self._name_width // 2)
                text = f"{prefix}{self._signs['more']}{counted(row.item.count, 'span', 'more ')}{failed}"
                self._print(Text(text, style="dim"))
        if self._view.cure and self._hidden.total():
            words = f"{self._signs['more']}what is folded:"
            is_one_line = not self._page.is_wrapped or len(words) + 1 + len(self._view.cure) <= self._console.width
            for line in [f"{words} {self._view.cure}"] if is_one_line else [words, self._view.cure]:
                self._print_whole(Text(line, style="dim"))

    def _draw_heading(self, note: str) -> None:
        """Write id, service, time, counts and *note*; on a terminal no part is broken that fits on a line."""
        first = self._forest.roots[0].span
        count, failed = len(self._forest.nodes), self._forest.failed_runs
        words = [
            f"trace {first.trace_id}" if first.trace_id else "",
            one_line(first.service, 60),
            f"{local_time(self._forest.start):%Y-%m-%d %H:%M:%S}",
            counted(count, "span"),
            f"{failed:,} failed" if failed else "",
            note,
        ]
        room = self._console.width if self._page.is_wrapped else _NO_EDGE
        for line in joined(list(filter(None, words)), self._signs["separator"], room):
            self._print_whole(Text(line, style="dim"))

    def _rows(
        self, items: "Sequence[SpanNode | Fold | Rest | Detail]", below: str, depth: int, *, is_cause: bool
    ) -> list[_Row]:
        """Return the rows of *items*, last first, with their guides.

        Spans hang on branches; beside them, details do so, too: between spans and after them they would seem to be of
        the span above.
        """
        rows: list[_Row] = []
        has_spans = any(not isinstance(item, Detail) for item in items)
        is_last = True  # nothing on a branch comes after it
        for item in reversed(items):
            inside = below + self._signs["space" if is_last else "pipe"]
            if depth == 0:
                rows.append(_Row("", "", item, depth, is_cause))
            elif isinstance(item, Detail) and not (has_spans and item.mark):
                rows.append(_Row(inside, inside, item, depth, is_cause))
            else:
                branch = "last" if is_last else "branch"
                if isinstance(item, Detail):
                    branch = "last detail" if is_last else "detail"
                rows.append(_Row(below + self._signs[branch], inside, item, depth, is_cause))
                is_last = False
        return rows

    def _draw_node(self, row: _Row, node: SpanNode) -> list[_Row]:
        """Draw the line of one span; return the rows below it, in the order in which they happened."""
        span = node.span
        style = _STYLES.get(span.result, "yellow")
        mark = f"{self._mark(span.result)} "
        prefix = _shortened(row.prefix, self._name_width // 2)
        room = self._name_width - cell_len(prefix) - cell_len(mark)
        label = label_of(node, room, style, is_whole=self._view.full)
        self._hidden["value"] += label.is_cut
        text = Text(mark, style=style).append_text(label.text)
        self._print(self._line(prefix, text, [(span.start, span.end)], span.end - span.start, span.result))
        # A request that was answered well may be around a flow that failed: it is no run that went on regardless.
        is_cause = row.is_cause and (node.is_failed or names.RUN_RESULT not in span.attributes) and not span.is_open
        items: list[SpanNode | Fold | Rest | Detail] = [
            *(Detail(words, "cyan", time=span.start) for words in label.below),
            *details_of(node, self._forest.nodes, self._view, is_cause=is_cause),
        ]
        if node.children and row.depth >= (_DEEPEST_OF_ALL if self._view.full else DEEPEST):
            hidden = Counter({"span": node.size - 1})
            items.append(Detail("deeper spans are not shown", mark="more", hidden=hidden))
        else:
            items += fold(node.children, self._view)
            # Where an event and a span begin at once, the event was first; what ends a span comes last.
            items.sort(key=lambda item: item.time if isinstance(item, Detail) else start_of(item))
        return self._rows(items, row.below, row.depth + 1, is_cause=is_cause)

    def _draw_fold(self, row: _Row, folded: Fold) -> list[_Row]:
        """Draw one line for many siblings, and what they hold; return the rows below it."""
        name, size = Text(one_line(folded.name), "bold"), f"{self._signs['times']} {len(folded.nodes):,}"
        counts = Text()
        for result, count in Counter(node.span.result for node in folded.nodes).items():
            counts.append(f"  {self._mark(result)} {count:,}", style=_STYLES.get(result, "yellow"))
        prefix = _shortened(row.prefix, self._name_width // 2)
        label = Text.assemble(name, (f" {size}", "bold"), counts)
        is_fitting = label.cell_len <= self._name_width - cell_len(prefix)
        times = [(node.span.start, node.span.end) for node in folded.nodes]
        whole = max(end for _, end in times) - times[0][0]
        self._print(self._line(prefix, label if is_fitting else name, times, whole, ""))
        median, slowest = folded.durations
        hidden = folded.hidden()
        self._hidden += hidden
        inside = [f"{counted(hidden['span'], 'span')} below"] if hidden["span"] else []
        inside += [counted(hidden[noun], noun) for noun in NOUNS.values() if hidden[noun]]
        words = f"median {in_words(median / 1e9)}, slowest {in_words(slowest / 1e9)}"
        words += f"; folded with {', '.join(inside)}" if inside else ""
        if not is_fitting:  # how many failed is never cut off
            words = f"{size}{counts.plain}; {words}"
        items: list[SpanNode | Fold | Rest | Detail] = [Detail(words), *folded.examples]
        if folded.other_failures:
            items.append(Rest(folded.other_failures, folded.other_failures))
        return self._rows(items, row.below, row.depth + 1, is_cause=row.is_cause)

    def _mark(self, result: str) -> str:
        return self._signs.get(result, self._signs["unknown"]) if result in _STYLES else self._signs["unknown"]

    def _line(self, prefix: str, label: Text, times: list[tuple[int, int]], length: int, result: str) -> Text:
        """Return name, bar and duration in their columns."""
        room = self._name_width - cell_len(prefix)
        duration = in_words(length / 1e9) if result != INCOMPLETE else "?"  # nobody has seen its end
        if label.cell_len > room and self._view.full:
            return Text.assemble((prefix, "dim"), label, f" {duration}")
        self._hidden["name"] += label.cell_len > room
        label.truncate(room, overflow="ellipsis", pad=True)
        line = Text.assemble((prefix, "dim"), label, " ")
        if self._bar_width:
            line.append(self._bar(times), style=_STYLES.get(result, "blue"))
            line.append(" ")
        line.append(f"{duration:>{_DURATION_WIDTH}}")
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

    def _draw_detail(self, row: _Row, detail: Detail) -> None:
        first = _shortened(row.prefix, self._name_width // 2)
        prefix = _shortened(row.below, self._name_width // 2)
        mark = self._signs[detail.mark]
        if detail.is_timed and detail.time and self._console.width >= _NARROW_FOR_TIMES:
            clock = local_time(detail.time).time()
            mark = f"{clock.isoformat('milliseconds' if self._bar_width else 'seconds')} {mark}"
        room = max(10, self._console.width - cell_len(prefix) - len(mark))
        lines = detail.text.splitlines()
        if self._page.is_wrapped:
            lines = [part for line in lines for part in wrapped(line, room)]
        for number, line in enumerate(lines):
            guide = mark if number == 0 else " " * len(mark)
            self._print_whole(Text.assemble((prefix if number else first, "dim"), (guide, "dim"), (line, detail.style)))
        if detail.form == "traceback":
            for line in detail.block.splitlines():
                self._print_whole(Text.assemble((prefix, "dim"), (line, detail.style)))
        elif detail.block:
            width = self._console.width - cell_len(prefix) - 2
            block = block_of(detail, self._console, self._signs, width, is_whole=self._view.full)
            self._hidden += block.hidden
            for text in block.lines:
                self._print(Text.assemble((prefix + "  ", "dim"), text))

    def _print_whole(self, line: Text) -> None:
        """Print *line* without breaking or cutting it, also where it is longer than the terminal is wide."""
        self._lines_left -= 1
        line.rstrip()
        self._console.print(line, no_wrap=True, overflow="ignore", crop=False)

    def _print(self, line: Text) -> None:
        self._lines_left -= 1
        line.rstrip()
        if not self._view.full:
            line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, no_wrap=True, overflow="ignore", crop=False)


def _shortened(prefix: str, width: int) -> str:
    """Return the guides of a deep row cut from the left, so that its name still has room."""
    return prefix if len(prefix) <= width else ".." + prefix[-(width - 2) :]
