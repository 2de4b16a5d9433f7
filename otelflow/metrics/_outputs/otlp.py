"""Export the metrics as OTLP, or through any other exporter that ``OTEL_METRICS_EXPORTER`` names.

OpenTelemetry's own instruments would cost 22 µs and more for each task. The board counts for a twentieth of that, and
what it shows becomes OpenTelemetry's data points here, once in each interval.
"""

import os
import time
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
    OTEL_METRIC_EXPORT_INTERVAL,
    OTEL_RESOURCE_ATTRIBUTES,
)
from opentelemetry.sdk.metrics import Exemplar as OtlpExemplar
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otelflow import __version__, semconv
from otelflow._core.process import forks, losses
from otelflow._core.process.worker import Courier
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Board, Exemplar, Snapshot
from otelflow.metrics._families import Metric, Point, readings
from otelflow.metrics._outputs.instance_id import Instance
from otelflow_exporters._otlp.endpoint import CURE, ExportStatus, new_exporter

_INTERVAL_MILLIS: Final = 60_000
_CUMULATIVE: Final = export.AggregationTemporality.CUMULATIVE
_UNKNOWN: Final[Any] = None
_UNITS: Final = {"histogram": "s", "gauge": "", "counter": "", "number of": ""}


class Otlp:
    """Exports every ``OTEL_METRIC_EXPORT_INTERVAL`` and at exit; totals since the start (cumulative)."""

    def __init__(self, board: Board, resource: Resource) -> None:
        self._board = board
        self._exporter: Any = None
        self._answer = ExportStatus()
        self._inherited: list[Any] = []
        self._make_exporter()
        self._given = resource
        self._is_chosen = _is_chosen(resource)
        self._pid = 0
        self._instance: Instance | None = None
        self._resource = resource
        interval = _positive(OTEL_METRIC_EXPORT_INTERVAL, _INTERVAL_MILLIS) / 1_000
        self._courier = Courier(self._deliver, f"over {type(self._exporter).__name__}", interval=interval)
        forks.begin_anew(self, Otlp._begin_in_child)

    def _make_exporter(self) -> None:
        self._exporter, self._answer = _exporter()

    def start(self) -> bool:
        """Export from now on, also in a forked child as soon as anything runs there."""
        self._board.appeared = self._courier.start
        # Zeros first: whoever reads them sees the first failure as an increase.
        self._courier.start()
        return True

    def _begin_in_child(self) -> None:
        """Leave its connection and its instance to the parent."""
        if self._exporter is not None:
            self._inherited.append(self._exporter)  # not even destroyed: nothing may be sent on its connection
            self._exporter = None
        if self._instance is not None:
            self._instance.release()
            self._instance = None

    def flush(self, timeout: float) -> bool:
        """Export now."""
        return self._courier.flush(timeout)

    def close(self) -> None:
        """Export the last numbers."""
        self._board.appeared = None
        self._courier.close()
        if self._exporter is not None:
            self._exporter.shutdown()
        if self._instance is not None:
            self._instance.release()

    def _deliver(self, deadline: float) -> None:
        if os.getpid() != self._pid and not self._is_chosen:  # also in a forked child: an instance of its own
            self._instance = Instance(str(self._given.attributes.get(SERVICE_NAME, "")))
            self._resource = self._given.merge(Resource({SERVICE_INSTANCE_ID: self._instance.id}))
            self._pid = os.getpid()
        if self._exporter is None:
            self._make_exporter()
        self._answer.reset()
        left = max(deadline - time.monotonic(), 0.001)
        result = self._exporter.export(
            otel_metrics(self._board.snapshot(), self._resource), timeout_millis=left * 1_000
        )
        if result is not export.MetricExportResult.SUCCESS or self._answer.is_refused:
            raise ConnectionError(f"{self._answer.place}; {CURE}" if self._answer.endpoint else "it does not say why")
        if self._answer.rejected:
            self._say_rejected()

    def _say_rejected(self) -> None:
        losses.lost("metrics", "rejected", self._answer.rejected)
        losses.warn_once(
            "metrics rejected",
            "Metrics over %s were delivered to %s, which rejected some of them (%s)",
            type(self._exporter).__name__,
            self._answer.place,
            self._answer.message or "it does not say why",
        )


