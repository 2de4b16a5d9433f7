"""What every service does alike, so that one order is one trace: flows, requests, messages and statements."""

from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

import otelflow
from database import engine


def observe(service: str) -> otelflow.Telemetry:
    """Send traces and metrics of *service* where OTEL_EXPORTER_OTLP_ENDPOINT and OTELFLOW_METRICS say."""
    telemetry = otelflow.configure(service_name=service)
    instrument()
    return telemetry


def instrument() -> None:
    """Let OpenTelemetry carry the trace to other services and through the queue, and show statements."""
    HTTPXClientInstrumentor().instrument()
    CeleryInstrumentor().instrument()
    SQLAlchemyInstrumentor().instrument(engine=engine)
