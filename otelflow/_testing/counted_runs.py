"""The metrics of the runs of a test as a dict, whatever the process does with its own."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from otelflow._core.runs import observers
from otelflow._core.text.hints import suggestion
from otelflow.metrics._collector import AggregatorCollector
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import METRICS

_NAMES: Final = {
    f"{metric.name}{suffix}"
    for metric in METRICS
    for suffix in (("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",))
}


class FlowMetrics(Mapping[str, float]):
    """The metrics of the runs inside ``with FlowMetrics() as metrics:``, a mapping of what Prometheus would read.

    A key is a metric with its labels in the order of the alphabet; what was not counted is 0. A metric that there is
    not raises KeyError, with what was meant.

    >>> from otelflow import flow
    >>> from otelflow.testing import FlowMetrics
    >>> with FlowMetrics() as metrics:
    ...     run = flow(flow_name="nightly")(lambda: None)().execute()
    >>> metrics['otelflow_flow_runs_total{flow="nightly",result="success"}']
    1.0
    >>> metrics['otelflow_flow_runs_total{flow="nightly",result="failure"}']
    0.0
    """

    def __init__(self) -> None:
        self._aggregator = Aggregator()

    def __enter__(self) -> Self:
        observers.add_observer(self._aggregator)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Count no more."""
        observers.remove_observer(self._aggregator)

    def _samples(self) -> dict[str, float]:
        samples = {}
        for family in AggregatorCollector(self._aggregator).collect():
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                if sample.value:
                    samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return samples

    def __getitem__(self, key: str) -> float:
        samples = self._samples()
        name = key.partition("{")[0]
        if name not in (names := {*_NAMES, *(sample.partition("{")[0] for sample in samples)}):
            raise KeyError(f"there is no metric {name!r}{suggestion(name, names)}")
        return float(samples.get(key, 0))

    def __contains__(self, key: object) -> bool:
        return key in self._samples()

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples())

    def __len__(self) -> int:
        return len(self._samples())

    def __repr__(self) -> str:
        return "\n".join(f"{key} {value:g}" for key, value in self._samples().items()) or "(nothing was counted)"
