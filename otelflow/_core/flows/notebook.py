"""What a notebook shows of a flow that ran: its tree, with and without a place where traces are kept.

Only inside of IPython runs are remembered for it, and only as long as somebody has the flow.
"""

import itertools
from typing import Any, Final, NamedTuple

from otelflow import semconv
from otelflow._core.process.process import State
from otelflow._core.runs import observers, spans
from otelflow._core.runs.run import Entry, Run

_MOST_RUNS: Final = 2_000
_MOST_ENTRIES: Final = 200


class _Remembered:
    """One run: what its line shows, and what happened inside."""

    __slots__ = ("attributes", "ended_ns", "entries", "failure", "name", "number", "parent", "started_ns", "trace_id")

    def __init__(self, run: Run, number: int, parent: int) -> None:
        self.number, self.parent = number, parent
        self.name, self.started_ns, self.ended_ns = run.span_name, run.started_ns, 0
        self.attributes = run.attributes()
        self.failure: str | None = None
        self.entries: list[tuple[str, int, Any]] = []
        context = spans.context_of(run.span)
        self.trace_id = f"{context.trace_id:032x}" if context is not None else ""


class Tree(NamedTuple):
    """The runs of one outermost run, and the number of the flow's own among them."""

    runs: list[_Remembered]
    number: int


class _Notebook(State, observers.Observer):
    """Remembers the runs of a notebook by the outermost run that they are in."""

    def reset(self) -> None:
        """Remember nothing."""
        self.numbers = itertools.count(1)
        self.open: dict[int, _Remembered] = {}
        self.trees: dict[int, list[_Remembered]] = {}
        self.told: set[int] = set()

    def run_started(self, run: Run) -> None:
        """Remember that *run* began."""
        outermost = run
        while outermost.parent is not None:
            outermost = outermost.parent
        runs = self.trees.setdefault(id(outermost), [])
        parent = self.open.get(id(run.parent))
        remembered = _Remembered(run, next(self.numbers), parent.number if parent is not None else 0)
        self.open[id(run)] = remembered
        if len(runs) < _MOST_RUNS:
            runs.append(remembered)
        if run.kind == "flow":
            run.flow.flow_state.tree = Tree(runs, remembered.number)

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Remember a message, an artifact or a result."""
        remembered = self.open.get(id(run))
        if remembered is not None and len(remembered.entries) < _MOST_ENTRIES:
            remembered.entries.append((entry.event_name, entry.time_ns, entry.attributes()))

    def run_ended(self, run: Run) -> None:
        """Remember how *run* ended."""
        remembered = self.open.pop(id(run), None)
        if remembered is None:
            return
        remembered.ended_ns = spans.end_of(run)
        ending = run.ending
        remembered.attributes[semconv.RUN_RESULT] = ending.result
        if ending.error is not None:
            remembered.attributes[semconv.ERROR_TYPE] = ending.error_type
            remembered.failure = ending.error_message if ending.is_failure else None
            if id(ending.error) not in self.told:  # it is described where it was raised
                self.told.add(id(ending.error))
                event = (semconv.EXCEPTION_EVENT, remembered.ended_ns, ending.exception_attributes())
                remembered.entries.append(event)
        if run.parent is None:
            self.trees.pop(id(run), None)
            self.told.clear()


_notebook: Final = _Notebook()


def observe_in_shell(ipython: Any) -> None:
    """Remember runs from now on if this is a notebook, or IPython in a terminal: *ipython* is its module."""
    if ipython.get_ipython() is not None:
        observers.add_observer(_notebook)


def mime_bundle(tree: Tree | None) -> dict[str, str]:
    """Return the tree as text and as HTML; nothing for a flow that has not run here, or where rich is missing."""
    if tree is None:
        return {}
    try:
        from otelflow_exporters._tree.html import Trees  # noqa: PLC0415 only notebooks draw, and rich is optional
    except ImportError:
        return {}
    below = {tree.number}
    trees = Trees()
    for run in tree.runs:  # parents first
        if run.number == tree.number or run.parent in below:
            below.add(run.number)
            parent = run.parent if run.number != tree.number else 0
            trees.add(
                (run.trace_id, run.number, parent, run.name),
                (run.started_ns, run.ended_ns),
                run.attributes,
                run.entries,
                failure=run.failure,
            )
    return trees.mime_bundle()
