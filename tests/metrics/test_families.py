"""A metric is declared once, and every output reads the declaration."""

import platform
import re

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from otelflow import semconv
from otelflow._version import __version__
from otelflow.metrics import _collector, _families
from otelflow.metrics._counts import Aggregator, Distribution, Exemplar, Series, Snapshot
from otelflow.metrics._families import METRICS, read
from otelflow.metrics._outputs.otlp import to_otlp
from support.metrics import python, value

GAUGE = """
from otelflow.metrics import _families
answers = _families.Metric(
    "test_answers", "Answers.", "gauge", (), "livesum", lambda _: [_families.Sample((), 42)]
)
_families.METRICS = (*_families.METRICS, answers)
"""


@pytest.fixture
def gauge(monkeypatch):
    """A gauge without labels, declared in the table and nowhere else."""
    gauge = _families.Metric(
        "test_answers", "Answers.", "gauge", (), "livesum", lambda _: [_families.Sample((), 42)], unit="1"
    )
    monkeypatch.setattr(_families, "METRICS", (*METRICS, gauge))
    monkeypatch.setattr(_collector, "METRICS", (*METRICS, gauge))
    return gauge


def test_the_table_has_every_metric_whose_name_is_a_word_of_telemetry():
    names = {
        word for word in vars(semconv).values() if isinstance(word, str) and re.fullmatch("otelflow_[a-z_]+", word)
    }

    assert {metric.name for metric in METRICS} == names
    assert len(METRICS) == len(names)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_counts_of_several_processes_are_added_and_a_gauge_says_how_it_is_merged(metric):
    is_gauge = metric.kind in ("gauge", "up-down counter")

    assert (metric.merge != "sum") is is_gauge
    assert metric.is_live <= metric.merge.startswith("live")


def test_a_gauge_of_the_table_stands_in_a_registry(gauge):
    registry = CollectorRegistry()
    registry.register(_collector.AggregatorCollector(Aggregator()))

    assert (
        "# HELP test_answers Answers.\n# TYPE test_answers gauge\ntest_answers 42.0"
        in generate_latest(registry).decode()
    )


def test_a_gauge_of_the_table_is_exported_by_otlp(gauge):
    data = to_otlp(Aggregator().snapshot(), Resource({}))

    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    (point,) = metrics["test_answers"].data.data_points
    assert (metrics["test_answers"].unit, point.value, point.attributes) == ("1", 42, {})


