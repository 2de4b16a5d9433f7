"""Make a tracer provider as the ``OTEL_*`` variables ask for."""

import os
from typing import TYPE_CHECKING, Final

from opentelemetry.environment_variables import OTEL_PYTHON_ID_GENERATOR
from opentelemetry.sdk.environment_variables import OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from otelflow._core.process import entry_points
from otelflow._core.text.safe_str import bounded_name
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow._telemetry.id_generator import SystemIdGenerator
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import exporter_names, new_exporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

_SDK_SAMPLERS: Final = frozenset(
    {
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    }
)


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
    sampler = None  # the SDK itself reads the variables for its own
    sampler_name = os.environ.get(OTEL_TRACES_SAMPLER, "").strip()
    if sampler_name and sampler_name.lower() not in _SDK_SAMPLERS:
        factory = entry_points.load("opentelemetry_traces_sampler", sampler_name, OTEL_TRACES_SAMPLER)
        sampler = factory(os.environ.get(OTEL_TRACES_SAMPLER_ARG))
    provider = TracerProvider(
        resource=Resource.create({} if service_name is None else {SERVICE_NAME: bounded_name(service_name)}),
        sampler=sampler,
        span_limits=limits,
        id_generator=generator,
    )
    for name in exporter_names("traces"):
        exporter, answer = new_exporter("traces", name)
        provider.add_span_processor(BoundedBatchSpanProcessor(exporter, answer=answer))
    return provider
