"""The scale layer: Collector, Kafka, dispatcher, two samplers, Jaeger on OpenSearch."""

import base64
import os
import re
import socket
import time
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

DEPLOY = Path(__file__).parents[2] / "deploy"
SECOND = 1_000_000_000
#: Within the 168 hours of KEEP_TRACES, and longer ago than the three days that Jaeger looks back unless told.
DAYS_AGO = 5
SAMPLERS = ("sampler-1", "sampler-2")


@pytest.fixture
def addresses(tools):
    """Addresses of its own: this Collector and this Jaeger are not those of the base layer."""
    return tools.Addresses()


@pytest.fixture
def kafka(addresses, tmp_path, tools):
    """A broker with the settings of deploy/ and the topic that its compose layer makes."""
    launcher = tools.program("kafka")
    changes = {
        "PLAINTEXT://:9092": f"PLAINTEXT://{addresses.local('kafka:9092')}",
        "CONTROLLER://:9093": f"CONTROLLER://{addresses.local('kafka:9093')}",
        "localhost:9093": addresses.local("kafka:9093"),
        "/var/lib/kafka/data": str(tmp_path / "topics"),
    }
    settings = tools.adapt(
        DEPLOY / "kafka/broker.env", tmp_path / "kafka/broker.env", changes | addresses.of("kafka:9092")
    )
    properties = as_properties(settings)
    cluster = tools.run(launcher, "kafka.tools.StorageTool", "random-uuid").stdout.strip()
    formatted = tools.run(launcher, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties)
    assert formatted.returncode == 0, formatted.stdout + formatted.stderr

    def listens():
        with socket.create_connection(("127.0.0.1", addresses.ports["kafka:9092"]), timeout=1):
            return True

    log = tmp_path / "kafka/kafka.log"
    with tools.running("Kafka", [launcher, "kafka.Kafka", properties], ready=listens, log=log):
        topic = tools.run(launcher, *topic_command(addresses))
        assert topic.returncode == 0, topic.stdout + topic.stderr
        yield addresses.local("kafka:9092")


def as_properties(env_file):
    """What the broker's image makes of its environment: KAFKA_NODE_ID=1 becomes node.id=1."""
    lines = [line for line in env_file.read_text().splitlines() if line.startswith("KAFKA_") and "HEAP" not in line]
    pairs = [line.removeprefix("KAFKA_").split("=", 1) for line in lines]
    file = env_file.with_suffix(".properties")
    file.write_text("".join(f"{key.lower().replace('_', '.')}={value}\n" for key, value in pairs))
    return file


def topic_command(addresses):
    """The command of compose's service `kafka-topics`, as a class of Kafka."""
    text = (DEPLOY / "compose.scale.yaml").read_text()
    options = re.findall(r"^      - (--\S+)$", text[text.index("kafka-topics.sh") :], re.MULTILINE)
    options = options[: options.index("--config=max.message.bytes=16777216") + 1]
    return "org.apache.kafka.tools.TopicCommand", *(
        option.replace("kafka:9092", addresses.local("kafka:9092")) for option in options
    )


@pytest.fixture
def opensearch(addresses, tmp_path, tools):
    """OpenSearch as its container starts it, but for the security plugin, which the layer disables."""
    folder = tmp_path / "opensearch"
    folder.mkdir()
    command = [
        tools.program("opensearch"),
        folder,
        "-Ediscovery.type=single-node",
        "-Enetwork.host=127.0.0.1",
        f"-Ehttp.port={addresses.ports['opensearch:9200']}",
        f"-Etransport.port={addresses.ports['opensearch:9300']}",
    ]
    ready = addresses.url("opensearch:9200") + "/_cluster/health?wait_for_status=yellow&timeout=2s"
    with tools.running("OpenSearch", command, ready=ready, log=folder / "opensearch.log"):
        yield addresses.url("opensearch:9200")


@pytest.fixture
def jaeger(addresses, opensearch, tmp_path, tools):
    with tools.running_jaeger(addresses, tmp_path / "jaeger", "jaeger-on-opensearch.yaml") as jaeger:
        yield jaeger


@pytest.fixture
def samplers(addresses, jaeger, tmp_path, tools):
    with ExitStack() as both:
        for name in SAMPLERS:
            listen = addresses.own(name, 4317, 13133) | addresses.own_metrics(name)
            start(both, name, "sampler.yaml", listen | addresses.of("jaeger:4317"), addresses, tmp_path, tools)
        yield SAMPLERS


@pytest.fixture
def dispatcher(addresses, kafka, samplers, tmp_path, tools):
    with ExitStack() as alone:
        listen = addresses.own("dispatcher", 13133) | addresses.own_metrics("dispatcher")
        asked = addresses.of("kafka:9092", *(f"{name}:4317" for name in samplers))
        start(alone, "dispatcher", "dispatcher.yaml", listen | asked, addresses, tmp_path, tools)
        yield


