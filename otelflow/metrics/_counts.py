"""The numbers of all runs of this process: counted when a run starts and ends, read by the ways out.

One lock and a few plain numbers per run, because this stands in the path of every task. The lock is re-entrant: the
garbage collector may end a generator's run while this thread holds it.
"""

import multiprocessing
import time
import weakref
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from otelflow._core.flows import declared
from otelflow._core.flows.objective import checked_buckets
from otelflow._core.inside import events
from otelflow._core.process import forks, losses
from otelflow._core.runs.observers import Observer
from otelflow._core.runs.run import Run
from otelflow.metrics._labels import OVERFLOW, label_of

K = TypeVar("K")

#: Upper bounds in seconds: 5 ms to 24 h
BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 300.0, 900.0, 3_600.0, 10_800.0, 43_200.0, 86_400.0),
)

_EXEMPLAR_SECONDS: Final = 1.0

# Counters begin at 0, so that increase() sees the first loss; others appear when they happen.
_KNOWN_LOSSES: Final = (
    *(("traces", reason) for reason in ("queue_full", "export_failed", "rejected", "shutdown")),
    *(("traces", reason) for reason in ("start_failed", "end_failed")),
    *(("logs", reason) for reason in ("queue_full", "export_failed", "rejected", "shutdown")),
    *(("metrics", reason) for reason in ("series_limit", "export_failed", "rejected", "not_served")),
)


class Exemplar(NamedTuple):
    """One run among those that a number counts: its trace, its duration, and when it ended."""

    trace_id: int
    span_id: int
    value: float
    time: float


