"""Hold finished spans until their trace is complete, up to a limit."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from otelflow_exporters._otlp.model import Span


class FinishedTrace(NamedTuple):
    """Spans that are to be printed together, and a note about what is missing."""

    spans: list[Span]
    note: str = ""


class _Trace:
    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}
        self.omitted = 0


class Buffer:
    """Spans by trace, the trace that waits longest first."""

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._count = 0
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    def add(self, spans: Iterable[Span]) -> list[FinishedTrace]:
        """Take *spans* and return the trees that are complete now, and those that had to make room."""
        evicted: list[FinishedTrace] = []
        roots: list[Span] = []
        for span in spans:
            evicted += self._hold(span)
            if span.is_local_root:
                roots.append(span)
        return evicted + [tree for root in roots for tree in self._take(root)]

    def clear(self) -> list[FinishedTrace]:
        """Return every trace that is held, and hold none any more."""
        return [self._pop(trace_id, "incomplete") for trace_id in list(self._traces)]

    def begin_anew(self) -> None:
        """Leave the spans that the parent holds to the parent; called in a forked child."""
        self.clear()

    def _hold(self, span: Span) -> list[FinishedTrace]:
        """Hold one span; when there are too many, the trace that waits longest goes, printed as far as it is."""
        trace = self._traces.setdefault(span.trace_id, _Trace())
        if self._count < self._max_spans or span.is_local_root:
            self._count += span.span_id not in trace.spans
            trace.spans[span.span_id] = span
            return []
        if len(self._traces) == 1:
            # One giant alone: half of it would be no tree, so the rest is only counted.
            trace.omitted += 1
            return []
        oldest = next(trace_id for trace_id in self._traces if trace_id != span.trace_id)
        evicted = self._pop(oldest, "incomplete, too many spans are waiting")
        return [evicted, *self._hold(span)]

    def _take(self, root: Span) -> list[FinishedTrace]:
        """Return the tree under *root*; the other spans of its trace go on waiting."""
        trace = self._traces.get(root.trace_id)
        if trace is None or root.span_id not in trace.spans:
            return []
        children: defaultdict[str, list[str]] = defaultdict(list)
        for span in trace.spans.values():
            # A local root below another one of the same process has a tree of its own.
            if span is root or not span.is_local_root:
                children[span.parent_id].append(span.span_id)
        tree: list[Span] = []
        waiting = [root.span_id]
        while waiting:
            span_id = waiting.pop()
            member = trace.spans.pop(span_id, None)
            if member is not None:
                tree.append(member)
                waiting.extend(children[span_id])
        self._count -= len(tree)
        note = f"{trace.omitted:,} more spans were not kept" if trace.omitted else ""
        trace.omitted = 0
        if not trace.spans:
            del self._traces[root.trace_id]
        return [FinishedTrace(tree, note)]

    def _pop(self, trace_id: str, note: str) -> FinishedTrace:
        trace = self._traces.pop(trace_id)
        self._count -= len(trace.spans)
        if trace.omitted:
            note += f"; {trace.omitted:,} more spans were not kept"
        return FinishedTrace(list(trace.spans.values()), note)
