"""The metrics as prometheus-client wants them: a collector for a registry."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import core
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as PrometheusExemplar

from otelflow.metrics._counts import Aggregator, Exemplar
from otelflow.metrics._families import METRICS, Family, bucket_labels, read


class AggregatorCollector(Collector):
    """Shows the numbers of *aggregator* at each moment; register it with any registry."""

    def __init__(self, aggregator: Aggregator) -> None:
        self._aggregator = aggregator

    def collect(self) -> Iterator[core.Metric]:
        """Return every metric of this moment."""
        return map(to_prometheus, read(self._aggregator.snapshot()))

    def describe(self) -> Iterator[core.Metric]:
        """Name the metrics, so that registering does not read them."""
        return (to_prometheus(Family(metric, [])) for metric in METRICS)


class FixedCollector(Collector):
    """Shows metrics that were read before."""

    def __init__(self, families: Iterable[core.Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[core.Metric]:
        """Return those metrics."""
        return self._families


def to_prometheus(family: Family, **labels: str) -> core.Metric:
    """Return *family* in the class that prometheus-client has for it, every sample with *labels* besides."""
    metric, samples = family
    names = (*metric.labels, *labels)
    if metric.kind == "counter":
        counter = core.CounterMetricFamily(metric.name, metric.help, labels=names)
        for sample in samples:
            exemplar = _exemplar(sample.exemplar)
            counter.add_metric((*sample.labels, *labels.values()), sample.value, exemplar=exemplar)
        return counter
    if metric.kind == "histogram":
        histogram = core.HistogramMetricFamily(metric.name, metric.help, labels=names)
        for sample in samples:
            durations = sample.distribution
            if durations is None:
                continue
            buckets: list[tuple[str, float] | tuple[str, float, PrometheusExemplar]] = []
            totals = zip(bucket_labels(durations.bounds), accumulate(durations.counts), strict=True)
            for bucket, (bound, total) in enumerate(totals):
                exemplar = _exemplar(durations.exemplars.get(bucket))
                buckets.append((bound, total) if exemplar is None else (bound, total, exemplar))
            histogram.add_metric((*sample.labels, *labels.values()), buckets, sum_value=durations.total)
        return histogram
    gauge = core.GaugeMetricFamily(metric.name, metric.help, labels=names)
    for sample in samples:
        gauge.add_metric((*sample.labels, *labels.values()), sample.value)
    return gauge


def _exemplar(exemplar: Exemplar | None) -> PrometheusExemplar | None:
    if exemplar is None:
        return None
    return PrometheusExemplar({"trace_id": f"{exemplar.trace_id:032x}"}, exemplar.value, exemplar.time)
