"""The metrics of the runs of a test as a dict, whatever the process does with its own."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from otelflow._core.runs import observers
from otelflow.metrics._collector import AggregatorCollector
from otelflow.metrics._counts import Aggregator


class FlowMetrics(Mapping[str, float]):
    """The metrics of the runs inside ``with FlowMetrics() as metrics:``, a mapping of what Prometheus would read.

    A key is a metric with its labels in the order of the alphabet; what was not counted is 0.

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
        return float(self._samples().get(key, 0))

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples())

    def __len__(self) -> int:
        return len(self._samples())

    def __repr__(self) -> str:
        return "\n".join(f"{key} {value:g}" for key, value in self._samples().items()) or "(nothing was counted)"
