"""Export the metrics as OTLP, or through any other exporter that ``OTEL_METRICS_EXPORTER`` names.

OpenTelemetry's own instruments would cost 22 µs and more for each task. The aggregator counts for a twentieth of that,
and its numbers become OpenTelemetry's data points here, once in each interval.
"""

import atexit
import functools
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
    OTEL_METRIC_EXPORT_INTERVAL,
    OTEL_SDK_DISABLED,
)
from opentelemetry.sdk.metrics import Exemplar as OtlpExemplar
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otelflow import semconv
from otelflow._core.process import clock, entry_points, forks, losses, shutdown
from otelflow._core.process.environment import positive_integer
from otelflow._core.process.ledger import Account
from otelflow._core.process.settings import settings
from otelflow._core.runs.observers import LostRun
from otelflow._core.text.own_logger import log
from otelflow._version import __version__
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator, Exemplar, Hooks, Snapshot
from otelflow.metrics._families import Family, families_of, read
from otelflow.metrics._others import Service
from otelflow.metrics._outputs.output import WorkerOutput
from otelflow_exporters._otlp.endpoint import CURE, ExportStatus, exporter_names, is_otlp, new_exporter
from otelflow_exporters._otlp.resource import encodable, has_chosen_id, with_own_id
from otelflow_exporters._spool.destination import destination_of, spool_directory
from otelflow_exporters._spool.signals import METRICS
from otelflow_exporters._spool.spool import Spool

_INTERVAL_MILLIS: Final = 60_000
# What a variable cannot change: its usual value, and the cure
_FIXED: Final = (
    (
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
        "cumulative",
        "; the Collector's cumulativetodelta converts",
    ),
    (
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION,
        "explicit_bucket_histogram",
        "; give a flow the buckets that it needs, @flow(buckets=…)",
    ),
)
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
                log(losses.logger, logging.INFO, "metrics=otlp exports nothing: %s=%s", variable, off)
                return None
        return cls(resource)

    def check(self) -> None:
        """Raise ConfigurationError for variables of the exporter that cannot be used."""
        name = _exporter_name()
        if is_otlp(name):
            destination_of("metrics", name)
        else:
            entry_points.load("opentelemetry_metrics_exporter", name, OTEL_METRICS_EXPORTER)
        positive_integer(OTEL_METRIC_EXPORT_INTERVAL, _INTERVAL_MILLIS)

    def open(self, aggregator: Aggregator) -> "OtlpOutput":
        """Return the output that exports."""
        return OtlpOutput(aggregator, self.resource)


class OtlpOutput(WorkerOutput):
    """Exports every ``OTEL_METRIC_EXPORT_INTERVAL`` and at exit; totals since the start (cumulative)."""

    def __init__(self, aggregator: Aggregator, resource: Resource) -> None:
        name = _exporter_name()
        self._spool = _new_spool(self, name)
        self._exporter: Any = None
        self._answer = ExportStatus()
        if self._spool is None:
            self._exporter, self._answer = new_exporter("metrics", name)
        else:
            atexit.register(self._spool.shutdown)  # which is called after that of the worker, below
        self._inherited: list[Any] = []
        self._resource = encodable(resource)
        self._is_id_chosen = has_chosen_id(resource)
        interval = positive_integer(OTEL_METRIC_EXPORT_INTERVAL, _INTERVAL_MILLIS) / 1_000
        description = "in a spool" if self._spool else f"over {type(self._exporter).__name__}"
        super().__init__(aggregator, description, interval=interval)
        # Not at the end of each flow; but in a forked child as soon as anything runs there.
        self.hooks = Hooks(series_added=self.worker.start)
        forks.begin_anew(self, OtlpOutput.begin_anew)

    def start(self) -> bool:
        """Export from now on: zeros first, so that a backend sees the first failure as an increase."""
        super().start()
        self.worker.start()
        return True

    def begin_anew(self) -> None:
        """Leave its connection to the parent."""
        if self._exporter is not None:
            self._inherited.append(self._exporter)  # not even destroyed: nothing may be sent on its connection
            self._exporter = None

    @property
    def account(self) -> Account:
        """What has become of its deliveries."""
        return self._spool.account if self._spool else super().account

    def flush(self, timeout: float) -> bool:
        """Export now."""
        deadline = clock.monotonic() + timeout
        is_done = super().flush(timeout)
        if self._spool is None:
            return is_done
        return self._spool.force_flush(max(0, round((deadline - clock.monotonic()) * 1_000))) and is_done

    def close(self, *, deliver: bool = True) -> None:
        """Export the last numbers."""
        super().close(deliver=deliver)
        if self._spool is not None:
            self._spool.shutdown()
            atexit.unregister(self._spool.shutdown)
        if self._exporter is not None:
            self._exporter.shutdown()
            self._exporter = None

    def deliver(self, deadline: float) -> None:
        """Export all numbers."""
        if self._spool is not None and shutdown.is_ending() and not self.worker.is_closed:
            return  # the last numbers come in a moment, and are enough
        resource = self._resource if self._is_id_chosen else with_own_id(self._resource)
        metrics = to_otlp(self.aggregator.snapshot(), resource, self.aggregator.others.last_runs())
        if self._spool is not None:
            self._spool.keep(self._spool.encoded(lambda data: encode_metrics(data).SerializeToString(), metrics))
            self._spool.send_soon()
            return
        if self._exporter is None:
            self._exporter, self._answer = new_exporter("metrics", _exporter_name())
        self._answer.reset()
        seconds = max(deadline - clock.monotonic(), 0.001)
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