def start(stack, name, file, replacements, addresses, tmp_path, tools):
    """Start one more Collector, with one file of deploy/collector."""
    config = tools.adapt(DEPLOY / "collector" / file, tmp_path / name / file, replacements)
    command = [tools.program("otelcol"), f"--config={config}"]
    ready, log = addresses.url(f"{name}:13133"), tmp_path / name / f"{name}.log"
    stack.enter_context(tools.running(name, command, ready=ready, log=log))


@pytest.fixture
def collector(addresses, kafka, dispatcher, tmp_path, tools):
    with tools.running_collector(
        addresses, tmp_path / "collector", traces="traces-to-kafka.yaml", next_stop="kafka:9092"
    ) as collector:
        yield collector


class Traces:
    """Makes traces of a given length at once: their times are written down, not waited for."""

    def __init__(self, collector):
        self.provider = TracerProvider(resource=Resource.create({"service.name": "scaled"}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{collector}/v1/traces", timeout=20)
        self.provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=4096, max_export_batch_size=1024))
        self.tracer = self.provider.get_tracer("otelflow")

    def make_large(self):
        """Make a trace that failed, of 400 spans of 4 kB, which the Collector hands on in one record."""
        start = time.time_ns() - DAYS_AGO * 86_400 * SECOND
        root = self.tracer.start_span("flow bulk", start_time=start, attributes={"otelflow.run.result": "failure"})
        inside = trace.set_span_in_context(root)
        for _ in range(400):
            text = base64.b64encode(os.urandom(3_000)).decode()  # as a hostile compressor would have it
            task = self.tracer.start_span("task load", context=inside, start_time=start, attributes={"text": text})
            task.end(start + SECOND // 2)
        root.set_status(Status(StatusCode.ERROR, "no room left"))
        root.end(start + SECOND)
        return f"{root.get_span_context().trace_id:032x}"

    def make(self, *, result="success", seconds=1, ended=True, failed=False):
        start = time.time_ns() - DAYS_AGO * 86_400 * SECOND
        root = self.tracer.start_span("flow order", start_time=start, attributes={"otelflow.run.result": result})
        inside = trace.set_span_in_context(root)
        task = self.tracer.start_span("task price", context=inside, start_time=start)
        if failed:
            task.set_status(Status(StatusCode.ERROR, "no tea left"))
        task.end(start + SECOND // 2)
        if ended:
            root.end(start + seconds * SECOND)
        return f"{root.get_span_context().trace_id:032x}"


@pytest.mark.timeout(300)
def test_failures_and_slow_and_running_flows_arrive_through_kafka_with_a_share_of_the_rest(
    collector, jaeger, opensearch, addresses, tools
):
    traces = Traces(collector)
    worth_reading = {
        "a task failed": traces.make(failed=True),
        "cancelled": traces.make(result="cancellation"),
        "slow": traces.make(seconds=11),
        "still running": traces.make(ended=False),
    }
    large = traces.make_large()
    rest = [traces.make() for _ in range(200)]
    traces.provider.shutdown()

    def stored(trace_id):
        status, text = tools.get(f"{jaeger}/api/v3/traces/{trace_id}")
        return text.count('"spanId"') if status == 200 else 0

    for why, trace_id in worth_reading.items():
        tools.wait_for(lambda trace_id=trace_id: stored(trace_id), seconds=90, event=f"the trace that is kept: {why}")

    tools.wait_for(lambda: stored(large) == 401, seconds=90, event="the trace of 1.6 MB, whole")
    time.sleep(3)  # the rest is decided in the same seconds; its spans may still be on their way
    counts = [stored(trace_id) for trace_id in rest]
    assert 2 <= sum(map(bool, counts)) <= 60
    assert set(counts) == {0, 2}, "a trace is kept whole or not at all"
    for name in SAMPLERS:
        metrics = tools.get(addresses.url(f"{name}:8888") + "/metrics")[1]
        assert re.search(r"^otelcol_receiver_accepted_spans_total\{.*\} [1-9]", metrics, re.MULTILINE), name
    assert "otelflow-jaeger-span-" in tools.get(f"{opensearch}/_cat/indices")[1]
    forgets_what_is_older_than_it_may_be(opensearch, tools)


def forgets_what_is_older_than_it_may_be(opensearch, tools):
    """Run what the layer runs once a day."""
    today = datetime.now(UTC).date()
    old, recent = (f"otelflow-jaeger-span-{today - timedelta(days=days)}" for days in (9, 6))
    for index in (old, recent, "otelflow-jaeger-archive"):
        put(f"{opensearch}/{index}")

    command = ["bash", DEPLOY / "opensearch/forget.sh", opensearch, "once"]
    done = tools.run(*command, env=os.environ | {"KEEP_TRACES": "168h"})

    assert (done.returncode, done.stderr) == (0, "")
    left = tools.get(f"{opensearch}/_cat/indices/otelflow-*?h=index")[1].split()
    assert old not in left
    assert {recent, "otelflow-jaeger-archive"} <= set(left)
    unclear = tools.run(*command, env=os.environ | {"KEEP_TRACES": "a week"})
    assert unclear.returncode == 2
    assert "KEEP_TRACES=a week is no number of hours" in unclear.stderr


def put(url):
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30) as answer:
        assert answer.status == 200