def test_a_gauge_of_the_table_is_shared_by_processes_in_the_way_that_it_declares(tmp_path):
    done = python(GAUGE, "metrics.use('multiprocess'); sys.stdout.write(scrape())", PROMETHEUS_MULTIPROC_DIR=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert value(done.stdout, "test_answers") == 42
    assert [path.name for path in tmp_path.glob("gauge_livesum_*.db")]


def test_a_gauge_of_the_table_is_written_into_a_textfile(tmp_path):
    file = tmp_path / "jobs.prom"

    done = python(GAUGE, f"metrics.use('textfile:{file}'); order().execute()")

    assert (done.returncode, done.stderr) == (0, "")
    assert value(file.read_text(), "test_answers", service="test") == 42


def test_durations_are_seconds_for_opentelemetry(counted):
    units = {metric.name: metric.unit for metric in METRICS if metric.unit}

    assert units == {semconv.FLOW_RUN_DURATION: "s", semconv.TASK_RUN_DURATION: "s", semconv.LIMIT_WAIT: "s"}


def test_every_metric_has_the_samples_of_what_was_counted_and_of_nothing_else():
    order, idle, charge = Series("order", None, (1.0,)), Series("idle", None, (1.0,)), Series("order", "charge", (1.0,))
    success, empty, of_task = Distribution((1.0,)), Distribution((1.0,)), Distribution((1.0,))
    success.counts, success.last_time, success.last_duration = [2, 1], 90.0, 1.5
    success.exemplars = {0: Exemplar(1, 1, 0.5, 80.0)}
    of_task.counts = [0, 4]
    order.durations = {"success": success, "odd": empty}
    charge.durations, charge.failures = {"failure": of_task}, {"ValueError": 3, "KeyError": 1}
    order.retries = 2
    charge.reused = 5
    open_since, lost = {"order": [50.0, 40.0, 60.0]}, {("traces", "queue_full"): 7}

    missed = {("nightly", "overlap"): 5}
    families = read(
        Snapshot([order, idle], [charge], open_since, lost, {"Audit": 2}, 10.0, missed, {"db": 3}, {"db": 0.25})
    )

    numbers = {family.metric.name: {sample.labels: sample.value for sample in family.samples} for family in families}
    results = semconv.RESULTS
    assert numbers.pop(semconv.BUILD_INFO) == {(__version__, platform.python_version()): 1}
    assert numbers == {
        semconv.FLOW_RUNS: {
            **{("order", result): 0.0 for result in (*results, "odd")},
            **{("idle", result): 0.0 for result in results},
            ("order", "success"): 3,
        },
        semconv.FLOW_RUN_DURATION: {("order", "success"): 0.0},
        semconv.FLOW_RUNS_IN_PROGRESS: {("order",): 3, ("idle",): 0},
        semconv.FLOW_OLDEST_RUN: {("order",): 40.0, ("idle",): 0.0},
        semconv.FLOW_LAST_RUN: {("order", "success"): 90.0},
        semconv.FLOW_LAST_RUN_DURATION: {("order", "success"): 1.5},
        semconv.TASK_RUNS: {("order", "charge", result): 0.0 for result in results}
        | {("order", "charge", "failure"): 4},
        semconv.TASK_RUN_DURATION: {("order", "charge", "failure"): 0.0},
        semconv.TASK_FAILURES: {("order", "charge", "ValueError"): 3, ("order", "charge", "KeyError"): 1},
        semconv.FLOW_RETRIES: {("order",): 2, ("idle",): 0},
        semconv.TASK_RETRIES: {("order", "charge"): 0},
        semconv.TASK_RESULTS_REUSED: {("order", "charge"): 5},
        semconv.TELEMETRY_DROPPED: {("traces", "queue_full"): 7},
        semconv.LISTENER_ERRORS: {("Audit",): 2},
        semconv.SCHEDULE_MISSED_RUNS: missed,
        semconv.LIMIT_PASSES: {("db",): 3},
        semconv.LIMIT_WAIT: {("db",): 0.25},
    }
    samples = {family.metric.name: family.samples for family in families}
    assert samples[semconv.FLOW_RUN_DURATION][0].distribution is success
    assert [sample.time for sample in samples[semconv.FLOW_LAST_RUN_DURATION]] == [90.0]
    assert [sample.exemplar for sample in samples[semconv.FLOW_RUNS] if sample.exemplar] == [success.exemplar]


def test_a_metric_knows_whether_each_flow_has_its_own():
    assert {metric.name for metric in METRICS if not metric.is_of_flows} == {
        semconv.SCHEDULE_MISSED_RUNS,
        semconv.LIMIT_PASSES,
        semconv.LIMIT_WAIT,
        semconv.TELEMETRY_DROPPED,
        semconv.LISTENER_ERRORS,
        semconv.BUILD_INFO,
    }
    assert {semconv.FLOW_RUNS_IN_PROGRESS, semconv.FLOW_OLDEST_RUN} == _families.LIVE
    assert {semconv.FLOW_LAST_RUN, semconv.FLOW_LAST_RUN_DURATION} == _families.OF_LAST_RUN


def test_the_bounds_of_buckets_are_written_as_prometheus_writes_them():
    assert _families.bucket_labels((0.005, 1, 2.5, 86_400.0)) == ("0.005", "1.0", "2.5", "86400.0", "+Inf")
