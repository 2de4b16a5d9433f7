"""A flow that goes on for long is seen in a real Jaeger by the marker of its start; its trace is whole in the end."""

import json
import sys

import pytest

from support.programs import end, run_python, source_of, start

PROGRAM = source_of(
    """
    import sys
    import otelflow
    from opentelemetry import trace

    otelflow.configure(service_name="marked", store=sys.argv[1])

    @otelflow.task
    def work(number):
        return number

    @otelflow.flow
    def nightly():
        print(format(trace.get_current_span().get_span_context().trace_id, "032x"), flush=True)
        sys.stdin.readline()
        for number in range(10):
            work(number)

    nightly().execute()
    """
)


@pytest.mark.timeout(180)
def test_a_flow_is_found_in_jaeger_while_it_runs_and_its_trace_arrives_whole(tmp_path, tools):
    addresses, store = tools.Addresses(), tmp_path / "store"
    ways = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": addresses.url("jaeger:4318"),
        "OTELFLOW_SPOOL_DIR": tmp_path / "spool",
        "OTELFLOW_MARK_START": "on",
        "OTELFLOW_STORE": store,
    }

    with tools.running_jaeger(addresses, tmp_path / "jaeger") as jaeger:

        def traces_of_the_flow():
            query = {"service": "marked", "tags": json.dumps({"otelflow.flow.name": "nightly"}), "lookback": "1h"}
            return json.loads(tools.get(f"{jaeger}/api/traces", **query)[1])["data"]

        process = start(sys.executable, "-c", PROGRAM, store, is_fed=True, **ways)
        try:
            trace_id = process.stdout.readline().strip()
            (open_trace,) = tools.wait_for(traces_of_the_flow, seconds=60, event="the marker")
            process.communicate("go on\n", timeout=60)
        finally:
            end(process)
        verified = run_python("-m", "otelflow", "verify", trace_id, "--jaeger", jaeger, **ways)
        (trace,) = traces_of_the_flow()
        shown = run_python("-m", "otelflow", "show", trace_id, **ways)

    (marker,) = open_trace["spans"]
    assert (open_trace["traceID"], marker["operationName"]) == (trace_id, "flow started nightly")
    assert marker["duration"] == 0
    assert {"key": "otelflow.run.marker", "type": "string", "value": "started"} in marker["tags"]
    spans = {span["spanID"]: span for span in trace["spans"]}
    assert sorted(span["operationName"] for span in spans.values()) == [
        "flow nightly",
        "flow started nightly",
        *["task work"] * 10,
    ]
    (reference,) = marker["references"]
    assert spans[reference["spanID"]]["operationName"] == "flow nightly"
    assert not any("missing" in str(span["warnings"]) for span in spans.values())
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "arrived whole: 11 spans" in verified.stdout + verified.stderr
    assert "flow started" not in shown.stdout
