"""Make a logger provider when events are wanted as log records and the application has none."""

import os
from typing import Any

from opentelemetry import _logs
from opentelemetry._logs._internal import ProxyLoggerProvider
from opentelemetry.environment_variables import OTEL_LOGS_EXPORTER
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_LOGS_ENDPOINT,
    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL,
    OTEL_EXPORTER_OTLP_PROTOCOL,
)
from opentelemetry.sdk.resources import Resource

from otelflow.telemetry import plugins


def use_logs(resource: Resource) -> None:
    """Send log records where ``OTEL_LOGS_EXPORTER`` or the OTLP endpoint says; an application's provider stays."""
    names = _exporter_names()
    if not names or not isinstance(_logs.get_logger_provider(), ProxyLoggerProvider):
        return
    provider = LoggerProvider(resource=resource)
    for name in names:
        exporter: Any = plugins.load("opentelemetry_logs_exporter", name, OTEL_LOGS_EXPORTER)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter()))
    _logs.set_logger_provider(provider)


def _exporter_names() -> list[str]:
    names = os.environ.get(OTEL_LOGS_EXPORTER, "").strip()
    if not names and (os.environ.get(OTEL_EXPORTER_OTLP_LOGS_ENDPOINT) or os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT)):
        names = "otlp"
    protocol = os.environ.get(OTEL_EXPORTER_OTLP_LOGS_PROTOCOL) or os.environ.get(OTEL_EXPORTER_OTLP_PROTOCOL)
    otlp = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    return [
        otlp if name.strip() == "otlp" else name.strip()
        for name in names.split(",")
        if name.strip() not in ("", "none")
    ]
