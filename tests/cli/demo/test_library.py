import json
import re
import sysconfig
from collections import Counter
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def demo(tmp_path_factory, http_receiver, run_command):
    """One run of the whole demo, which also sends its trace to a receiver; and what was stored."""
    folder = tmp_path_factory.mktemp("demo")
    store = folder / "store"
    done = run_command("demo", store=store, cwd=folder, timeout=110, OTEL_EXPORTER_OTLP_ENDPOINT=http_receiver.url)
    document = json.loads(run_command("show", "--json", store=store, cwd=folder).out)
    spans = [span for r in document["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]]
    return done, spans


def result_of(span):
    return next(a["value"]["stringValue"] for a in span["attributes"] if a["key"] == "otelflow.run.result")


def test_the_demo_reads_the_whole_standard_library(demo):
    done, spans = demo

    root = Path(sysconfig.get_path("stdlib"))
    foreign = {"site-packages", "dist-packages", "__pycache__"}
    files = [file for file in root.rglob("*.py") if not foreign.intersection(file.parts)]
    names = Counter(span["name"] for span in spans)
    assert done.code == 0, done.err
    assert names["task read file"] == len(files) + 4
    assert len(files) > 300
    assert names["flow read the standard library"] == names["task find files"] == names["task summarise"] == 1


def test_tasks_of_the_demo_succeed_fail_and_recover(demo):
    _, spans = demo

    by_id = {span["spanId"]: span for span in spans}
    results = Counter(result_of(span) for span in spans if span["name"] == "task read file")
    failed = [span for span in spans if span["name"] == "task decode" and result_of(span) == "failure"]
    recovered = [span for span in failed if result_of(by_id[span["parentSpanId"]]) == "success"]
    assert results["failure"] >= 3
    assert results["success"] > 300
    assert recovered
    assert len(failed) > len(recovered)


def test_the_demo_prints_its_tree_the_trace_id_and_where_it_was_stored(demo):
    done, spans = demo

    assert done.out == ""
    assert re.search(r"✓ flow read the standard library +━+", done.err)
    assert re.search(r"task read file . [\d,]+  ✓ [\d,]+  ✗ \d+", done.err)
    assert "artifact largest-packages (table)" in done.err
    assert "result flow-return-value: {'files': " in done.err
    last = done.lines[-1]
    assert f"trace {spans[0]['traceId']} stored in " in last
    assert "telemetry was lost" not in last


def test_the_demos_trace_arrives_whole_at_an_otlp_receiver(demo, http_receiver):
    _, spans = demo

    # Other tests send to it, too.
    received = [span for span in http_receiver.spans if span.trace_id.hex() == spans[0]["traceId"]]
    assert len(received) == len({span.span_id for span in received})
    assert {span.span_id.hex() for span in received} == {span["spanId"] for span in spans}
    assert "otelflow-demo" in http_receiver.services
    assert "unknown_service" not in http_receiver.services


def test_the_demos_flow_is_a_flow_like_any_other_and_arrives_over_grpc(otelflow, grpc_receiver):
    done = otelflow(
        *("run", "otelflow._cli.demo.library:read_library", "--param", "limit=60"),
        OTEL_EXPORTER_OTLP_ENDPOINT=grpc_receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )

    document = json.loads(otelflow("show", "--json").out)
    stored = [span["spanId"] for r in document["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]]
    assert done.code == 0, done.err
    assert f"sent to {grpc_receiver.url}" in done.err
    assert len(stored) > 64
    assert sorted(span.span_id.hex() for span in grpc_receiver.spans) == sorted(stored)
