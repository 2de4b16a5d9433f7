"""The numbers in the classes of prometheus-client."""

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from otelflow.metrics._collector import AggregatorCollector, FixedCollector, to_prometheus
from otelflow.metrics._counts import Aggregator, Distribution, Exemplar
from otelflow.metrics._families import METRICS, Family, Metric, Sample


def test_registering_names_the_metrics_and_reads_none():
    class Unread(Aggregator):
        def snapshot(self):
            raise AssertionError("it was read")

    registry = CollectorRegistry()
    registry.register(AggregatorCollector(Unread()))

    described = [family.name for family in AggregatorCollector(Unread()).describe()]
    assert described == [metric.name.removesuffix("_total") for metric in METRICS]


def test_families_that_were_read_are_shown_again_and_again():
    families = AggregatorCollector(Aggregator()).describe()
    collector = FixedCollector(families)

    assert [family.name for family in collector.collect()] == [family.name for family in collector.collect()]


COUNTER = Metric("test_runs_total", "Runs.", "counter", ("flow",), "sum", lambda _: [])
GAUGE = Metric("test_open", "Open.", "up-down counter", ("flow",), "livesum", lambda _: [])
HISTOGRAM = Metric("test_seconds", "Lengths.", "histogram", ("flow",), "sum", lambda _: [])


def test_samples_are_shown_with_their_labels_buckets_and_exemplars():
    exemplar = Exemplar(trace_id=0xAB, span_id=1, value=1.5, time=1_700_000_000.0)
    lengths = Distribution((1.0, 5.0))
    lengths.counts, lengths.total, lengths.exemplars = [2, 1, 4], 40.5, {1: exemplar}
    families = [
        Family(COUNTER, [Sample(("a",), 3, exemplar), Sample(("b",), 0)]),
        Family(GAUGE, [Sample(("a",), 7)]),
        Family(HISTOGRAM, [Sample(("a",), distribution=lengths), Sample(("b",))]),
    ]

    text = generate_latest(FixedCollector(to_prometheus(family, service="shop") for family in families)).decode()

    comment = '# {trace_id="000000000000000000000000000000ab"} 1.5 1700000000.0'
    assert text.splitlines() == [
        "# HELP test_runs Runs.",
        "# TYPE test_runs counter",
        f'test_runs_total{{flow="a",service="shop"}} 3.0 {comment}',
        'test_runs_total{flow="b",service="shop"} 0.0',
        "# HELP test_open Open.",
        "# TYPE test_open gauge",
        'test_open{flow="a",service="shop"} 7.0',
        "# HELP test_seconds Lengths.",
        "# TYPE test_seconds histogram",
        'test_seconds_bucket{flow="a",le="1.0",service="shop"} 2.0',
        f'test_seconds_bucket{{flow="a",le="5.0",service="shop"}} 3.0 {comment}',
        'test_seconds_bucket{flow="a",le="+Inf",service="shop"} 7.0',
        'test_seconds_count{flow="a",service="shop"} 7.0',
        'test_seconds_sum{flow="a",service="shop"} 40.5',
        "# EOF",
    ]
