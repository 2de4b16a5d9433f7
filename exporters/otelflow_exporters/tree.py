"""Print every finished trace as a tree in the terminal."""

import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otelflow._core.process import forks
from otelflow._core.text.own_logger import log, own_logger
from otelflow._core.text.safe_str import comes_from_outside, error_text, safe_str
from otelflow.errors import MissingExtra
from otelflow_exporters._otlp.model import Span, from_any
from otelflow_exporters._tree.buffering import Buffer, FinishedTrace
from otelflow_exporters._tree.forest import grow
from otelflow_exporters._tree.glyphs import encodable
from otelflow_exporters._tree.view import USUAL, TreeView

__all__ = ["TreeSpanExporter", "TreeView", "print_trace", "render_trace"]

_LONGEST_REASON: Final = 1_000
_logger: Final = own_logger(__name__)


class TreeSpanExporter(SpanExporter):
    """Prints a trace when its local root has ended; at shutdown it prints the incomplete ones, and notes that.

    Args:
        file: where to print. It is stderr by default: stdout belongs to the program, whose output may be piped into
            another one. (OpenTelemetry's ConsoleSpanExporter prints to stdout; it is for debugging.)
        width: in columns; without it that of the terminal, or 100.
        max_spans: how many spans wait for their root before the oldest trace is printed as it is.

    Raises:
        MissingExtra: the package rich is not installed.

    Example:
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        >>> provider = TracerProvider()
        >>> provider.add_span_processor(SimpleSpanProcessor(TreeSpanExporter()))

    """

    def __init__(self, file: TextIO | None = None, *, width: int | None = None, max_spans: int = 100_000) -> None:
        _require_rich()
        self._file = file
        self._width = width
        self._buffer = Buffer(max_spans)
        self._lock = forks.new_lock()
        forks.begin_anew(self._buffer, Buffer.begin_anew)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep *spans* until their trace is complete, and print the complete traces.

        Args:
            spans: ended spans of any program.

        Returns:
            FAILURE when a trace could not be printed.

        Example:
            >>> TreeSpanExporter().export([])
            <SpanExportResult.SUCCESS: 0>

        """
        # The whole batch first: children that outlived their root are often in it.
        with self._lock:
            finished = self._buffer.add(from_any(spans))
        return SpanExportResult.SUCCESS if self._print(finished) else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Print the traces whose local root has not ended."""
        with self._lock:
            unfinished = self._buffer.clear()
        self._print(unfinished)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: complete traces are printed already, and half a trace is no tree."""
        return True

    def _print(self, traces: Iterable[FinishedTrace]) -> bool:
        is_printed = True
        file = sys.stderr if self._file is None else self._file
        for trace in traces if file is not None else ():  # a program may have no stderr
            try:
                print_trace(trace.spans, file=file, width=self._width, note=trace.note)
            except Exception as error:  # a closed pipe or an odd span must not break the program
                if comes_from_outside(error):
                    raise
                log(
                    _logger,
                    logging.WARNING,
                    "A trace could not be printed: %s",
                    error_text(type(error).__name__, safe_str(error, _LONGEST_REASON)),
                )
                is_printed = False
        return is_printed


def print_trace(
    spans: Iterable[ReadableSpan | Span],
    *,
    file: TextIO | None = None,
    width: int | None = None,
    note: str = "",
    view: TreeView = USUAL,
) -> None:
    """Print the spans of one trace as a tree, with the colours and signs that the output can show.

    Args:
        spans: of a live program, or of ``StoredTrace.spans``.
        file: where to print; stdout by default.
        width: in columns; without it that of the terminal, or 100.
        note: a remark for the first line.
        view: how much is shown.

    Raises:
        MissingExtra: the package rich is not installed.
        OSError: the output is closed.

    Example:
        >>> print_trace(StoredTraces().load("4bf9").spans)
        trace 4bf92f3577b34da6a3ce929d0e0e4736 · shop · ... · 1 span
        ✓ flow nightly ... 1.25 s

    """
    _require_rich()
    from otelflow_exporters._tree.drawing import draw, page_of  # noqa: PLC0415 - rich is optional

    target = sys.stdout if file is None else file
    forest = grow(from_any(spans))
    if forest.roots:
        text = draw(forest, page_of(target, width), view, note)
        # One write, so that trees of several threads do not mix.
        target.write(encodable(text, getattr(target, "encoding", None) or "utf-8"))
        target.flush()


def render_trace(
    spans: Iterable[ReadableSpan | Span],
    *,
    width: int = 100,
    is_unicode: bool = True,
    note: str = "",
    view: TreeView = USUAL,
) -> str:
    """Return the spans of one trace as a tree without colours; an empty text for no spans.

    Args:
        spans: of a live program, or of ``StoredTrace.spans``.
        width: in columns; 20 at the least.
        is_unicode: False draws with ASCII alone.
        note: a remark for the first line.
        view: how much is shown.

    Raises:
        MissingExtra: the package rich is not installed.

    Example:
        >>> render_trace([])
        ''

    """
    _require_rich()
    from otelflow_exporters._tree.drawing import NARROWEST, Page, draw  # noqa: PLC0415 - rich is optional

    forest = grow(from_any(spans))
    text = draw(forest, Page(max(NARROWEST, width), None, is_unicode), view, note) if forest.roots else ""
    return encodable(text, "utf-8" if is_unicode else "ascii")


def _require_rich() -> None:
    """Raise MissingExtra if rich is missing, before spans are buffered in vain."""
    try:
        import rich  # noqa: F401, PLC0415 - rich is optional
    except ImportError as error:
        raise MissingExtra("cli") from error