class Ended:
    """The runs of one flow or task that ended with the same result."""

    __slots__ = ("counts", "exemplars", "last", "last_duration", "next_exemplar", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0
        self.last = 0.0
        self.last_duration = 0.0
        self.next_exemplar = float("-inf")
        self.exemplars: dict[int, Exemplar] = {}

    @property
    def count(self) -> int:
        """How many runs ended so."""
        return sum(self.counts)

    @property
    def exemplar(self) -> Exemplar | None:
        """The last exemplar."""
        return max(self.exemplars.values(), key=lambda exemplar: exemplar.time, default=None)

    def copy(self) -> "Ended":
        """Return what stands here now."""
        twin = Ended(0)
        twin.counts, twin.total = self.counts.copy(), self.total
        twin.last, twin.last_duration = self.last, self.last_duration
        twin.exemplars = self.exemplars.copy()
        return twin


class Cell:
    """The runs of one flow (``task`` is None), or of one task in it."""

    __slots__ = ("bounds", "ended", "failures", "flow", "open", "task")

    def __init__(self, flow: str, task: str | None, bounds: tuple[float, ...]) -> None:
        self.flow = flow
        self.task = task
        self.bounds = bounds
        self.ended: dict[str, Ended] = {}
        self.failures: dict[str, int] = {}
        self.open: dict[int, weakref.ref[Run]] = {}  # by the id of the run

    def of(self, result: str) -> Ended:
        """Return the runs that ended with *result*."""
        found = self.ended.get(result)
        if found is None:
            found = self.ended[result] = Ended(len(self.bounds))
        return found

    def copy(self) -> "Cell":
        """Return what stands here now."""
        twin = Cell(self.flow, self.task, self.bounds)
        # Copies: the garbage collector may end a generator's run, which counts, in the middle of the loop.
        twin.ended = {result: ended.copy() for result, ended in self.ended.copy().items()}
        twin.failures, twin.open = self.failures.copy(), self.open.copy()
        return twin

    def open_since(self) -> list[float]:
        """Return when the open runs started (Unix time).

        Ctrl-C may keep the end of a run from being counted, and there may be nobody left who would end it.
        """
        runs = [run for one in self.open.copy().values() if (run := one()) is not None]
        return [run.started_ns / 1e9 for run in runs if run.is_open or not run.is_closed]


class Snapshot(NamedTuple):
    """What stood on the board at one moment."""

    flows: list[Cell]
    tasks: list[Cell]
    dropped: Mapping[tuple[str, str], int]
    listener_errors: Mapping[str, int]
    since: float


class Board(Observer):
    """Counts every run once, at any sampling ratio, whoever owns the tracer provider.

    At most *series* flows, tasks and types of error are told apart; the rest is counted as ``__overflow__``. A forked
    child begins at zero. ``started`` and ``ended`` are called when a flow does so that runs in no other flow of this
    process, ``appeared`` when a flow or task is counted that was not known: also at the first run in a forked child.
    ``is_child`` tells that a process above this one counts, too, and goes by the same name.
    """

    def __init__(self, series: int = 2_000) -> None:
        self.started: Callable[[], None] | None = None
        self.ended: Callable[[], None] | None = None
        self.appeared: Callable[[], None] | None = None
        self.limit = series
        self.is_child = multiprocessing.parent_process() is not None
        self._begin()
        forks.begin_anew(self, Board._begin_in_child)

    def _begin(self) -> None:
        self._lock = forks.new_lock()
        self._cells: dict[tuple[str | None, str | None], Cell] = {}
        self._known = 0
        self._since = time.time()
        self._inherited: tuple[Counter[tuple[str, str]], Counter[str]] = Counter(), Counter()

    def _begin_in_child(self) -> None:
        """Leave to the parent what it has counted."""
        self._begin()
        self.is_child = True
        self._inherited = Counter(losses.dropped), Counter(losses.listener_errors)

    # On the threads of the runs

    def run_started(self, run: Run) -> None:
        """Have every counter of *run* before it can count anything."""
        cell = self._cells.get((run.flow_name, run.task_name)) or self._new_cell(run)
        if run.task_name is None:
            with self._lock:
                cell.open[id(run)] = weakref.ref(run)
            if self.started is not None and _is_outermost(run):
                self.started()

    def run_ended(self, run: Run) -> None:
        """Count *run*."""
        outcome, duration = run.ending, run.duration
        cell = self._cells.get((run.flow_name, run.task_name)) or self._new_cell(run)
        place = bisect_left(cell.bounds, duration)
        with self._lock:
            ended = cell.ended.get(outcome.result) or cell.of(outcome.result)
            ended.counts[place] += 1
            ended.total += duration
            is_exemplar = run.clock + duration >= ended.next_exemplar
        if is_exemplar:
            self._keep_exemplar(run, ended, place, duration)
        if cell.task is None:
            self._flow_stopped(cell, ended, run, duration)
        elif outcome.is_failure and outcome.error is not None:
            self._count_failure(cell, outcome.error_type)
        if cell.task == OVERFLOW or cell.flow == OVERFLOW:
            losses.lost("metrics", "series_limit")

    def _flow_stopped(self, cell: Cell, ended: Ended, run: Run, duration: float) -> None:
        with self._lock:
            cell.open.pop(id(run), None)
            ended.last, ended.last_duration = time.time(), duration
        if self.ended is not None and _is_outermost(run):
            self.ended()

    def _keep_exemplar(self, run: Run, ended: Ended, place: int, duration: float) -> None:
        context = run.span.get_span_context()
        if context.trace_flags.sampled:
            ended.next_exemplar = run.clock + duration + _EXEMPLAR_SECONDS
            ended.exemplars[place] = Exemplar(context.trace_id, context.span_id, duration, time.time())

    def _count_failure(self, cell: Cell, kind: str) -> None:
        kind = label_of(kind)
        with self._lock:
            if kind not in cell.failures:
                is_full = self._known >= self.limit
                kind = OVERFLOW if is_full else kind
                self._known += not is_full
            cell.failures[kind] = cell.failures.get(kind, 0) + 1
        if kind == OVERFLOW:
            losses.lost("metrics", "series_limit")

    # Cells

    def _new_cell(self, run: Run) -> Cell:
        """Return the cell of *run*, which is a shared one when there are too many or its name is an id."""
        flow, task = run.flow_name, run.task_name
        cell = self._cell_of(label_of(flow or ""), None if task is None else label_of(task), run)
        if (cell.flow, cell.task) == (flow or "", task):
            with self._lock:
                self._cells[flow, task] = cell
        if self.appeared is not None:
            self.appeared()
        return cell

    def _cell_of(self, flow: str, task: str | None, run: Run | None = None) -> Cell:
        with self._lock:
            found = self._cells.get((flow, task))
            if found is not None:
                return found
            if self._known < self.limit:
                self._known += 1
                cell = self._cells[flow, task] = Cell(flow, task, BUCKETS if task is not None else _bounds(flow, run))
                return cell
            cell = self._overflow(flow, task)
        losses.warn_once(  # without the lock: a handler of the program may run a task, which is counted here
            "metrics series",
            "More than %d flows and tasks are told apart in metrics: the rest is counted as %s. Names must not contain "
            "ids; raise OTELFLOW_METRICS_SERIES if there really are so many",
            self.limit,
            OVERFLOW,
        )
        return cell

    def _overflow(self, flow: str, task: str | None) -> Cell:
        key = (
            flow if task is not None and (flow, None) in self._cells else OVERFLOW,
            None if task is None else OVERFLOW,
        )
        return self._cells.get(key) or self._cells.setdefault(key, Cell(*key, BUCKETS))

    # For the ways out

    @property
    def runs(self) -> int:
        """How many runs have ended: another number tells that there is news."""
        cells = {id(cell): cell for cell in self._cells.copy().values()}
        return sum(ended.count for cell in cells.values() for ended in cell.ended.copy().values())

    def snapshot(self) -> Snapshot:
        """Return all numbers of one moment; every declared flow is among them, also before its first run."""
        for flow in declared.declared_flows():
            self._cell_of(label_of(flow.name), None)
        with self._lock:
            known = {id(cell): cell for cell in self._cells.copy().values()}
            cells = [cell.copy() for cell in known.values()]
        dropped, errors = self._inherited
        return Snapshot(
            [cell for cell in cells if cell.task is None],
            [cell for cell in cells if cell.task is not None],
            {**dict.fromkeys(_KNOWN_LOSSES, 0), **_since(losses.dropped, dropped)},
            {**{events.name_of(one): 0 for one in events.listeners()}, **_since(losses.listener_errors, errors)},
            self._since,
        )


def _is_outermost(run: Run) -> bool:
    """Tell whether no flow around *run* is open in this process; what its parent has opened ends there."""
    above = run.parent
    while above is not None:
        if above.is_open and above.task_name is None:  # a block is a parent that is no run, and never open
            return above.clock < forks.forked_at()
        above = above.parent
    return True


def _since(counted: Counter[K], inherited: Counter[K]) -> dict[K, int]:
    return {key: count - inherited[key] for key, count in dict(counted).items() if count > inherited[key]}


def _bounds(name: str, run: Run | None) -> tuple[float, ...]:
    """Return the buckets of the flow called *name*; one of them ends where its objective does."""
    flow = declared.declared(name)
    bounds = flow.buckets if flow is not None else None
    objective = flow.objective if flow is not None else None
    if run is not None and run.flow is not None:
        objective = run.flow.objective or objective
        bounds = bounds or checked_buckets(run.flow.buckets)
    bounds = bounds or BUCKETS
    if objective is not None and objective.duration is not None:
        bounds = tuple(sorted({*bounds, objective.duration}))
    return bounds
