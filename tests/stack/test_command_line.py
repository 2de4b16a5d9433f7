"""What the command line says of the real programs: verify, doctor, and the deep link."""

import json
import os
import re
import subprocess
import sys

import pytest


@pytest.fixture
def otelflow(tmp_path, collector):
    """Run the command line with a store of its own, sending to the Collector; give the finished process."""

    def command(*words, endpoint=collector, **environment):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACE"))}
        clean |= {"OTELFLOW_STORE": str(tmp_path / "store"), "NO_COLOR": "1", "COLUMNS": "200", **environment}
        if endpoint:
            clean["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        line = [sys.executable, "-m", "otelflow", *words]
        return subprocess.run(line, env=clean, capture_output=True, text=True, timeout=110, check=False)

    return command


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "from otelflow import flow, task\n\n@task\ndef add(a, b):\n    print(a)\n    return a + b\n\n"
        "@flow\ndef work(count: int = 10):\n    return sum(add(n, n) for n in range(count))\n"
    )
    return f"{path}:work"


def trace_id_of(done):
    assert done.returncode == 0, done.stderr
    return re.search(r"\b[0-9a-f]{32}\b", done.stderr + done.stdout)[0]


def test_the_whole_demo_arrives_in_jaeger_every_span_event_and_attribute(otelflow, jaeger):
    trace_id = trace_id_of(otelflow("demo"))

    done = otelflow("verify", trace_id, "--jaeger", jaeger, "--wait", "60")

    assert done.returncode == 0, done.stderr
    spans = int(re.search(r"arrived whole: ([\d,]+) spans", done.stderr)[1].replace(",", ""))
    assert spans > 1_000


def test_a_trace_with_values_of_every_kind_arrives_whole(otelflow, jaeger, tmp_path):
    path = tmp_path / "values.py"
    path.write_text(
        """
from opentelemetry import trace
from otelflow import flow

VALUES = {
    "doubles": [0.0, 1.5, 2.0**60, 1e21, 1e-7], "no numbers": [float("nan"), 1.0], "texts": ["<&>", "\u2028", '"'],
    "zero": 0.0, "minus zero": -0.0, "large": 1e16, "larger": 2.0**60, "infinite": float("inf"), "none": float("nan"),
    "integer": 2**53 + 1, "integers": [2**63 - 1, -1], "yes": [True, False], "bytes": b"\\0\\xff", "empty": [],
}

@flow(retries=1, retry_delay=0)
def work(seen=[]):
    span = trace.get_current_span()
    span.set_attributes(VALUES)
    span.add_event("all", VALUES)
    seen.append(None)
    assert len(seen) == 2
"""
    )
    trace_id = trace_id_of(otelflow("run", f"{path}:work"))

    done = otelflow("verify", trace_id, "--jaeger", jaeger, "--wait", "60")

    assert done.returncode == 0, done.stderr
    assert "arrived whole: 3 spans" in done.stderr


def test_a_trace_that_was_not_sent_is_said_to_be_missing(otelflow, jaeger, program):
    trace_id = trace_id_of(otelflow("run", program, "--param", "count=3", endpoint=None))

    done = otelflow("verify", trace_id[:12], "--jaeger", jaeger, "--wait", "0")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"trace {trace_id} is not in {jaeger}: none of its 4 spans arrived" in done.stderr


def test_verify_says_when_jaeger_is_not_there_or_is_something_else(otelflow, program, collector):
    trace_id = trace_id_of(otelflow("run", program, endpoint=None))

    dead = otelflow("verify", trace_id, "--jaeger", "http://127.0.0.1:9")
    mistaken = otelflow("verify", trace_id, "--jaeger", collector)
    unknown = otelflow("verify", "ffffffff", "--jaeger", collector)

    assert (dead.returncode, mistaken.returncode, unknown.returncode) == (3, 3, 2)
    assert "http://127.0.0.1:9 does not answer" in dead.stderr
    assert "--jaeger URL" in dead.stderr
    assert "ffffffff" in unknown.stderr
    assert "Traceback" not in dead.stderr + mistaken.stderr + unknown.stderr


def test_the_doctor_finds_a_healthy_pipe_healthy_and_the_service_that_is_not_started(
    otelflow, jaeger, prometheus, tools
):
    def examined():
        done = otelflow("doctor", "--jaeger", jaeger, "--prometheus", prometheus)
        return done if "connection refused" in done.stdout and "not been scraped" not in done.stdout else None

    done = tools.wait_for(examined, seconds=60, event="a doctor who sees Prometheus' targets")

    assert "in Jaeger after" in done.stdout
    assert "agrees with this machine's" in done.stdout
    assert re.findall(r"WRONG +(.+?)(?:  |\n)", done.stdout) == ["target example-service"]
    assert len(re.findall(r"ok +target ", done.stdout)) >= 5
    assert done.returncode == 1


def test_the_doctor_names_what_is_wrong_and_the_cure(otelflow):
    done = otelflow("doctor", "--jaeger", "http://127.0.0.1:9", endpoint="http://127.0.0.1:9")

    assert done.returncode == 1
    assert re.search(r"WRONG\s+OTLP endpoint\s+http://127.0.0.1:9 does not answer", done.stdout)
    assert re.search(r"WRONG\s+jaeger\s+http://127.0.0.1:9 does not answer", done.stdout)
    assert "→ start the stack: docker compose -f deploy/compose.yaml up -d" in done.stdout


def test_without_anything_configured_nothing_is_wrong(otelflow):
    done = otelflow("doctor", endpoint=None)

    assert done.returncode == 0, done.stdout
    assert re.search(r"-\s+OTLP endpoint\s+not set: runs stay on this machine", done.stdout)


def test_what_show_prints_as_json_is_what_jaeger_has(otelflow, jaeger, program, tools):
    trace_id = trace_id_of(otelflow("run", program))

    printed = json.loads(otelflow("show", trace_id, "--json").stdout)
    status, text = tools.wait_for(
        lambda: answer if (answer := tools.get(f"{jaeger}/api/v3/traces/{trace_id}"))[0] == 200 else None,
        seconds=30,
        event="the trace in Jaeger",
    )

    def ids(document):
        return {
            span["spanId"]
            for resource in document["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        }

    assert status == 200
    assert ids(printed) == ids(json.loads(text)["result"])
    assert len(ids(printed)) == 11
