"""A metric is declared once, and every output reads the declaration."""

import re

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from otelflow import semconv
from otelflow.metrics import _collector, _families
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import METRICS
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

    assert units == {semconv.FLOW_RUN_DURATION: "s", semconv.TASK_RUN_DURATION: "s"}
