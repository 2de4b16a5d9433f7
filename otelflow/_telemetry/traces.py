"""Make a tracer provider as the ``OTEL_*`` variables ask for."""

import functools
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.environment_variables import OTEL_PYTHON_ID_GENERATOR
from opentelemetry.sdk.environment_variables import OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider, sampling

from otelflow._core.process import entry_points, losses
from otelflow._core.process.settings import settings
from otelflow._core.runs.observers import Observer, add_observer, remove_observer
from otelflow._core.text.safe_str import bounded_name
from otelflow._telemetry.accounts import KeepsAccounts
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow._telemetry.id_generator import SystemIdGenerator
from otelflow._telemetry.start_markers import StartMarkers
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import exporter_names, is_otlp
from otelflow_exporters._otlp.resource import KeepsInstanceId, encodable, with_instance_id

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

_SDK_SAMPLERS: Final[Mapping[str, sampling.Sampler]] = {
    "": sampling.DEFAULT_ON,  # an empty variable is none
    "always_on": sampling.ALWAYS_ON,
    "always_off": sampling.ALWAYS_OFF,
    "parentbased_always_on": sampling.DEFAULT_ON,
    "parentbased_always_off": sampling.DEFAULT_OFF,
}
_RATIO_SAMPLERS: Final[Mapping[str, Callable[[float], sampling.Sampler]]] = {
    "traceidratio": sampling.TraceIdRatioBased,
    # Looked up when it is asked for: a later SDK may miss any name.
    "parentbased_traceidratio": lambda ratio: sampling.ParentBasedTraceIdRatio(ratio),  # noqa: PLW0108
}


class _Provider(KeepsInstanceId, KeepsAccounts, TracerProvider):
    """The SDK's, with one instance id and accounts of what delivers; *news* observe the runs as long as that does."""

    news: tuple[Observer, ...] = ()

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Tell *span_processor* of each span from now on."""
        self.keep_account_of(span_processor)
        super().add_span_processor(span_processor)

    def shutdown(self) -> None:
        """Deliver what is left, and observe nothing any more."""
        root = self._active_span_processor
        vars(root)["shutdown"] = functools.partial(_end_each, root)
        super().shutdown()
        for news in self.news:
            remove_observer(news)


def _end_each(root: Any) -> None:
    """End the processors of a provider: one that raises keeps no other from delivering."""
    for processor in root._span_processors:  # noqa: SLF001 the SDK's own loop ends with the first that raises
        try:
            processor.shutdown()
        except Exception as error:  # noqa: BLE001 a processor of the program's is foreign code
            losses.warn_once("shutdown", "A span processor of the application cannot end: %s", error)


def new_provider(service_name: str | None) -> TracerProvider:
    """Return a provider with the sampler, id generator, limits, resource and exporters that the environment names.

    Raises ConfigurationError for a variable that says nothing usable.
    """
    try:
        limits = SpanLimits()
    except ValueError as error:  # it names the variable and what it takes
        raise ConfigurationError(str(error)) from None
    generator_name = os.environ.get(OTEL_PYTHON_ID_GENERATOR, "").strip()
    generator: IdGenerator = SystemIdGenerator()
    if generator_name:
        generator = entry_points.load("opentelemetry_id_generator", generator_name, OTEL_PYTHON_ID_GENERATOR)()
    sampler_name = os.environ.get(OTEL_TRACES_SAMPLER, "").strip()
    sampler = _SDK_SAMPLERS.get(sampler_name.lower())
    if sampler_name.lower() in _RATIO_SAMPLERS:
        with suppress(ValueError):  # of which the SDK warns
            sampler = _RATIO_SAMPLERS[sampler_name.lower()](float(os.environ.get(OTEL_TRACES_SAMPLER_ARG, "")))
    elif sampler is None:
        factory = entry_points.load("opentelemetry_traces_sampler", sampler_name, OTEL_TRACES_SAMPLER)
        sampler = factory(os.environ.get(OTEL_TRACES_SAMPLER_ARG))
    provider = _Provider(
        resource=with_instance_id(
            encodable(_resource({} if service_name is None else {SERVICE_NAME: bounded_name(service_name)}))
        ),
        sampler=sampler,
        span_limits=limits,
        id_generator=generator,
    )
    for name in exporter_names("traces"):
        delivery: SpanProcessor = _spool_for(provider, name) if has_spool(name) else BoundedBatchSpanProcessor.to(name)
        provider.add_span_processor(delivery)
        if settings().mark_start and is_otlp(name):
            provider.add_span_processor(StartMarkers(delivery, provider.id_generator.generate_span_id))
    return provider


def _spool_for(provider: _Provider, exporter: str) -> SpanProcessor:
    """Return the spool from which spans of *provider* go to *exporter*."""
    from otelflow._telemetry.spool_news import SpoolNews, tell_of_lost_runs  # noqa: PLC0415 only with a spool
    from otelflow_exporters.spool import SpoolSpanProcessor  # noqa: PLC0415

    directory = spool_of(exporter)
    on_loss = functools.partial(losses.lost, "traces")
    if directory is None:  # nothing is known of others, and nobody will know what was open here
        return SpoolSpanProcessor(None, exporter=exporter, on_loss=on_loss)
    news = SpoolNews()
    delivery = SpoolSpanProcessor(
        directory, exporter=exporter, on_loss=on_loss, news=news.take, on_recovery=tell_of_lost_runs
    )
    add_observer(news)
    provider.news += (news,)
    return delivery


def has_spool(exporter: str) -> bool:
    """Tell whether what that exporter is to send waits in a spool, in files or in memory."""
    return settings().spool != "off" and is_otlp(exporter)


def spool_of(exporter: str) -> Path | None:
    """Return the folder of the spool for *exporter*; None where spans wait in memory. Raises ConfigurationError."""
    from otelflow_exporters._spool.destination import destination_of, spool_directory  # noqa: PLC0415 only with a spool

    destination_of("traces", exporter)  # an endpoint that is none is no lack of a home
    try:
        return spool_directory(settings().spool, settings().spool_dir, exporter)
    except ConfigurationError as error:
        if settings().spool_dir or sys.platform == "win32":  # which has no spool in files, home or not
            raise
        losses.warn_once("spool", "Spans wait in memory, 16 MB at most, and are lost with the process: %s", error)
        return None


def _resource(attributes: Mapping[str, str]) -> Resource:
    try:
        return Resource.create(attributes)
    except RuntimeError:  # its detectors work on threads, and there is none to be had
        resource = OTELResourceDetector().detect()
        name = resource.attributes.get(SERVICE_NAME, "unknown_service")
        return Resource({SERVICE_NAME: name}).merge(resource).merge(Resource(attributes))
