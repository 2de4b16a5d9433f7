"""Make a tracer provider as the ``OTEL_*`` variables ask for."""

import os
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.environment_variables import OTEL_PYTHON_ID_GENERATOR, OTEL_TRACES_EXPORTER
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
    OTEL_TRACES_SAMPLER,
    OTEL_TRACES_SAMPLER_ARG,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from otelflow._core.errors import ConfigurationError, nearest
from otelflow.telemetry import plugins
from otelflow.telemetry.delivery import DeliverySpanProcessor

# With the SDK's ten seconds a process whose collector is dead hangs at its exit.
_TIMEOUT_SECONDS: Final = 2
_PROTOCOLS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def new_provider(service_name: str | None) -> TracerProvider:
    """Return a provider with the sampler, id generator, limits, resource and exporters that the environment names.

    Raises ConfigurationError for a variable that says nothing usable.
    """
    attributes = {} if service_name is None else {SERVICE_NAME: service_name}
    generator = os.environ.get(OTEL_PYTHON_ID_GENERATOR)
    provider = TracerProvider(
        resource=Resource.create(attributes),
        sampler=_foreign_sampler(),
        id_generator=None
        if not generator
        else plugins.load("opentelemetry_id_generator", generator.strip(), OTEL_PYTHON_ID_GENERATOR)(),
    )
    for name in exporter_names():
        provider.add_span_processor(DeliverySpanProcessor(new_exporter(name)))
    return provider


def _foreign_sampler() -> Sampler | None:
    """Return a sampler that only an entry point knows; the SDK itself reads the variables for its own."""
    name = os.environ.get(OTEL_TRACES_SAMPLER, "").strip()
    if not name or name.lower() in _KNOWN_SAMPLERS:
        return None
    factory = plugins.load("opentelemetry_traces_sampler", name, OTEL_TRACES_SAMPLER)
    sampler: Sampler = factory(os.environ.get(OTEL_TRACES_SAMPLER_ARG))
    return sampler


_KNOWN_SAMPLERS: Final = frozenset(
    {
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    }
)


def exporter_names() -> list[str]:
    """Return the exporters that ``OTEL_TRACES_EXPORTER`` names; unset, OTLP if an endpoint is given, else none.

    OpenTelemetry's default is OTLP to localhost in any case: a flow on a laptop would complain of it at each run.
    """
    names = os.environ.get(OTEL_TRACES_EXPORTER, "").strip()
    if names:
        return [name.strip() for name in names.split(",") if name.strip() not in ("", "none")]
    return ["otlp"] if _endpoint() else []


def _endpoint() -> str:
    return os.environ.get(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) or os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT) or ""


def new_exporter(name: str) -> SpanExporter:
    """Return the exporter registered as *name*; ``otlp`` is the one of the configured protocol."""
    keywords: dict[str, Any] = {}
    if name == "otlp":
        name = _otlp_by_protocol()
    if name in _PROTOCOLS.values():
        _check_endpoint(is_http=name == "otlp_proto_http")
        if not os.environ.get(OTEL_EXPORTER_OTLP_TIMEOUT) and not os.environ.get(OTEL_EXPORTER_OTLP_TRACES_TIMEOUT):
            keywords["timeout"] = _TIMEOUT_SECONDS
    kind = plugins.load("opentelemetry_traces_exporter", name, OTEL_TRACES_EXPORTER)
    try:
        exporter: SpanExporter = kind(**keywords)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{OTEL_TRACES_EXPORTER}: {name} cannot be set up: {error}") from error
    return exporter


def _otlp_by_protocol() -> str:
    variable = OTEL_EXPORTER_OTLP_TRACES_PROTOCOL
    protocol = os.environ.get(variable, "").strip()
    if not protocol:
        variable = OTEL_EXPORTER_OTLP_PROTOCOL
        protocol = os.environ.get(variable, "").strip() or "http/protobuf"
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(f"{variable}={protocol} is not supported{nearest(protocol, _PROTOCOLS)}")
    return _PROTOCOLS[protocol]


def _check_endpoint(*, is_http: bool) -> None:
    endpoint = _endpoint()
    wanted = "an address such as http://localhost:4318" if is_http else "an address such as http://localhost:4317"
    try:
        parts = urlsplit(endpoint)
        is_good = not endpoint or (bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0)
    except ValueError:
        is_good = False
    # gRPC takes host:port, too.
    is_good = is_good or (not is_http and " " not in endpoint and "://" not in endpoint)
    if not is_good:
        raise ConfigurationError(f"{OTEL_EXPORTER_OTLP_ENDPOINT}={endpoint} is no endpoint: give {wanted}")
