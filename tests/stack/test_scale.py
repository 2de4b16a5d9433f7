"""The scale layer's sampler keeps what is worth reading."""

from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

DEPLOY = Path(__file__).parents[2] / "deploy"
SECOND = 1_000_000_000


@pytest.fixture
def sampler(addresses, workshop, jaeger, tools):
    """A sampler's OTLP/gRPC address; it hands on to the Jaeger of the other tests."""
    folder = workshop / "sampler"
    listen = addresses.own("sampler-1", 4317, 13133) | addresses.own_metrics("sampler-1")
    config = tools.adapt(
        DEPLOY / "collector/sampler.yaml", folder / "sampler.yaml", listen | addresses.of("jaeger:4317")
    )
    command = [tools.program("otelcol"), f"--config={config}"]
    ready = addresses.url("sampler-1:13133")
    with tools.running("The sampler", command, ready=ready, log=folder / "sampler.log"):
        yield addresses.here("sampler-1:4317")


class Traces:
    """Makes traces of a given length at once: their times are written down, not waited for."""

    def __init__(self, sampler):
        self.provider = TracerProvider(resource=Resource.create({"service.name": "scaled"}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=sampler, insecure=True, timeout=5)
        self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("otelflow")

    def make(self, *, result="success", seconds=1, ended=True, failed=False):
        start = 1_795_000_000 * SECOND
        root = self.tracer.start_span("flow order", start_time=start, attributes={"otelflow.run.result": result})
        inside = trace.set_span_in_context(root)
        task = self.tracer.start_span("task price", context=inside, start_time=start)
        if failed:
            task.set_status(Status(StatusCode.ERROR, "no tea left"))
        task.end(start + SECOND // 2)
        if ended:
            root.end(start + seconds * SECOND)
        return f"{root.get_span_context().trace_id:032x}"


@pytest.mark.timeout(180)
def test_the_sampler_keeps_failures_and_slow_and_running_flows_and_a_share_of_the_rest(sampler, jaeger, tools):
    traces = Traces(sampler)
    worth_reading = {
        "a task failed": traces.make(failed=True),
        "cancelled": traces.make(result="cancellation"),
        "slow": traces.make(seconds=11),
        "still running": traces.make(ended=False),
    }
    rest = [traces.make() for _ in range(200)]
    traces.provider.shutdown()

    def there(trace_id):
        return tools.get(f"{jaeger}/api/v3/traces/{trace_id}")[0] == 200

    for why, trace_id in worth_reading.items():
        tools.wait_for(lambda trace_id=trace_id: there(trace_id), seconds=60, what=f"the trace that is kept: {why}")
    assert 2 <= sum(map(there, rest)) <= 60
