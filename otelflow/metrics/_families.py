"""What the board shows, as metrics with names, labels and values: the same for every way out."""

import platform
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from prometheus_client.utils import floatToGoString

from otelflow import semconv
from otelflow._version import __version__
from otelflow.metrics._counts import Cell, Ended, Exemplar, Snapshot

Kind = Literal["counter", "gauge", "number of", "histogram"]


class Point(NamedTuple):
    """One series of a metric: its labels, and its number or (of a histogram) its distribution."""

    labels: tuple[str, ...]
    value: float = 0.0
    exemplar: Exemplar | None = None
    ended: Ended | None = None
    bounds: tuple[float, ...] = ()

    @property
    def shown_bounds(self) -> list[str]:
        """The values of the label ``le``."""
        shown: list[str] = [floatToGoString(bound) for bound in self.bounds]  # type: ignore[no-untyped-call]
        return [*shown, "+Inf"]


class Metric(NamedTuple):
    """One metric: its name, what it is, the names of its labels, and its series."""

    name: str
    help: str
    kind: Kind
    label_names: tuple[str, ...]
    points: list[Point]


#: What is true only while the process lives; a way out that keeps numbers of the past leaves these out.
LIVE: Final = frozenset({semconv.FLOW_RUNS_IN_PROGRESS, semconv.FLOW_OLDEST_RUN})

#: What tells of the last run with a result: true whoever tells it, for the newest of several processes
LAST: Final = (semconv.FLOW_LAST_RUN, semconv.FLOW_LAST_RUN_DURATION)


def readings(snapshot: Snapshot) -> list[Metric]:
    """Return every metric of *snapshot*."""
    return [*_of_flows(snapshot.flows), *_of_tasks(snapshot.tasks), *_of_telemetry(snapshot)]


def _of_flows(cells: list[Cell]) -> Iterator[Metric]:
    flow, by_result = ("flow",), ("flow", "result")
    yield Metric(semconv.FLOW_RUNS, "Runs of flows that ended.", "counter", by_result, _runs(cells))
    yield Metric(semconv.FLOW_RUN_DURATION, "How long runs of flows took.", "histogram", by_result, _durations(cells))
    open_since = [(cell.flow, cell.open_since()) for cell in cells]
    in_progress = [Point((name,), len(since)) for name, since in open_since]
    yield Metric(semconv.FLOW_RUNS_IN_PROGRESS, "Runs of flows that are open.", "number of", flow, in_progress)
    # 0, not nothing: a Collector shows what it was last sent for a day, and the run would look stuck.
    oldest = [Point((name,), min(since, default=0.0)) for name, since in open_since]
    yield Metric(
        semconv.FLOW_OLDEST_RUN,
        "When the oldest open run of a flow started (Unix time), or 0.",
        "gauge",
        flow,
        oldest,
    )
    last = [((cell.flow, result), ended) for cell in cells for result, ended in cell.ended.items() if ended.last]
    yield Metric(
        semconv.FLOW_LAST_RUN,
        "When the last run with this result ended (Unix time).",
        "gauge",
        by_result,
        [Point(labels, ended.last) for labels, ended in last],
    )
    yield Metric(
        semconv.FLOW_LAST_RUN_DURATION,
        "How long the last run with this result took.",
        "gauge",
        by_result,
        [Point(labels, ended.last_duration) for labels, ended in last],
    )


def _of_tasks(cells: list[Cell]) -> Iterator[Metric]:
    by_result = ("flow", "task", "result")
    yield Metric(semconv.TASK_RUNS, "Runs of tasks that ended.", "counter", by_result, _runs(cells))
    yield Metric(semconv.TASK_RUN_DURATION, "How long runs of tasks took.", "histogram", by_result, _durations(cells))
    failures = [Point((*_labels(cell), kind), count) for cell in cells for kind, count in cell.failures.items()]
    yield Metric(
        semconv.TASK_FAILURES,
        "Runs of tasks that failed, by type of error.",
        "counter",
        ("flow", "task", "error_type"),
        failures,
    )


def _of_telemetry(snapshot: Snapshot) -> Iterator[Metric]:
    yield Metric(
        semconv.TELEMETRY_DROPPED,
        "Telemetry that was lost.",
        "counter",
        ("signal", "reason"),
        [Point(labels, count) for labels, count in snapshot.dropped.items()],
    )
    yield Metric(
        semconv.LISTENER_ERRORS,
        "Exceptions that listeners raised.",
        "counter",
        ("listener",),
        [Point((name,), count) for name, count in snapshot.listener_errors.items()],
    )
    build = Point((__version__, platform.python_version()), 1)
    yield Metric(semconv.BUILD_INFO, "Which otelflow runs.", "gauge", ("version", "python"), [build])


def _labels(cell: Cell) -> tuple[str, ...]:
    return (cell.flow,) if cell.task is None else (cell.flow, cell.task)


def _runs(cells: Iterable[Cell]) -> list[Point]:
    """Return how many runs ended with each result, also with those that have not happened."""
    points = []
    for cell in cells:
        for result in dict.fromkeys((*semconv.RESULTS, *cell.ended)):
            ended = cell.ended.get(result)
            labels = (*_labels(cell), result)
            points.append(Point(labels) if ended is None else Point(labels, ended.count, ended.exemplar))
    return points


def _durations(cells: Iterable[Cell]) -> list[Point]:
    return [
        Point((*_labels(cell), result), ended=ended, bounds=cell.bounds)
        for cell in cells
        for result, ended in cell.ended.items()
        if ended.count
    ]
