"""The numbers of all runs of this process: counted when a run starts and ends, read by the outputs.

One lock and a few plain numbers per run, because this stands in the path of every task. The lock is re-entrant: the
garbage collector may end a generator's run while this thread holds it.
"""

import multiprocessing
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from otelflow import semconv
from otelflow._core.flows import declared
from otelflow._core.flows.objective import buckets_of, objective_of
from otelflow._core.inside import listeners
from otelflow._core.process import clock, forks, losses, tallies
from otelflow._core.runs import open_runs
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.observers import LostRun, Observer
from otelflow._core.runs.run import Run
from otelflow.errors import ConfigurationError
from otelflow.metrics._labels import by_label, label_of
from otelflow.metrics._others import OtherServices

#: Upper bounds in seconds: 5 ms to 24 h
BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 300.0, 900.0, 3_600.0, 10_800.0, 43_200.0, 86_400.0),
)

_EXEMPLAR_SECONDS: Final = 1.0
_EXEMPLAR_FILTER: Final = "OTEL_METRICS_EXEMPLAR_FILTER"
_ALWAYS_OFF: Final = "always_off"
_TRACE_BASED: Final = "trace_based"
_EXEMPLAR_FILTERS: Final = ("always_on", _ALWAYS_OFF, _TRACE_BASED)

# Counters begin at 0, so that increase() sees the first loss; others appear when they happen.
_LOSSES: Final = (
    *(("traces", reason) for reason in ("queue_full", "export_failed", "rejected", "shutdown")),
    *(("traces", reason) for reason in ("start_failed", "end_failed", "trace_broken")),
    *(("logs", reason) for reason in ("queue_full", "export_failed", "rejected", "shutdown")),
    *(("metrics", reason) for reason in ("series_limit", "export_failed", "rejected", "not_served")),
)


class Exemplar(NamedTuple):
    """One run among those that a number counts: its trace, its duration, and when it ended (Unix time)."""

    trace_id: int
    span_id: int
    value: float
    time: float


