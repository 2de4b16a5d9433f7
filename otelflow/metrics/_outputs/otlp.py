"""Export the metrics as OTLP, or through any other exporter that ``OTEL_METRICS_EXPORTER`` names.

OpenTelemetry's own instruments would cost 22 µs and more for each task. The aggregator counts for a twentieth of that,
and its numbers become OpenTelemetry's data points here, once in each interval.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
    OTEL_METRIC_EXPORT_INTERVAL,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SDK_DISABLED,
)
from opentelemetry.sdk.metrics import Exemplar as OtlpExemplar
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otelflow import semconv
from otelflow._core.process import forks, losses
from otelflow._core.process.environment import positive_integer
from otelflow._version import __version__
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator, Exemplar, Hooks, Snapshot
from otelflow.metrics._families import Family, read
from otelflow.metrics._outputs.instance_id import Instance
from otelflow.metrics._outputs.output import WorkerOutput
from otelflow_exporters._otlp.endpoint import CURE, ExportStatus, new_exporter
from otelflow_exporters._otlp.resources import new_resource

_INTERVAL_MILLIS: Final = 60_000
_CUMULATIVE: Final = export.AggregationTemporality.CUMULATIVE
_UNKNOWN: Final[Any] = None


@dataclass(frozen=True)
class Otlp:
    """The exporter that the environment names, and the *resource* whose metrics it sends."""

    resource: Resource
    takes_place: ClassVar[bool] = False

    @classmethod
    def from_place(cls, place: str, resource: Resource) -> Self | None:
        """Return the only choice that there is, or None if the environment switches it off."""
        for variable, off in ((OTEL_SDK_DISABLED, "true"), (OTEL_METRICS_EXPORTER, "none")):
            if os.environ.get(variable, "").strip().lower() == off:
                losses.logger.info("metrics=otlp exports nothing: %s=%s", variable, off)
                return None
        return cls(resource)

    def open(self, aggregator: Aggregator) -> "OtlpOutput":
        """Return the output that exports."""
        return OtlpOutput(aggregator, self.resource)


class OtlpOutput(WorkerOutput):
    """Exports every ``OTEL_METRIC_EXPORT_INTERVAL`` and at exit; totals since the start (cumulative)."""

    def __init__(self, aggregator: Aggregator, resource: Resource) -> None:
        self._exporter, self._answer = _new_exporter()
        self._inherited: list[Any] = []
        self._resource = resource
        self._has_own_id = SERVICE_INSTANCE_ID + "=" in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "") or (
            # and not one that OpenTelemetry has chosen at random
            SERVICE_INSTANCE_ID in resource.attributes
            and resource.attributes[SERVICE_INSTANCE_ID] != new_resource().attributes.get(SERVICE_INSTANCE_ID)
        )
        self._instance: Instance | None = None
        interval = positive_integer(OTEL_METRIC_EXPORT_INTERVAL, _INTERVAL_MILLIS) / 1_000
        super().__init__(aggregator, f"over {type(self._exporter).__name__}", interval=interval)
        # Not at the end of each flow; but in a forked child as soon as anything runs there.
        self.hooks = Hooks(series_added=self.worker.start)
        forks.begin_anew(self, OtlpOutput.begin_in_child)

    def start(self) -> bool:
        """Export from now on: zeros first, so that a backend sees the first failure as an increase."""
        super().start()
        self.worker.start()
        return True

    def begin_in_child(self) -> None:
        """Leave its connection and its instance to the parent."""
        if self._exporter is not None:
            self._inherited.append(self._exporter)  # not even destroyed: nothing may be sent on its connection
            self._exporter = None
        self._release_instance()

    def close(self, *, deliver: bool = True) -> None:
        """Export the last numbers."""
        super().close(deliver=deliver)
        if self._exporter is not None:
            self._exporter.shutdown()
            self._exporter = None
        self._release_instance()

    def _release_instance(self) -> None:
        if self._instance is not None:
            self._instance.release()
            self._instance = None

    def deliver(self, deadline: float) -> None:
        """Export all numbers."""
        resource = self._resource
        if not self._has_own_id:
            if self._instance is None:
                self._instance = Instance(str(resource.attributes.get(SERVICE_NAME, "")))
            resource = resource.merge(Resource({SERVICE_INSTANCE_ID: self._instance.id}))
        if self._exporter is None:
            self._exporter, self._answer = _new_exporter()
        self._answer.reset()
        seconds = max(deadline - time.monotonic(), 0.001)
        metrics = to_otlp(self.aggregator.snapshot(), resource)
        result = self._exporter.export(metrics, timeout_millis=seconds * 1_000)
        answer = self._answer
        if result is not export.MetricExportResult.SUCCESS or answer.is_refused:
            raise ConnectionError(f"{answer.place}; {CURE}" if answer.endpoint else "it does not say why")
        if answer.rejected:
            losses.lost("metrics", "rejected", answer.rejected)
            losses.warn_once(
                "metrics rejected",
                "Metrics over %s were delivered to %s, which rejected some of them (%s)",
                type(self._exporter).__name__,
                answer.place,
                answer.message or "it does not say why",
            )


def to_otlp(snapshot: Snapshot, resource: Resource) -> export.MetricsData:
    """Return *snapshot* as OpenTelemetry's data points, with the names that Prometheus shows."""
    since, now = int(snapshot.since * 1e9), time.time_ns()
    metrics = [
        export.Metric(family.metric.name, family.metric.help, family.metric.unit, _data(family, since, now))
        for family in read(snapshot)
        if family.samples
    ]
    scope = InstrumentationScope(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
    return export.MetricsData(
        [export.ResourceMetrics(resource, [export.ScopeMetrics(scope, metrics, semconv.SCHEMA_URL)], "")]
    )


def _data(family: Family, since: int, now: int) -> export.DataT:
    metric, samples = family
    if metric.kind == "histogram":
        distributions = [
            export.HistogramDataPoint(
                attributes=dict(zip(metric.labels, sample.labels, strict=True)),
                start_time_unix_nano=since,
                time_unix_nano=now,
                count=sample.distribution.count,
                sum=sample.distribution.total,
                bucket_counts=sample.distribution.counts,
                explicit_bounds=sample.distribution.bounds,
                min=_UNKNOWN,
                max=_UNKNOWN,
                exemplars=_exemplars(sample.distribution.exemplars.values()),
            )
            for sample in samples
            if sample.distribution is not None
        ]
        return export.Histogram(distributions, _CUMULATIVE)
    numbers = [
        export.NumberDataPoint(
            dict(zip(metric.labels, sample.labels, strict=True)),
            since,
            now,
            sample.value if metric.kind == "gauge" else int(sample.value),
            _exemplars([sample.exemplar]),
        )
        for sample in samples
    ]
    if metric.kind == "gauge":
        return export.Gauge(numbers)
    return export.Sum(numbers, _CUMULATIVE, is_monotonic=metric.kind == "counter")


def _exemplars(exemplars: Iterable[Exemplar | None]) -> list[OtlpExemplar]:
    return [
        OtlpExemplar({}, exemplar.value, int(exemplar.time * 1e9), exemplar.span_id, exemplar.trace_id)
        for exemplar in exemplars
        if exemplar is not None
    ]


def _new_exporter() -> tuple[Any, ExportStatus]:
    """Return the exporter that the environment names, OTLP if none, and its answer. Raises ConfigurationError."""
    name = os.environ.get(OTEL_METRICS_EXPORTER, "").strip() or "otlp"
    if "," in name:
        raise ConfigurationError(f"metrics=otlp, but {OTEL_METRICS_EXPORTER}={name}: name one exporter, such as otlp")
    if os.environ.get(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, "").strip().lower() == "delta":
        losses.warn_once(
            "metrics delta", "otelflow exports cumulative metrics; the Collector's cumulativetodelta converts"
        )
    return new_exporter("metrics", name)
