"""The table of all metrics, and their samples at one moment: the same for every output.

A new metric is an entry here and the place where it is counted; every output reads the rest from the table.
"""

import functools
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from prometheus_client.utils import floatToGoString

from otelflow import semconv
from otelflow._core.runs.observers import LostRun
from otelflow._version import __version__
from otelflow.metrics._counts import Distribution, Exemplar, Series, Snapshot


class Sample(NamedTuple):
    """One series of a metric at one moment: its labels, and its number or (of a histogram) its distribution.

    *time* is when the number became true (Unix time), where another process may know a newer one.
    """

    labels: tuple[str, ...]
    value: float = 0.0
    exemplar: Exemplar | None = None
    distribution: Distribution | None = None
    time: float = 0.0


@dataclass(frozen=True)
class Metric:
    """Everything that is declared of one metric.

    ``merge`` tells how the numbers of several processes become one, in the words of prometheus-client; those of a dead
    process do not count where it begins with "live". ``is_live`` is what is true only while the process lives: an
    output that keeps numbers of the past leaves it out. ``is_of_last_run`` is true whichever process tells it, for the
    newest run of several processes.
    """

    name: str
    help: str
    kind: Literal["counter", "up-down counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    merge: Literal["sum", "livesum", "liveall", "livemax", "max", "mostrecent"]
    read: Callable[[Snapshot], list[Sample]]
    unit: str = ""
    is_live: bool = False
    is_of_last_run: bool = False

    @property
    def is_of_flows(self) -> bool:
        """Whether each flow has samples of its own."""
        return self.labels[:1] == ("flow",)


class Family(NamedTuple):
    """One metric and its samples."""

    metric: Metric
    samples: list[Sample]


def read(snapshot: Snapshot) -> list[Family]:
    """Return every metric of *snapshot*."""
    return [Family(metric, metric.read(snapshot)) for metric in METRICS]


@functools.lru_cache(maxsize=256)
def bucket_labels(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Return the values of the label ``le`` of a histogram whose buckets end at *bounds*."""
    labels: list[str] = [floatToGoString(bound) for bound in bounds]  # type: ignore[no-untyped-call]
    return (*labels, "+Inf")


def _runs(series_list: Iterable[Series]) -> list[Sample]:
    """Return how many runs ended with each result, also with those that have not happened."""
    samples = []
    for series in series_list:
        for result in dict.fromkeys((*semconv.RESULTS, *series.durations)):
            durations = series.durations.get(result)
            labels = (*series.labels, result)
            samples.append(Sample(labels) if durations is None else Sample(labels, durations.count, durations.exemplar))
    return samples


def _durations(series_list: Iterable[Series]) -> list[Sample]:
    return [
        Sample((*series.labels, result), distribution=durations)
        for series in series_list
        for result, durations in series.durations.items()
        if durations.count
    ]


def _retries(series_list: Iterable[Series]) -> list[Sample]:
    return [Sample(series.labels, series.retries) for series in series_list]


def _last_runs(snapshot: Snapshot, value: Callable[[Distribution], float]) -> list[Sample]:
    return [
        Sample((*series.labels, result), value(durations), time=durations.last_time)
        for series in snapshot.flows
        for result, durations in series.durations.items()
        if durations.last_time
    ]


def _open_runs(snapshot: Snapshot, value: Callable[[list[float]], float]) -> list[Sample]:
    return [Sample(series.labels, value(snapshot.open_since.get(series.flow, []))) for series in snapshot.flows]


METRICS: Final = (
    Metric(
        semconv.FLOW_RUNS,
        "Runs of flows that ended.",
        "counter",
        ("flow", "result"),
        "sum",
        lambda snapshot: _runs(snapshot.flows),
    ),
    Metric(
        semconv.FLOW_RUN_DURATION,
        "How long runs of flows took.",
        "histogram",
        ("flow", "result"),
        "sum",
        lambda snapshot: _durations(snapshot.flows),
        unit="s",
    ),
    Metric(
        semconv.FLOW_RUNS_IN_PROGRESS,
        "Runs of flows that are open.",
        "up-down counter",
        ("flow",),
        "livesum",
        lambda snapshot: _open_runs(snapshot, len),
        is_live=True,
    ),
    Metric(
        semconv.FLOW_OLDEST_RUN,
        "When the oldest open run of a flow started (Unix time), or 0.",
        "gauge",
        ("flow",),
        "liveall",  # with a label pid: 0 in one process must not hide the oldest of another
        # 0, not nothing: a Collector shows what it was last sent for a day, and the run would look stuck.
        lambda snapshot: _open_runs(snapshot, lambda since: min(since, default=0.0)),
        is_live=True,
    ),
    Metric(
        semconv.FLOW_LAST_RUN,
        "When the last run with this result ended (Unix time).",
        "gauge",
        ("flow", "result"),
        "max",
        lambda snapshot: _last_runs(snapshot, lambda durations: durations.last_time),
        is_of_last_run=True,
    ),
    Metric(
        semconv.FLOW_LAST_RUN_DURATION,
        "How long the last run with this result took.",
        "gauge",
        ("flow", "result"),
        "mostrecent",
        lambda snapshot: _last_runs(snapshot, lambda durations: durations.last_duration),
        is_of_last_run=True,
    ),
    Metric(
        semconv.TASK_RUNS,
        "Runs of tasks that ended.",
        "counter",
        ("flow", "task", "result"),
        "sum",
        lambda snapshot: _runs(snapshot.tasks),
    ),
    Metric(
        semconv.TASK_RUN_DURATION,
        "How long runs of tasks took.",
        "histogram",
        ("flow", "task", "result"),
        "sum",
        lambda snapshot: _durations(snapshot.tasks),
        unit="s",
    ),
    Metric(
        semconv.TASK_FAILURES,
        "Runs of tasks that failed, by type of error.",
        "counter",
        ("flow", "task", "error_type"),
        "sum",
        lambda snapshot: [
            Sample((*series.labels, error), count)
            for series in snapshot.tasks
            for error, count in series.failures.items()
        ],
    ),
    Metric(
        semconv.FLOW_RETRIES,
        "How often runs of flows were tried again.",
        "counter",
        ("flow",),
        "sum",
        lambda snapshot: _retries(snapshot.flows),
    ),
    Metric(
        semconv.TASK_RETRIES,
        "How often runs of tasks were tried again.",
        "counter",
        ("flow", "task"),
        "sum",
        lambda snapshot: _retries(snapshot.tasks),
    ),
    Metric(
        semconv.SCHEDULE_MISSED_RUNS,
        "Runs of a schedule that did not take place.",
        "counter",
        ("schedule", "reason"),
        "sum",
        lambda snapshot: [Sample(labels, count) for labels, count in snapshot.missed_runs.items()],
    ),
    Metric(
        semconv.TASK_RESULTS_REUSED,
        "Calls of tasks that did not run, since their value was cached, or kept of an earlier attempt.",
        "counter",
        ("flow", "task"),
        "sum",
        lambda snapshot: [Sample(series.labels, series.reused) for series in snapshot.tasks],
    ),
    Metric(
        semconv.LIMIT_PASSES,
        "How often a limit let a run begin.",
        "counter",
        ("limit",),
        "sum",
        lambda snapshot: [Sample((name,), count) for name, count in snapshot.limit_waits.items()],
    ),
    Metric(
        semconv.LIMIT_WAIT,
        "How long limits were waited for.",
        "counter",
        ("limit",),
        "sum",
        lambda snapshot: [Sample((name,), seconds) for name, seconds in snapshot.limit_seconds.items()],
        unit="s",
    ),
    Metric(
        semconv.TELEMETRY_DROPPED,
        "Telemetry that was lost.",
        "counter",
        ("signal", "reason"),
        "sum",
        lambda snapshot: [Sample(labels, count) for labels, count in snapshot.dropped.items()],
    ),
    Metric(
        semconv.LISTENER_ERRORS,
        "Exceptions that listeners raised.",
        "counter",
        ("listener",),
        "sum",
        lambda snapshot: [Sample((name,), count) for name, count in snapshot.listener_errors.items()],
    ),
    Metric(
        semconv.BUILD_INFO,
        "Which otelflow runs.",
        "gauge",
        ("version", "python"),
        "livemax",
        lambda _: [Sample((__version__, platform.python_version()), 1)],
    ),
)
LIVE: Final = frozenset(metric.name for metric in METRICS if metric.is_live)


def families_of(runs: Mapping[str, LostRun]) -> list[Family]:
    """Return the metrics of last runs, for *runs* by the label of their flow."""
    values = {
        semconv.FLOW_LAST_RUN: lambda run: run.started + run.duration,
        semconv.FLOW_LAST_RUN_DURATION: lambda run: run.duration,
    }
    return [
        Family(metric, [Sample((flow, semconv.ERROR), values[metric.name](run)) for flow, run in runs.items()])
        for metric in METRICS
        if metric.is_of_last_run
    ]


OF_LAST_RUN: Final = frozenset(metric.name for metric in METRICS if metric.is_of_last_run)
