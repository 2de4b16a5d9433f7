"""What an application sends to the Collector comes out of Jaeger and Prometheus."""

import json
import os
import runpy
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

PROGRAM = Path(__file__).with_name("flow_program.py")
as_recorded = runpy.run_path(str(Path(__file__).with_name("recording.py")))["as_recorded"]

KINDS = {0: "UNSPECIFIED", 1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
STATUSES = {0: "UNSET", 1: "OK", 2: "ERROR"}


class Application:
    """A program that traces itself; what it records is kept for comparison."""

    def __init__(self, service, collector):
        self.recorded = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.recorded))
        exporter = OTLPSpanExporter(endpoint=f"{collector}/v1/traces", timeout=5)
        self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("otelflow", "1.2.3")

    def run(self, flow="order", *, result="success", seconds=0.0):
        """Trace one run of a flow with one task, and return its trace id."""
        failed = result != "success"
        with self.tracer.start_as_current_span(f"flow {flow}") as flow_span:
            flow_span.set_attributes({"otelflow.flow.name": flow, "otelflow.run.result": result})
            with self.tracer.start_as_current_span("task price") as task_span:
                task_span.set_attributes({"otelflow.task.name": "price", "number": 7, "share": 0.5, "known": True})
                task_span.add_event("otelflow.message", {"otelflow.message.text": "tea, 7 €", "length": 8})
                if failed:
                    task_span.set_status(Status(StatusCode.ERROR, "no tea left"))
            time.sleep(seconds)
        return f"{flow_span.get_span_context().trace_id:032x}"

    def spans_of(self, trace_id):
        spans = [as_recorded(span) for span in self.recorded.get_finished_spans()]
        return [span for span in spans if span["trace_id"] == trace_id]


@pytest.fixture(scope="module")
def application(collector):
    application = Application("shop", collector)
    yield application
    application.provider.shutdown()


@pytest.fixture
def read_trace(jaeger, tools):
    """Read a trace from Jaeger when it has as many spans as it should, as {span id: span}."""

    def read(trace_id, count):
        def spans():
            status, text = tools.get(f"{jaeger}/api/v3/traces/{trace_id}")
            trace = list(spans_in(json.loads(text))) if status == 200 else []
            return trace if len(trace) >= count else None

        return {span["span_id"]: span for span in tools.wait_for(spans, seconds=30, event=f"trace {trace_id}")}

    return read


def spans_in(answer):
    """Every span of an answer of /api/v3, in the words that `as_recorded` uses."""
    for group in answer["result"]["resourceSpans"]:
        resource = plain(group["resource"]["attributes"])
        for scoped in group["scopeSpans"]:
            for span in scoped["spans"]:
                yield as_stored(span) | {"resource": resource, "scope": scoped["scope"]["name"]}


def as_stored(span):
    return {
        "trace_id": span["traceId"],
        "span_id": span["spanId"],
        "parent_id": span.get("parentSpanId"),
        "name": span["name"],
        "kind": KINDS[span["kind"]],
        "start": int(span["startTimeUnixNano"]),
        "end": int(span["endTimeUnixNano"]),
        "status": STATUSES[span["status"].get("code", 0)],
        "status_text": span["status"].get("message"),
        "attributes": plain(span.get("attributes", [])),
        "events": sorted(
            [int(event["timeUnixNano"]), event["name"], plain(event.get("attributes", []))]
            for event in span.get("events", [])
        ),
    }


def plain(attributes):
    """OTLP's typed values as Python's own."""
    read = {"stringValue": str, "boolValue": bool, "doubleValue": float, "intValue": int}
    return {
        attribute["key"]: read[kind](value)
        for attribute in attributes
        for kind, value in attribute.get("value", {}).items()
    }


def same(stored, recorded):
    """Assert that Jaeger stored what the run recorded: nothing missing, nothing changed, nothing extra."""
    assert {key: stored[key] for key in recorded} == recorded


def test_a_trace_sent_to_the_collector_is_read_back_from_jaeger_whole(application, read_trace):
    trace_id = application.run(result="failure")
    recorded = application.spans_of(trace_id)

    stored = read_trace(trace_id, len(recorded))

    assert stored.keys() == {span["span_id"] for span in recorded}
    for span in recorded:
        same(stored[span["span_id"]], span)
        assert stored[span["span_id"]]["resource"]["service.name"] == "shop"
        assert stored[span["span_id"]]["scope"] == "otelflow"


