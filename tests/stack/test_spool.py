"""The spool with a real Jaeger: programs that are killed while it is away, and another process that sends later."""

import json
import signal
import sys

import pytest

from support.programs import run_python, source_of, start

PROGRAM = source_of(
    """
    import os, signal, threading
    import otelflow
    from opentelemetry import trace

    otelflow.configure(service_name="killed")

    @otelflow.task
    def work(number):
        return number

    @otelflow.flow
    def nightly():
        for number in range(300):
            work(number)
        print(format(trace.get_current_span().get_span_context().trace_id, "032x"), flush=True)
        threading.Event().wait(60)

    nightly().execute()
    """
)


def spans_in(jaeger, trace_id, tools):
    status, text = tools.get(f"{jaeger}/api/v3/traces/{trace_id}")
    if status != 200:
        return []
    parts = json.loads(text)["result"]["resourceSpans"]
    return [span for part in parts for scope in part["scopeSpans"] for span in scope["spans"]]


@pytest.mark.timeout(240)
def test_killed_programs_are_whole_in_jaeger_when_it_is_back(tmp_path, tools):
    addresses = tools.Addresses()
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": addresses.url("jaeger:4318"), "OTELFLOW_SPOOL_DIR": tmp_path / "spool"}
    trace_ids = []
    for _ in range(3):
        process = start(sys.executable, "-c", PROGRAM, **variables)
        trace_ids.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)

    with tools.running_jaeger(addresses, tmp_path / "jaeger") as jaeger:
        done = run_python("-m", "otelflow", "ship", "--once", **variables)
        for trace_id in trace_ids:
            tools.wait_for(
                lambda trace_id=trace_id: len(spans_in(jaeger, trace_id, tools)) == 301, seconds=60, event="the trace"
            )

        assert (done.returncode, done.stderr) == (0, "otelflow: 903 spans sent\n")
        for trace_id in trace_ids:
            (lost,) = [span for span in spans_in(jaeger, trace_id, tools) if span["name"] == "flow nightly"]
            assert lost["status"] == {"message": "the process was lost", "code": 2}
            assert int(lost["startTimeUnixNano"]) < int(lost["endTimeUnixNano"])
