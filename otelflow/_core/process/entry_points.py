"""Find exporters, samplers and id generators by the names that OpenTelemetry's variables use."""

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from otelflow._core.text.hints import quotes_in, suggestion
from otelflow.errors import ConfigurationError

_PROVIDER_VARIABLES: Final = {kind: f"OTEL_PYTHON_{kind.upper()}_PROVIDER" for kind in ("tracer", "meter", "logger")}
_OTLP: Final = "opentelemetry.exporter.otlp.proto"
_SDK: Final = "opentelemetry.sdk"
# What is imported by its name where nothing is registered: in an application that was frozen without the metadata of
# its packages. The samplers of the SDK are not here, since the SDK reads their variables itself.
_BY_NAME: Final[Mapping[str, Mapping[str, str]]] = {
    "opentelemetry_traces_exporter": {
        "otlp_proto_http": f"{_OTLP}.http.trace_exporter:OTLPSpanExporter",
        "otlp_proto_grpc": f"{_OTLP}.grpc.trace_exporter:OTLPSpanExporter",
        "console": f"{_SDK}.trace.export:ConsoleSpanExporter",
        "otelflow_store": "otelflow_exporters.store:StoreSpanExporter",
        "otelflow_tree": "otelflow_exporters.tree:TreeSpanExporter",
        "otelflow_spool": "otelflow_exporters._spool.by_name:SpoolSpanExporter",
    },
    "opentelemetry_logs_exporter": {
        "otlp_proto_http": f"{_OTLP}.http._log_exporter:OTLPLogExporter",
        "otlp_proto_grpc": f"{_OTLP}.grpc._log_exporter:OTLPLogExporter",
        "console": f"{_SDK}._logs.export:ConsoleLogRecordExporter",
        "otelflow_spool": "otelflow_exporters._spool.by_name:SpoolLogRecordExporter",
    },
    "opentelemetry_metrics_exporter": {
        "otlp_proto_http": f"{_OTLP}.http.metric_exporter:OTLPMetricExporter",
        "otlp_proto_grpc": f"{_OTLP}.grpc.metric_exporter:OTLPMetricExporter",
        "console": f"{_SDK}.metrics.export:ConsoleMetricExporter",
        "otelflow_spool": "otelflow_exporters._spool.by_name:SpoolMetricExporter",
    },
    "opentelemetry_id_generator": {"random": f"{_SDK}.trace.id_generator:RandomIdGenerator"},
    "opentelemetry_tracer_provider": {
        "sdk_tracer_provider": f"{_SDK}.trace:TracerProvider",
        "default_tracer_provider": "opentelemetry.trace:NoOpTracerProvider",
        "otelflow_spool": "otelflow_exporters._spool.by_name:new_tracer_provider",
    },
    "opentelemetry_logger_provider": {
        "sdk_logger_provider": f"{_SDK}._logs:LoggerProvider",
        "otelflow_spool": "otelflow_exporters._spool.by_name:new_logger_provider",
    },
    "opentelemetry_meter_provider": {
        "sdk_meter_provider": f"{_SDK}.metrics:MeterProvider",
        "default_meter_provider": "opentelemetry.metrics:NoOpMeterProvider",
        "otelflow_spool": "otelflow_exporters._spool.by_name:new_meter_provider",
    },
}


def load(group: str, name: str, variable: str) -> Any:
    """Return what is registered as *name* in the entry-point *group*.

    Raises ConfigurationError that names *variable* for an unknown name, or for one that does not import.
    """
    registered = entry_points(group=group)
    names = {entry.name for entry in registered}
    if name not in names and name.lower() in names.union(_BY_NAME.get(group, ())):  # the specification's, in any case
        name = name.lower()
    for entry in registered.select(name=name):
        try:
            return entry.load()
        except Exception as error:
            raise ConfigurationError(f"{variable}={name}: {entry.value} does not load: {error}") from error
    place = _BY_NAME.get(group, {}).get(name)
    if place is not None:
        module, _, attribute = place.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            pass  # it is not installed, and so it is not registered either
    cure = quotes_in(name) or suggestion(name, names)
    raise ConfigurationError(f"{variable}: nothing is registered as {name!r}{cure}")


def check_provider(kind: str) -> None:
    """Raise ConfigurationError when a variable names a provider (tracer, logger) that OpenTelemetry cannot make."""
    variable = _PROVIDER_VARIABLES[kind]
    name = os.environ.get(variable)
    if name:
        load(f"opentelemetry_{kind}_provider", name, variable)


@contextlib.contextmanager
def empty_is_unset() -> Iterator[None]:
    """Take the variables of providers away meanwhile that are empty: for these, OpenTelemetry looks for the name ''."""
    empty = [variable for variable in _PROVIDER_VARIABLES.values() if os.environ.get(variable) == ""]
    for variable in empty:
        del os.environ[variable]
    try:
        yield
    finally:
        for variable in empty:
            os.environ[variable] = ""
