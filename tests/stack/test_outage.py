"""What was accepted is not lost when a part of the pipe goes away and comes back."""

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor


def send_trace(collector):
    """Send one span and return its trace id; the Collector has said that it took it."""
    exporter = OTLPSpanExporter(endpoint=f"{collector}/v1/traces", timeout=5)
    provider = TracerProvider(resource=Resource.create({"service.name": "patient"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("otelflow").start_as_current_span("flow order") as span:
        pass
    provider.shutdown()
    return f"{span.get_span_context().trace_id:032x}"


@pytest.mark.timeout(240)
def test_traces_wait_on_disk_while_jaeger_is_away_and_stay_when_it_restarts(tmp_path, tools):
    addresses = tools.Addresses()

    def metric(name):
        text = tools.get(addresses.url("collector:8888") + "/metrics")[1]
        return [line for line in text.splitlines() if line.startswith(name) and not line.endswith(" 0")]

    with tools.running_collector(addresses, tmp_path / "collector") as collector:
        trace_id = send_trace(collector)
        tools.wait_for(lambda: metric("otelcol_receiver_accepted_spans"), seconds=30, event="the Collector to take it")
        tools.wait_for(
            lambda: metric("otelcol_exporter_queue_size") or metric("otelcol_exporter_in_flight_requests"),
            seconds=30,
            event="the trace to wait in the queue",
        )

    def stored(jaeger):
        return tools.get(f"{jaeger}/api/v3/traces/{trace_id}")[0] == 200

    with (
        tools.running_jaeger(addresses, tmp_path / "jaeger") as jaeger,
        tools.running_collector(addresses, tmp_path / "collector"),
    ):
        tools.wait_for(lambda: stored(jaeger), seconds=60, event="the trace to arrive after both came back")

    with tools.running_jaeger(addresses, tmp_path / "jaeger") as jaeger:
        assert stored(jaeger)
