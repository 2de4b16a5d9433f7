"""The numbers in the classes of prometheus-client."""

from prometheus_client import CollectorRegistry

from otelflow.metrics._collector import AggregatorCollector, FixedCollector
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import METRICS


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
