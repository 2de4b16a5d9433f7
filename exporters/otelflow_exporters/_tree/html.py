"""A tree for a page that shows HTML, such as a notebook."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otelflow._core.process import clock
from otelflow_exporters._otlp.model import Event, Span
from otelflow_exporters._tree.drawing import Page, draw
from otelflow_exporters._tree.forest import grow
from otelflow_exporters._tree.view import TreeView

_WIDTH: Final = 100
_PAGE: Final = '<pre style="font-family: monospace; line-height: 1.25; white-space: pre-wrap">{code}</pre>'
_VIEW: Final = TreeView(tracebacks="causes")


class Trees:
    """Runs that are drawn together, as the program has them: without spans."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(
        self,
        names: tuple[str, int, int, str],
        times: tuple[int, int],
        attributes: Mapping[str, Any],
        entries: Sequence[tuple[str, int, Mapping[str, Any]]],
        *,
        failure: str | None,
    ) -> None:
        """Add a run: *names* are the id of its trace, its number, that of its parent (0: none), and its own name.

        *times* are its start and its end, in nanoseconds since 1970; 0 for the end of one that goes on.
        """
        trace_id, number, parent, name = names
        start, end = times
        self._spans.append(
            Span(
                trace_id=trace_id,
                span_id=f"{number:016x}",
                parent_id=f"{parent:016x}" if parent else "",
                is_parent_remote=False,
                name=name,
                kind="internal",
                start=start,
                end=max(start, end or clock.time_ns()),
                attributes=attributes,
                events=tuple(Event(name, moment, values) for name, moment, values in entries),
                links=(),
                is_error=failure is not None,
                status_message=failure or "",
                dropped_events=0,
                service="",
                is_open=not end,
            )
        )

    def mime_bundle(self, note: str = "") -> dict[str, str]:
        """Return the tree as text and as HTML, with a *note* at its head."""
        forest = grow(self._spans)
        if not forest.roots:
            return {}
        console = Console(record=True, width=10_000, file=io.StringIO(), force_jupyter=False, highlight=False)
        drawing = draw(forest, Page(_WIDTH, "standard", is_unicode=True), _VIEW, note)
        console.print(Text.from_ansi(drawing), soft_wrap=True)
        html = console.export_html(inline_styles=True, code_format=_PAGE)
        text = draw(forest, Page(_WIDTH, None, is_unicode=True), _VIEW, note)
        return {"text/plain": text.rstrip(), "text/html": html}
