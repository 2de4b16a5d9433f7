"""Every way out for metrics, to the program that it is for: the numbers there are those of the runs."""

import json
import os
import subprocess
import sys
import time

import pytest

JOB = """\
import sys

import otelflow


@otelflow.task
def book(day):
    if day == "sunday":
        raise ConnectionError("the bank is closed")
    return 7


@otelflow.flow
def nightly(day):
    return book(day) + book(day)


otelflow.configure()
for day in sys.argv[1:]:
    try:
        nightly(day).execute()
    except ConnectionError as error:
        print(error)
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACEPARENT"))}


@pytest.fixture(scope="module")
def run_job(environment, tmp_path_factory, tools):
    """Run the job to its end; its metrics go out as *metrics* says."""
    program = tmp_path_factory.mktemp("job") / "job.py"
    program.write_text(JOB)

    def run(metrics, *days, service="ledger", **settings):
        settings |= {"OTELFLOW_METRICS": metrics, "OTEL_SERVICE_NAME": service}
        done = tools.run(sys.executable, program, *days, env=environment | settings)
        assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr
        return done

    run.program = program
    return run


@pytest.fixture(scope="module")
def pulled(addresses, environment, prometheus_config, run_job, tools):
    """A job that stays, and serves /metrics itself."""
    (port,) = list(tools.Addresses().ports.values())[:1]
    target = prometheus_config.parent / "targets/pulled.yaml"
    target.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": {"job": "pulled"}}]))
    process = subprocess.Popen(
        [sys.executable, run_job.program, "monday", "tuesday"],
        env=environment | {"OTELFLOW_METRICS": f"pull:127.0.0.1:{port}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    yield process
    target.unlink()
    assert process.communicate(input="", timeout=30) == ("", "")


@pytest.fixture(scope="module")
def jobs(collector, prometheus, pushgateway, pulled, run_job, tools):
    """Jobs that have ended, each by another way out, and are seen by Prometheus."""
    push, otlp = f"push:{pushgateway}", {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    run_job(push, "monday", service="pushed")
    run_job(push, "sunday", service="pushed")
    run_job("otlp", "monday", "tuesday", "sunday", service="sent", **otlp)
    ran = time.time()
    seen = (
        'otelflow_flow_runs_total{job="pushed",result="failure"} == 1'
        ' and on () otelflow_flow_runs_total{job="sent",result="success"} == 2'
        ' and on () otelflow_flow_runs_total{job="pulled",result="success"} == 2'
        # From another target, which is asked at another moment
        ' and on () otelflow_flow_oldest_run_start_timestamp_seconds{job="sent"} == 0'
    )
    tools.wait_for(
        lambda: tools.get_json(f"{prometheus}/api/v1/query", query=seen)["data"]["result"],
        seconds=40,
        event="all jobs in Prometheus",
    )
    return ran


@pytest.fixture
def values(query):
    """Ask Prometheus, as {values of these labels: number}."""

    def ask(expression, *labels):
        return {
            tuple(series["metric"].get(label, "") for label in labels): float(series["value"][1])
            for series in query(expression)
        }

    return ask


def counts(values, job):
    runs = values(f'otelflow_flow_runs_total{{job="{job}"}} > 0', "flow", "result")
    tasks = values(f'otelflow_task_runs_total{{job="{job}"}} > 0', "task", "result")
    return runs, tasks, values(f'otelflow_flow_run_duration_seconds_count{{job="{job}"}}', "result")


def test_what_a_job_pushes_is_counted_under_its_service_and_flow_and_no_run_id(jobs, values):
    runs, tasks, durations = counts(values, "pushed")

    assert runs == {("nightly", "failure"): 1}
    assert tasks == {("book", "failure"): 1}
    assert durations == {("failure",): 1}
    groups = values('push_time_seconds{job="pushed"}', "flow", "result", "instance")
    assert set(groups) == {("", "", ""), ("nightly", "", ""), ("nightly", "success", ""), ("nightly", "failure", "")}


def test_a_job_that_fails_leaves_when_it_last_succeeded(jobs, values):
    last = values('otelflow_flow_last_run_timestamp_seconds{job="pushed"}', "result")

    assert last.keys() == {("success",), ("failure",)}
    assert jobs - 60 < last["success",] < last["failure",] < jobs


def test_what_a_job_sends_as_otlp_is_counted_under_its_service(jobs, values):
    runs, tasks, durations = counts(values, "sent")

    assert runs == {("nightly", "success"): 2, ("nightly", "failure"): 1}
    assert tasks == {("book", "success"): 4, ("book", "failure"): 1}
    assert durations == {("success",): 2, ("failure",): 1}
    assert values('otelflow_flow_runs_total{job="sent",result="timeout"}', "flow") == {("nightly",): 0}


def test_what_a_job_serves_is_scraped(jobs, values):
    runs, tasks, durations = counts(values, "pulled")

    assert runs == {("nightly", "success"): 2}
    assert tasks == {("book", "success"): 4}
    assert durations == {("success",): 2}


def test_a_job_that_sent_otlp_and_ended_has_no_open_run_that_would_look_stuck(jobs, values):
    open_runs = "otelflow_flow_runs_in_progress", "otelflow_flow_oldest_run_start_timestamp_seconds"

    samples = [values(f'{name}{{job="sent"}}', "flow") for name in open_runs]

    assert samples == [{("nightly",): 0}, {("nightly",): 0}]


def test_every_way_out_shows_the_same_names_and_labels(jobs, query):
    def names_and_labels(job):
        series_list = query(f'{{__name__=~"otelflow_.+",job="{job}"}}')
        return {
            (name, frozenset(series["metric"]) - {"__name__", "job", "instance"})
            for series in series_list
            if not (name := series["metric"]["__name__"]).startswith("otelflow_task_failures")
        }

    live = {
        ("otelflow_flow_runs_in_progress", frozenset({"flow"})),
        ("otelflow_flow_oldest_run_start_timestamp_seconds", frozenset({"flow"})),
    }
    collector_adds = {"otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}
    sent = {(name, labels - collector_adds) for name, labels in names_and_labels("sent")}

    assert names_and_labels("pulled") == names_and_labels("pushed") | live
    assert sent == names_and_labels("pulled")


def test_an_exemplar_sent_as_otlp_leads_to_a_run_in_jaeger(jobs, prometheus, jaeger, tools):
    answer = tools.get_json(
        f"{prometheus}/api/v1/query_exemplars",
        query='otelflow_flow_run_duration_seconds_bucket{job="sent"}',
        start=0,
        end=2e9,
    )
    trace_ids = {exemplar["labels"]["trace_id"] for series in answer["data"] for exemplar in series["exemplars"]}

    assert trace_ids
    for trace_id in trace_ids:
        text = tools.wait_for(
            lambda trace_id=trace_id: (
                page[1] if (page := tools.get(f"{jaeger}/api/v3/traces/{trace_id}"))[0] == 200 else None
            ),
            seconds=30,
            event=f"trace {trace_id} in Jaeger",
        )
        assert '"flow nightly"' in text


def test_a_textfile_passes_promtool_and_says_what_was_run(run_job, tmp_path, tools):
    file = tmp_path / "ledger.prom"
    run_job(f"textfile:{file}", "monday", "sunday")

    done = tools.run(tools.program("promtool"), "check", "metrics", stdin_text=file.read_text())

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for result in ("success", "failure"):
        assert f'otelflow_flow_runs_total{{flow="nightly",result="{result}",service="ledger"}} 1.0' in file.read_text()


def test_a_gateway_that_is_not_there_costs_the_job_a_bounded_time_and_is_said_once(run_job):
    began = time.monotonic()
    done = run_job("push:http://127.0.0.1:9", "monday", "tuesday", "sunday")

    assert time.monotonic() - began < 15
    assert done.stderr.count("the flow goes on") == 1
    assert "127.0.0.1:9" in done.stderr