def test_a_flow_of_otelflow_is_read_back_from_jaeger_whole(collector, read_trace, tools):
    pytest.importorskip("otelflow", reason="otelflow is not installed")
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_SERVICE_NAME": "flow-program"}
    done = tools.run(sys.executable, PROGRAM, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("SPAN ") for line in done.stdout.splitlines() if line.startswith("SPAN ")]
    recorded = [json.loads(line) for line in lines]

    stored = read_trace(recorded[0]["trace_id"], len(recorded))

    assert sorted(span["name"] for span in recorded) == ["flow order", "task price", "task reserve"]
    assert stored.keys() == {span["span_id"] for span in recorded}
    for span in recorded:
        same(stored[span["span_id"]], span)


TWO_ENDINGS = """
import otelflow
from otelflow import flow, task

@task(raise_on_error=False)
def reserve():
    raise LookupError("no tea left")

@task
def charge():
    raise ValueError("no money")

@flow
def recovers():
    reserve()

@flow(flow_config=otelflow.Flow_Run__Config(raise_flow_error=False))
def fails():
    charge()

otelflow.configure(service_name="badges")
recovers().execute()
fails().execute()
"""


def test_the_list_of_jaeger_tells_a_failed_flow_from_one_that_recovered_and_its_span_names_the_culprit(
    collector, jaeger, tools
):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    done = tools.run(sys.executable, "-c", TWO_ENDINGS, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr

    def listed():
        """Ask as the page does; its red badge counts the spans with the tag *error*."""
        traces = tools.get_json(f"{jaeger}/api/traces", service="badges", limit=20, lookback="1h")["data"]
        spans = [{tag["key"]: tag["value"] for tag in span["tags"]} for trace in traces for span in trace["spans"]]
        return (traces, spans) if len(spans) == 4 else None

    traces, spans = tools.wait_for(listed, seconds=30, event="two traces in the list")

    badges = {
        next(span["operationName"] for span in trace["spans"] if not span["references"]): sum(
            tag["key"] == "error" and tag["value"] is True for span in trace["spans"] for tag in span["tags"]
        )
        for trace in traces
    }
    assert badges == {"flow recovers": 0, "flow fails": 2}
    (failed,) = [tags for tags in spans if tags.get("otelflow.flow.failed_in")]
    assert failed["otelflow.flow.failed_in"] == "task charge"
    assert failed["otel.status_description"] == "task charge: no money"
    (recovered,) = [
        tags for tags in spans if tags["otelflow.flow.name"] == "recovers" and "otelflow.task.name" not in tags
    ]
    assert (recovered["otelflow.run.result"], recovered["otelflow.flow.tasks.failed"]) == ("success", 1)


def test_the_deep_link_to_a_trace_answers(application, jaeger, read_trace, tools):
    trace_id = application.run()
    read_trace(trace_id, 2)

    assert tools.get(f"{jaeger}/trace/{trace_id}")[0] == 200


def test_a_trace_that_jaeger_never_saw_is_not_found(jaeger, tools):
    assert tools.get(f"{jaeger}/api/v3/traces/{'1' * 32}")[0] == 404


def test_span_metrics_count_every_run_in_prometheus(collector, query, tools):
    application = Application("counted", collector)
    for _ in range(3):
        application.run("invoice")
    application.run("invoice", result="failure")
    application.provider.shutdown()

    calls = 'traces_span_metrics_calls_total{service_name="counted", span_name="flow invoice"}'

    def counts():
        seen = {series["metric"]["otelflow_run_result"]: float(series["value"][1]) for series in query(calls)}
        return seen if sum(seen.values()) == 4 else None

    assert tools.wait_for(counts, seconds=60, event="four runs in Prometheus") == {"success": 3, "failure": 1}


def test_the_exemplar_of_a_span_metric_is_a_trace_that_jaeger_has(collector, prometheus, read_trace, tools):
    application = Application("exemplary", collector)
    sent = [application.run("invoice") for _ in range(3)]
    application.provider.shutdown()

    def exemplars():
        now = time.time()
        answer = tools.get_json(
            f"{prometheus}/api/v1/query_exemplars",
            query='traces_span_metrics_duration_milliseconds_bucket{service_name="exemplary"}',
            start=now - 300,
            end=now + 60,
        )
        return [exemplar["labels"]["trace_id"] for series in answer["data"] for exemplar in series["exemplars"]]

    named = tools.wait_for(exemplars, seconds=60, event="an exemplar")

    assert set(named) <= set(sent)
    assert read_trace(named[0], 2)


def test_jaegers_monitor_tab_reads_rates_from_prometheus(collector, jaeger, prometheus, tools):
    application = Application("monitored", collector)

    def rates():
        application.run("invoice")
        answer = tools.get_json(
            f"{jaeger}/api/metrics/calls",
            service="monitored",
            groupByOperation="true",
            endTs=int(time.time() * 1000),
            lookback=600_000,
            step=5_000,
            ratePer=60_000,
            spanKind="internal",
        )
        return [
            label["value"]
            for metric in answer["metrics"]
            for label in metric["labels"]
            if label["name"] == "operation" and metric["metricPoints"]
        ]

    operations = tools.wait_for(rates, seconds=60, event="the Monitor tab")
    application.provider.shutdown()

    assert set(operations) <= {"flow invoice", "task price"}


def test_jaegers_monitor_tab_reads_latencies_in_milliseconds(collector, jaeger, prometheus, tools):
    application = Application("timed", collector)

    def latencies():
        """Ask as the page does, which draws the numbers as milliseconds."""
        application.run("invoice", seconds=0.3)
        answer = tools.get_json(
            f"{jaeger}/api/metrics/latencies",
            service="timed",
            quantile="0.95",
            groupByOperation="true",
            endTs=int(time.time() * 1000),
            lookback=3_600_000,
            step=60_000,
            ratePer=600_000,
            spanKind="internal",
        )
        return [
            point["gaugeValue"]["doubleValue"]
            for metric in answer["metrics"]
            for label in metric["labels"]
            if (label["name"], label["value"]) == ("operation", "flow invoice")
            for point in metric["metricPoints"]
            if isinstance(point["gaugeValue"]["doubleValue"], float | int)
        ]

    slowest = tools.wait_for(latencies, seconds=60, event="latencies on the Monitor tab")
    application.provider.shutdown()

    assert all(250 <= milliseconds < 30_000 for milliseconds in slowest), slowest


def test_prometheus_reaches_every_part_of_the_pipe(query, tools):
    expected = {"alertmanager", "applications-over-otlp", "collector", "jaeger", "prometheus", "pushgateway", "spans"}

    def up():
        seen = {series["metric"]["job"] for series in query("up == 1")}
        return seen if seen >= expected else None

    tools.wait_for(up, seconds=40, event="every target to be up")
    assert query('otelcol_exporter_sent_spans_total{exporter="otlp_grpc/jaeger"} > 0')
    assert query('otelcol_exporter_queue_capacity{exporter="otlp_grpc/jaeger"} == 5000')


def test_otlp_metrics_of_an_application_arrive_under_its_service_name(collector, query, tools):
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{collector}/v1/metrics", timeout=5))
    provider = MeterProvider([reader], resource=Resource.create({"service.name": "pusher"}), shutdown_on_exit=False)
    runs = provider.get_meter("otelflow").create_counter("otelflow.flow.runs")
    runs.add(3, {"flow": "nightly", "result": "success"})
    provider.shutdown()

    series = 'otelflow_flow_runs_total{job="pusher", flow="nightly", result="success"} == 3'
    tools.wait_for(lambda: query(series), seconds=40, event="the pushed counter")


def test_log_records_are_taken_at_the_same_address(collector, addresses, tools):
    record = {"body": {"stringValue": "tea, 7 €"}, "severityNumber": 9, "traceId": "1" * 32, "spanId": "2" * 16}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    tools.post(
        f"{collector}/v1/logs",
        {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]},
    )

    def sent():
        metrics = tools.get(addresses.url("collector:8888") + "/metrics")[1]
        return 'otelcol_exporter_sent_log_records_total{exporter="debug"} 1' in metrics

    tools.wait_for(sent, seconds=30, event="the log record on the Collector's console")
