"""Hold finished spans until their trace is complete, and never more than so many."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from otelflow_exporters._otlp.model import Span


class Finished(NamedTuple):
    """Spans that are to be printed together, and what has to be said about them."""

    spans: list[Span]
    note: str = ""


class _Trace:
    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}
        self.unheld = 0


class Buffer:
    """Spans by trace, the trace that waits longest first."""

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._count = 0
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    def add(self, spans: Iterable[Span]) -> list[Finished]:
        """Take *spans* and return the trees that are complete now, and those that had to make room."""
        evicted: list[Finished] = []
        roots: list[Span] = []
        for span in spans:
            evicted += self._hold(span)
            if span.is_local_root:
                roots.append(span)
        return evicted + [tree for root in roots for tree in self._take(root)]

    def clear(self) -> list[Finished]:
        """Return and forget everything that is held."""
        return [self._pop(trace_id, "incomplete") for trace_id in list(self._traces)]

    def _hold(self, span: Span) -> list[Finished]:
        """Hold one span; when there are too many, the trace that waits longest goes, printed as far as it is."""
        trace = self._traces.setdefault(span.trace_id, _Trace())
        if self._count < self._max_spans or span.is_local_root:
            self._count += span.span_id not in trace.spans
            trace.spans[span.span_id] = span
            return []
        if len(self._traces) == 1:
            # One giant alone: printing half of it would help nobody, so the rest is only counted.
            trace.unheld += 1
            return []
        oldest = next(trace_id for trace_id in self._traces if trace_id != span.trace_id)
        evicted = self._pop(oldest, "incomplete, too many spans are waiting")
        return [evicted, *self._hold(span)]

    def _take(self, root: Span) -> list[Finished]:
        """Return the tree under *root*; what hangs elsewhere in its trace goes on waiting."""
        trace = self._traces.get(root.trace_id)
        if trace is None or root.span_id not in trace.spans:
            return []
        under: defaultdict[str, list[str]] = defaultdict(list)
        for span in trace.spans.values():
            # A local root below another one of the same process has a tree of its own.
            if span is root or not span.is_local_root:
                under[span.parent_id].append(span.span_id)
        taken: list[Span] = []
        waiting = [root.span_id]
        while waiting:
            span_id = waiting.pop()
            found = trace.spans.pop(span_id, None)
            if found is not None:
                taken.append(found)
                waiting.extend(under[span_id])
        self._count -= len(taken)
        note = f"{trace.unheld:,} more spans were not kept" if trace.unheld else ""
        trace.unheld = 0
        if not trace.spans:
            del self._traces[root.trace_id]
        return [Finished(taken, note)]

    def _pop(self, trace_id: str, note: str) -> Finished:
        trace = self._traces.pop(trace_id)
        self._count -= len(trace.spans)
        if trace.unheld:
            note += f"; {trace.unheld:,} more spans were not kept"
        return Finished(list(trace.spans.values()), note)