class Distribution:
    """The durations of the runs of one series that ended with the same result, in seconds, and the last of them."""

    __slots__ = ("bounds", "counts", "exemplars", "last_duration", "last_time", "next_exemplar", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.last_time = 0.0
        self.last_duration = 0.0
        self.next_exemplar = float("-inf")
        self.exemplars: dict[int, Exemplar] = {}  # by bucket

    @property
    def count(self) -> int:
        """The number of runs."""
        return sum(self.counts)

    @property
    def exemplar(self) -> Exemplar | None:
        """The last exemplar."""
        return max(self.exemplars.values(), key=lambda exemplar: exemplar.time, default=None)

    def copy(self) -> "Distribution":
        """Return the numbers of this moment."""
        twin = Distribution(self.bounds)
        twin.counts, twin.total = self.counts.copy(), self.total
        twin.last_time, twin.last_duration = self.last_time, self.last_duration
        twin.exemplars = self.exemplars.copy()
        return twin


class Series:
    """The runs of one flow (``task`` is None), or of one task in it: durations by result, failures by type of error."""

    __slots__ = ("bounds", "durations", "failures", "flow", "is_rest", "retries", "reused", "task")

    def __init__(self, flow: str, task: str | None, bounds: tuple[float, ...]) -> None:
        self.flow = flow
        self.task = task
        self.is_rest = semconv.OVERFLOW in (flow, task)
        self.bounds = bounds
        self.durations: dict[str, Distribution] = {}
        self.failures: dict[str, int] = {}
        self.retries = 0
        self.reused = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of the labels that all its numbers have."""
        return (self.flow,) if self.task is None else (self.flow, self.task)

    def copy(self) -> "Series":
        """Return the numbers of this moment."""
        twin = Series(self.flow, self.task, self.bounds)
        # Copies: the garbage collector may end a generator's run, which counts, in the middle of the loop.
        twin.durations = {result: durations.copy() for result, durations in self.durations.copy().items()}
        twin.failures = self.failures.copy()
        twin.retries = self.retries
        twin.reused = self.reused
        return twin


class Snapshot(NamedTuple):
    """The numbers of one moment; *open_since* has the start of each open run by flow, *since* that of the counting."""

    flows: list[Series]
    tasks: list[Series]
    open_since: Mapping[str, list[float]]
    dropped: Mapping[tuple[str, str], int]
    listener_errors: Mapping[str, int]
    since: float
    missed_runs: Mapping[tuple[str, str], int] = MappingProxyType({})
    limit_waits: Mapping[str, int] = MappingProxyType({})
    limit_seconds: Mapping[str, float] = MappingProxyType({})

    @property
    def active_flows(self) -> set[str]:
        """The flows of which a run has ended, or a task has started."""
        return {series.flow for series in self.flows if series.durations} | {series.flow for series in self.tasks}


class Hooks(NamedTuple):
    """Functions to call, on the thread of the run.

    The first two when a flow starts and ends that runs in no other flow of this process, the third when a flow or task
    is counted for the first time: also at its first run in a forked child.
    """

    flow_started: Callable[[], None] | None = None
    flow_ended: Callable[[], None] | None = None
    series_added: Callable[[], None] | None = None


class Aggregator(Observer):
    """Counts every run once, at any sampling ratio, whichever tracer provider makes its span.

    At most *limit* flows, tasks and types of error are told apart; the rest is counted as ``__overflow__``. A forked
    child begins at zero. ``is_child`` tells that a process above this one counts, too, under the same name.
    Raises ConfigurationError for an ``OTEL_METRICS_EXEMPLAR_FILTER`` that does not exist.
    """

    def __init__(self, limit: int = 2_000) -> None:
        self.hooks = Hooks()
        self.limit = limit
        self.others = OtherServices()
        exemplar_filter = os.environ.get(_EXEMPLAR_FILTER, "").strip().lower() or _TRACE_BASED
        if exemplar_filter not in _EXEMPLAR_FILTERS:
            raise ConfigurationError(
                f"{_EXEMPLAR_FILTER} must be one of {', '.join(_EXEMPLAR_FILTERS)}, not {exemplar_filter!r}"
            )
        self._takes_exemplars = exemplar_filter != _ALWAYS_OFF
        self._takes_sampled_only = exemplar_filter == _TRACE_BASED
        self.is_child = multiprocessing.parent_process() is not None
        self._begin()
        forks.begin_anew(self, Aggregator.begin_anew)

    def _begin(self) -> None:
        self._lock = forks.new_lock()
        self._series: dict[tuple[str | None, str | None], Series] = {}
        self.others.begin_anew()
        self._size = 0
        self._since, self._clock = clock.time(), clock.perf_counter()
        self._inherited: tuple[Counter[tuple[str, str]], Counter[str]] = Counter(), Counter()

    def begin_anew(self) -> None:
        """Leave the counts of the parent to it."""
        self._begin()
        self.is_child = True
        self._inherited = Counter(losses.dropped), Counter(losses.listener_errors)

    # On the threads of the runs

    def run_started(self, run: Run) -> None:
        """Have every counter of *run* before it can count anything."""
        if not run.kind:  # a span inside a flow or task, which is counted
            if run.attempt > 1:
                series = self._series.get((run.flow_name, run.task_name)) or self._add_series(run)
                with self._lock:
                    series.retries += 1
            return
        if (run.flow_name, run.task_name) not in self._series:
            self._add_series(run)
        if run.kind == "flow" and self.hooks.flow_started is not None and _is_outermost(run):
            self.hooks.flow_started()

    def run_ended(self, run: Run) -> None:
        """Count *run*."""
        if not run.kind or (not run.was_called and self._is_reuse(run)):
            return
        ending, duration = run.ending, run.duration
        series = self._series.get((run.flow_name, run.task_name)) or self._add_series(run)
        bucket = bisect_left(series.bounds, duration)
        with self._lock:
            durations = series.durations.get(ending.result)
            if durations is None:
                durations = series.durations[ending.result] = Distribution(series.bounds)
            durations.counts[bucket] += 1
            durations.total += duration
            if series.task is None:
                durations.last_time, durations.last_duration = clock.time(), duration
        # A run that is not recorded is not sampled; its span would make ids only because they are asked for here.
        if run.clock + duration >= durations.next_exemplar and (run.is_recording or not self._takes_sampled_only):
            context = run.span.get_span_context()
            if self._takes_exemplars and (
                context.trace_flags.sampled if self._takes_sampled_only else context.is_valid
            ):
                durations.next_exemplar = run.clock + duration + _EXEMPLAR_SECONDS
                durations.exemplars[bucket] = Exemplar(context.trace_id, context.span_id, duration, clock.time())
        if series.task is None:
            if self.hooks.flow_ended is not None and _is_outermost(run):
                self.hooks.flow_ended()
        elif ending.error is not None and ending.is_failure:
            self._count_failure(series, label_of(ending.error_type))
        if series.is_rest:
            losses.lost("metrics", "series_limit")

    def _is_reuse(self, run: Run) -> bool:
        """Tell whether the value of *run* was there before it, and count it then: that is no run of its task."""
        if run.ending is not SUCCESS or run.task_name is None:
            return False
        series = self._series.get((run.flow_name, run.task_name)) or self._add_series(run)
        with self._lock:
            series.reused += 1
        return True

    def run_lost(self, run: LostRun) -> None:
        """Count *run* of a process that is gone and cannot count it."""
        if self.others.take(run, self.limit):
            if self.hooks.series_added is not None:
                self.hooks.series_added()
            return
        flow, task = label_of(run.flow_name), None if run.task_name is None else label_of(run.task_name)
        series = self._series_of(flow, task)
        bucket = bisect_left(series.bounds, run.duration)
        with self._lock:
            durations = series.durations.setdefault(semconv.ERROR, Distribution(series.bounds))
            durations.counts[bucket] += 1
            durations.total += run.duration
            ended = run.started + run.duration
            if task is None and ended > durations.last_time:
                durations.last_time, durations.last_duration = ended, run.duration
            if self._takes_exemplars:
                durations.exemplars[bucket] = Exemplar(run.trace_id, run.span_id, run.duration, ended)
        if task is not None:
            self._count_failure(series, semconv.PROCESS_LOST)
        if series.is_rest:
            losses.lost("metrics", "series_limit")
        if self.hooks.series_added is not None:
            self.hooks.series_added()

    def _count_failure(self, series: Series, error: str) -> None:
        with self._lock:
            if error not in series.failures:
                is_full = self._size >= self.limit
                error = semconv.OVERFLOW if is_full else error
                self._size += not is_full
            series.failures[error] = series.failures.get(error, 0) + 1
        if error == semconv.OVERFLOW:
            losses.lost("metrics", "series_limit")

    def _add_series(self, run: Run) -> Series:
        """Return the series of *run*, which is a shared one when there are too many or its name is an id."""
        flow, task = run.flow_name, run.task_name
        series = self._series_of(label_of(flow or ""), None if task is None else label_of(task), run)
        if (series.flow, series.task) == (flow or "", task):
            with self._lock:
                self._series[flow, task] = series
        if self.hooks.series_added is not None:
            self.hooks.series_added()
        return series

    def _series_of(self, flow: str, task: str | None, run: Run | None = None) -> Series:
        """Return the series with the labels *flow* and *task*, or the one that counts the rest."""
        is_new_flow = task is None and (flow, None) not in self._series and self._size < self.limit
        bounds = _bounds(flow, run) if is_new_flow else BUCKETS  # without the lock: it may warn
        with self._lock:
            series = self._series.get((flow, task))
            if series is not None:
                return series
            if self._size < self.limit:
                self._size += 1
                series = Series(flow, task, bounds)
                self._series[flow, task] = series
                return series
            if task is None or (flow, None) not in self._series:
                flow = semconv.OVERFLOW
            if task is not None:
                task = semconv.OVERFLOW
            series = self._series.setdefault((flow, task), Series(flow, task, BUCKETS))
        losses.warn_once(  # without the lock: a handler of the program may run a task, which is counted here
            "metrics series",
            "More than %d flows and tasks are told apart in metrics: the rest is counted as %s. Names must not contain "
            "ids; raise OTELFLOW_METRICS_SERIES if there really are so many",
            self.limit,
            semconv.OVERFLOW,
        )
        return series

    # For the outputs

    @property
    def run_count(self) -> int:
        """The number of runs that have ended; it grows with each."""
        series_list = dict.fromkeys(self._series.copy().values())
        by_result = (durations for series in series_list for durations in series.durations.copy().values())
        return self.others.count + sum(durations.count for durations in by_result)

    def version(self) -> object:
        """Return a value that changes whenever a snapshot would; it costs far less."""
        return (
            self.run_count,
            # Counted after its run: a look between the two must not be the last.
            sum(sum(series.failures.copy().values()) for series in self._series.copy().values()),
            sum(series.retries for series in self._series.copy().values()),
            sum(series.reused for series in self._series.copy().values()),
            len(self._series),
            len(declared.declared_flows()),
            {(id(run), run.clock) for run in open_runs.open_runs() if run.kind == "flow"},
            Counter(losses.dropped),
            Counter(losses.listener_errors),
            Counter(tallies.missed_runs),
            Counter(tallies.limit_waits),
            len(listeners.listeners()),
        )

    def snapshot(self) -> Snapshot:
        """Return all numbers of one moment; every declared flow is among them, also before its first run."""
        for flow in declared.declared_flows():
            self._series_of(label_of(flow.name), None)
        with self._lock:
            series_list = [series.copy() for series in dict.fromkeys(self._series.copy().values())]
        # One that was open before the counting began will not be counted at its end either.
        flow_runs = [run for run in open_runs.open_runs() if run.kind == "flow" and run.clock >= self._clock]
        open_since: dict[str, list[float]] = {}
        for run in flow_runs:
            flow_series = self._series_of(label_of(run.flow_name or ""), None, run)
            open_since.setdefault(flow_series.flow, []).append(run.started_ns / 1e9)
        dropped, errors = self._inherited
        names = dict.fromkeys(map(listeners.name_of, listeners.listeners()), 0)
        return Snapshot(
            [series for series in series_list if series.task is None],
            [series for series in series_list if series.task is not None],
            open_since,
            {**dict.fromkeys(_LOSSES, 0), **(Counter(losses.dropped) - dropped)},
            {**names, **(Counter(losses.listener_errors) - errors)},
            self._since,
            by_label(tallies.missed_runs, lambda name: (label_of(name[0]), name[1])),
            by_label(tallies.limit_waits, label_of),
            by_label(tallies.limit_seconds, label_of),
        )


def _is_outermost(run: Run) -> bool:
    """Tell whether no flow around *run* is open in this process; those that the parent process has opened end there."""
    above = run.parent
    while above is not None:
        if above.is_open and above.kind == "flow":
            return above.clock < forks.fork.clock
        above = above.parent
    return True


def _bounds(name: str, run: Run | None) -> tuple[float, ...]:
    """Return the buckets of the flow called *name*; one of them ends where its objective does."""
    flow = declared.declared(name)
    bounds = flow.buckets if flow is not None else None
    objective = flow.objective if flow is not None else None
    if run is not None and run.flow is not None:
        objective = objective_of(run.flow) or objective
        bounds = bounds or buckets_of(run.flow)
    bounds = bounds or BUCKETS
    if objective is not None and objective.duration is not None:
        bounds = tuple(sorted({*bounds, objective.duration}))
    return bounds