def _new_spool(output: OtlpOutput, exporter: str) -> Spool | None:
    """Return the spool from which *exporter* sends; None if it sends no OTLP, or nothing is to wait."""
    in_force = settings()
    if in_force.spool == "off" or not is_otlp(exporter):
        return None
    try:
        directory = spool_directory(in_force.spool, in_force.spool_dir, exporter)
    except ConfigurationError:  # there is no home, as is said of the spans
        directory = None
    place = None if directory is None else directory / METRICS.folder
    on_loss = functools.partial(losses.lost, "metrics")
    return Spool(METRICS, place, owner=output, exporter=exporter, on_loss=on_loss)


def to_otlp(
    snapshot: Snapshot, resource: Resource, others: Mapping[Service, Mapping[str, LostRun]] = MappingProxyType({})
) -> export.MetricsData:
    """Return *snapshot* as OpenTelemetry's data points, with the names that Prometheus shows.

    They are of *resource*, and the last runs of *others* of theirs.
    """
    since, now = int(snapshot.since * 1e9), clock.time_ns()
    families_by_resource = [(resource, read(snapshot))]
    for (namespace, name), runs in others.items():
        attributes = {SERVICE_NAMESPACE: namespace} if namespace else {}
        families_by_resource.append((with_own_id(Resource({SERVICE_NAME: name, **attributes})), families_of(runs)))
    scope = InstrumentationScope(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
    reports = []
    for owner, families in families_by_resource:
        metrics = [
            export.Metric(family.metric.name, family.metric.help, family.metric.unit, _data(family, since, now))
            for family in families
            if family.samples
        ]
        scope_metrics = export.ScopeMetrics(scope, metrics, semconv.SCHEMA_URL)
        reports.append(export.ResourceMetrics(owner, [scope_metrics], ""))
    return export.MetricsData(reports)


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
            sample.value if metric.kind == "gauge" or metric.unit == "s" else int(sample.value),
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


def _exporter_name() -> str:
    """Return the exporter that the environment names, OTLP if none. Raises ConfigurationError."""
    name, *others = exporter_names("metrics") or ["otlp"]
    if others:
        text = os.environ[OTEL_METRICS_EXPORTER]
        raise ConfigurationError(f"metrics=otlp, but {OTEL_METRICS_EXPORTER}={text}: name one exporter, such as otlp")
    for variable, usual, cure in _FIXED:
        value = os.environ.get(variable, "").strip()
        if value.lower() not in ("", usual):
            losses.warn_once(
                f"metrics {variable}", "metrics=otlp is always %s, whatever %s=%s says%s", usual, variable, value, cure
            )
    return name
