"""The metrics as prometheus-client wants them: a collector for a registry."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as FamilyExemplar

from otelflow.metrics._counts import Board, Exemplar
from otelflow.metrics._families import Metric, Point, readings


class BoardCollector(Collector):
    """Shows what stands on *board*; register it with any registry. *more* are labels that every series gets."""

    def __init__(self, board: Board, **more: str) -> None:
        self.board = board
        self._more: Final = more

    def collect(self) -> Iterator[Family]:
        """Return every metric of this moment."""
        return families(readings(self.board.snapshot()), **self._more)

    def describe(self) -> Iterable[Family]:
        """Name the metrics, so that registering does not read them."""
        return (_FAMILIES[metric.kind](metric, ()) for metric in readings(Board().snapshot()))


class Showing(Collector):
    """Shows metrics that were read before."""

    def __init__(self, metrics: Iterable[Metric], **more: str) -> None:
        self._families = list(families(metrics, **more))

    def collect(self) -> Iterable[Family]:
        """Return those metrics."""
        return self._families


def families(metrics: Iterable[Metric], **more: str) -> Iterator[Family]:
    """Return *metrics* in the classes of prometheus-client, every series with the labels *more*."""
    names, values = tuple(more), tuple(more.values())
    for metric in metrics:
        points = [point._replace(labels=(*point.labels, *values)) for point in metric.points]
        yield _FAMILIES[metric.kind](metric._replace(points=points), names)


def _counter(metric: Metric, more: tuple[str, ...]) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=(*metric.label_names, *more))
    for point in metric.points:
        family.add_metric(point.labels, point.value, exemplar=_exemplar(point.exemplar))
    return family


def _gauge(metric: Metric, more: tuple[str, ...]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=(*metric.label_names, *more))
    for point in metric.points:
        family.add_metric(point.labels, point.value)
    return family


def _histogram(metric: Metric, more: tuple[str, ...]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=(*metric.label_names, *more))
    for point in metric.points:
        if point.ended is not None:
            family.add_metric(point.labels, _buckets(point), sum_value=point.ended.total)
    return family


def _buckets(point: Point) -> list[tuple[str, float] | tuple[str, float, FamilyExemplar]]:
    assert point.ended is not None  # noqa: S101 a histogram's point has a distribution
    buckets: list[tuple[str, float] | tuple[str, float, FamilyExemplar]] = []
    for place, (bound, count) in enumerate(zip(point.shown_bounds, accumulate(point.ended.counts), strict=True)):
        exemplar = _exemplar(point.ended.exemplars.get(place))
        buckets.append((bound, count) if exemplar is None else (bound, count, exemplar))
    return buckets


def _exemplar(exemplar: Exemplar | None) -> FamilyExemplar | None:
    if exemplar is None:
        return None
    return FamilyExemplar({"trace_id": f"{exemplar.trace_id:032x}"}, exemplar.value, exemplar.time)


_FAMILIES: Final[dict[str, Callable[[Metric, tuple[str, ...]], Family]]] = {
    "counter": _counter,
    "gauge": _gauge,
    "number of": _gauge,
    "histogram": _histogram,
}