def _is_chosen(resource: Resource) -> bool:
    """Tell whether somebody chose the instance id, rather than OpenTelemetry at random."""
    return SERVICE_INSTANCE_ID + "=" in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "") or (
        SERVICE_INSTANCE_ID in resource.attributes
        and resource.attributes[SERVICE_INSTANCE_ID] != Resource.create().attributes.get(SERVICE_INSTANCE_ID)
    )


def otel_metrics(snapshot: Snapshot, resource: Resource) -> export.MetricsData:
    """Return *snapshot* as OpenTelemetry's data points, with the names that Prometheus shows."""
    since, now = int(snapshot.since * 1e9), time.time_ns()
    metrics = [
        export.Metric(metric.name, metric.help, _UNITS[metric.kind], _data(metric, since, now))
        for metric in readings(snapshot)
        if metric.points
    ]
    scope = InstrumentationScope(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
    return export.MetricsData(
        [export.ResourceMetrics(resource, [export.ScopeMetrics(scope, metrics, semconv.SCHEMA_URL)], "")]
    )


def _data(metric: Metric, since: int, now: int) -> export.DataT:
    if metric.kind == "histogram":
        points = [_distribution(metric, point, since, now) for point in metric.points]
        return export.Histogram(points, _CUMULATIVE)
    numbers = [
        export.NumberDataPoint(
            dict(zip(metric.label_names, point.labels, strict=True)),
            since,
            now,
            point.value if metric.kind == "gauge" else int(point.value),
            _exemplars([point.exemplar]),
        )
        for point in metric.points
    ]
    if metric.kind == "gauge":
        return export.Gauge(numbers)
    return export.Sum(numbers, _CUMULATIVE, is_monotonic=metric.kind == "counter")


def _distribution(metric: Metric, point: Point, since: int, now: int) -> export.HistogramDataPoint:
    ended = point.ended
    assert ended is not None  # noqa: S101 a histogram's point has a distribution
    return export.HistogramDataPoint(
        attributes=dict(zip(metric.label_names, point.labels, strict=True)),
        start_time_unix_nano=since,
        time_unix_nano=now,
        count=ended.count,
        sum=ended.total,
        bucket_counts=ended.counts,
        explicit_bounds=point.bounds,
        min=_UNKNOWN,
        max=_UNKNOWN,
        exemplars=_exemplars(ended.exemplars.values()),
    )


def _exemplars(exemplars: Iterable[Exemplar | None]) -> list[OtlpExemplar]:
    return [
        OtlpExemplar({}, exemplar.value, int(exemplar.time * 1e9), exemplar.span_id, exemplar.trace_id)
        for exemplar in exemplars
        if exemplar is not None
    ]


def _exporter() -> tuple[Any, ExportStatus]:
    """Return the exporter that the environment names, OTLP if none, and its answer. Raises ConfigurationError."""
    name = os.environ.get(OTEL_METRICS_EXPORTER, "").strip() or "otlp"
    if "," in name:
        raise ConfigurationError(f"metrics=otlp, but {OTEL_METRICS_EXPORTER}={name}: name one exporter, such as otlp")
    if os.environ.get(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, "").strip().lower() == "delta":
        losses.warn_once(
            "metrics delta", "otelflow exports cumulative metrics; the Collector's cumulativetodelta converts"
        )
    return new_exporter("metrics", name)


def _positive(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdigit() or int(text) == 0:
        raise ConfigurationError(f"{variable} must be a whole number of milliseconds above 0, not {text!r}")
    return int(text)
