"""The metrics of the runs of a test as a dict, whatever the process does with its own."""

import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, NamedTuple, Self

from otelflow._core.runs import observers
from otelflow._core.text.hints import suggestion
from otelflow.metrics._collector import AggregatorCollector
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._families import METRICS

_LABELS: Final = {
    f"{metric.name}{suffix}": {*metric.labels, *(("le",) if suffix == "_bucket" else ())}
    for metric in METRICS
    for suffix in (("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",))
}
_PAIR: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_KEY: Final = re.compile(rf"\w+(\{{({_PAIR.pattern}(,\s*|(?=\}})))*\}})?")


class _Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float

    @property
    def key(self) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(self.labels.items()))
        return f"{self.name}{{{labels}}}" if labels else self.name


class FlowMetrics(Mapping[str, float]):
    """The metrics of the runs inside ``with FlowMetrics() as metrics:``, a mapping of what Prometheus would read.

    A key is a metric with its labels; with some of them only, it is the sum of all that have these. What was not
    counted is 0. A metric or label that there is not raises KeyError, with what was meant.

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

    def _samples(self) -> list[_Sample]:
        families = AggregatorCollector(self._aggregator).collect()
        samples = (sample for family in families for sample in family.samples if sample.value)
        return [_Sample(sample.name, sample.labels, sample.value) for sample in samples]

    def __getitem__(self, key: str) -> float:
        samples = self._samples()
        exact = [sample.value for sample in samples if sample.key == key]
        if exact:
            return float(exact[0])
        name = key.partition("{")[0]
        if name not in _LABELS:
            raise KeyError(f"there is no metric {name!r}{suggestion(name, _LABELS)}")
        if not _KEY.fullmatch(key):
            raise KeyError(f'{key!r} is no key: write {name}{{label="value"}}')
        labels = dict(_PAIR.findall(key))
        for label in labels:
            if label not in _LABELS[name]:
                raise KeyError(f"{name} has no label {label!r}{suggestion(label, _LABELS[name])}")
        same = (sample for sample in samples if sample.name == name and sample.labels.items() >= labels.items())
        return float(sum(sample.value for sample in same))

    def __contains__(self, key: object) -> bool:
        return any(sample.key == key for sample in self._samples())

    def __iter__(self) -> Iterator[str]:
        return (sample.key for sample in self._samples())

    def __len__(self) -> int:
        return len(self._samples())

    def __repr__(self) -> str:
        return "\n".join(f"{sample.key} {sample.value:g}" for sample in self._samples()) or "(nothing was counted)"
