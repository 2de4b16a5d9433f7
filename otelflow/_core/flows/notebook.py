"""What a notebook shows of a flow that ran: its tree, with and without a place where traces are kept.

Only inside of IPython runs are remembered for it, and only as long as the program keeps the flow.
"""

import itertools
from collections import deque
from typing import Any, Final, NamedTuple

from otelflow import semconv
from otelflow._core.inside.journal import is_wanted
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers, spans
from otelflow._core.runs.engine import keeps_inside
from otelflow._core.runs.run import Entry, Journal, Run
from otelflow._core.text.redaction import recorded

_MOST_RUNS: Final = 2_000
# Those that came last: of an earlier one that still leaves a run it is told twice.
_MOST_ERRORS: Final = 100


class _Remembered:
    """One run: what its line shows, and what happened inside, as its span would keep it."""

    __slots__ = (
        *("attributes", "ended_ns", "entries", "failure", "journal", "name", "number", "parent", "started_ns"),
        "trace_id",
    )

    def __init__(self, run: Run, number: int, parent: int) -> None:
        self.number, self.parent = number, parent
        self.name, self.started_ns, self.ended_ns = run.span_name(), run.started_ns, 0
        self.attributes = run.attributes()
        self.failure: str | None = None
        self.journal = Journal()
        self.entries: list[tuple[str, int, Any]] = []  # of a run that has ended
        context = spans.context_of(run.span)
        self.trace_id = f"{context.trace_id:032x}" if context is not None else ""


class _Runs:
    """The runs of one outermost run, and how many there were that are not kept."""

    __slots__ = ("left_out", "runs")

    def __init__(self) -> None:
        self.runs: list[_Remembered] = []
        self.left_out = 0


class Tree(NamedTuple):
    """The runs of one outermost run, and the number of the flow's own among them."""

    all: _Runs
    number: int


class _Notebook(State, observers.Observer):
    """Remembers the runs of a notebook by the outermost run that they are in."""

    def reset(self) -> None:
        """Remember nothing."""
        self.numbers = itertools.count(1)
        self.open: dict[int, _Remembered] = {}
        self.trees: dict[int, _Runs] = {}
        self.told: dict[int, deque[BaseException]] = {}

    def run_started(self, run: Run) -> None:
        """Remember that *run* began."""
        outermost = run
        while outermost.parent is not None:
            outermost = outermost.parent
        runs = self.trees.get(id(outermost))
        if runs is None:
            runs = _Runs()
            if run is outermost:  # else that has ended already, and its id may be another's by now
                self.trees[id(run)] = runs
        parent = self.open.get(id(run.parent))
        remembered = _Remembered(run, next(self.numbers), parent.number if parent is not None else 0)
        self.open[id(run)] = remembered
        if len(runs.runs) < _MOST_RUNS:
            runs.runs.append(remembered)
        else:
            runs.left_out += 1
        if run.kind == "flow":
            run.flow_state.tree = Tree(runs, remembered.number)

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Remember a message, an artifact or a result."""
        remembered = self.open.get(id(run))
        if remembered is not None and is_wanted(entry):
            remembered.journal.add(entry)

    def run_ended(self, run: Run) -> None:
        """Remember how *run* ended."""
        remembered = self.open.pop(id(run), None)
        if remembered is None:
            return
        remembered.ended_ns = run.ended_ns
        ending = run.ending
        # What has reached a span by now is there, too; without a provider there is none.
        remembered.attributes |= getattr(run.span, "attributes", None) or {}
        remembered.attributes |= {semconv.RUN_RESULT: ending.result, **remembered.journal.omitted()}
        remembered.entries = list(remembered.journal.events(remembered.ended_ns))
        remembered.journal = Journal()
        # A run that another process has told of has no definition.
        definition = getattr(run, "definition", None) if run.kind else None
        if definition is not None and definition.capture_return_value:
            value = run.task.task_return_value if run.task is not None else run.flow_state.return_value
            if value is not None:
                remembered.attributes[semconv.RUN_RETURN_VALUE] = recorded(value, settings().value_limit)
        if ending.error is not None:
            remembered.attributes[semconv.ERROR_TYPE] = ending.error_type
            remembered.failure = ending.error_message if ending.is_failure else None
            if not any(ending.error is error for error in self.told.get(remembered.number, ())):
                event = (semconv.EXCEPTION_EVENT, remembered.ended_ns, ending.exception_attributes())
                remembered.entries.append(event)
            parent = self.open.get(id(run.parent))
            # It is described where it was raised.
            if parent is not None and not keeps_inside(run, ending, ending.error):
                self.told.setdefault(parent.number, deque(maxlen=_MOST_ERRORS)).append(ending.error)
        self.told.pop(remembered.number, None)
        if run.parent is None:
            self.trees.pop(id(run), None)


_notebook: Final = _Notebook()


def observe_in_shell(ipython: Any) -> None:
    """Remember runs from now on if this is a notebook, or IPython in a terminal: *ipython* is its module."""
    get_shell = getattr(ipython, "get_ipython", None)  # there is none while another thread imports IPython
    if get_shell is not None and get_shell() is not None:
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
    for run in tree.all.runs:  # parents first
        if run.number == tree.number or run.parent in below:
            below.add(run.number)
            parent = run.parent if run.number != tree.number else 0
            trees.add(
                (run.trace_id, run.number, parent, run.name),
                (run.started_ns, run.ended_ns),
                run.attributes,
                [*run.entries, *run.journal.events()],
                failure=run.failure,
            )
    left_out = tree.all.left_out
    return trees.mime_bundle(f"of many runs the first {_MOST_RUNS:,}; {left_out:,} are not shown" if left_out else "")
