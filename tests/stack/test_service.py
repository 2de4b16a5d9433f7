"""The example service under load: what Prometheus counts and Jaeger keeps is what happened, at any sampling ratio."""

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

ORDERS = [*map(str, range(1, 41)), "tea", "coffee"]
SAMPLED = 4  # of ORDERS: the trace ids that a ratio of 0.1 lets through
RUNS = "otelflow_flow_runs_total"
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Load:
    """What was ordered of one service: the answer to each trace id."""

    address: str
    caller: int
    began: float = field(default_factory=time.time)
    answers: dict[str, int] = field(default_factory=dict)

    def call(self):
        """Order everything, eight at a time, each as a part of a trace of its own."""
        trace_ids = [self.trace_id(place) for place in range(len(ORDERS))]
        with ThreadPoolExecutor(8) as threads:
            self.answers = dict(zip(trace_ids, threads.map(self.order, ORDERS, trace_ids), strict=True))
        return self

    def trace_id(self, place):
        """A ratio sampler lets through what ends low."""
        return f"{self.caller:08x}{place:08x}" + ("0" if place < SAMPLED else "f") * 12 + f"{place:04x}"

    def order(self, number, trace_id):
        traceparent = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
        try:
            with LOOPBACK.open(
                urllib.request.Request(f"{self.address}/orders/{number}", headers=traceparent), timeout=10
            ) as answer:
                return answer.status
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code

    def ended(self, *statuses):
        return sum(status in statuses for status in self.answers.values())


def scrape_too(prometheus_config, job, address):
    """Do as prometheus/targets/README.md says."""
    target = [{"targets": [address.removeprefix("http://")], "labels": {"job": job}}]
    (prometheus_config.parent / f"targets/{job}.yaml").write_text(json.dumps(target))


@pytest.fixture(scope="module")
def loads(addresses, collector, prometheus, prometheus_config, tmp_path_factory, tools):
    """Two services that were called and scraped: one keeps every trace, one a tenth."""
    elsewhere, folder = tools.Addresses(), tmp_path_factory.mktemp("service")
    grpc = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": addresses.url("collector:4317"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    ratio = {
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
        "OTEL_SERVICE_NAME": "sampled-service",
    }
    scrape_too(prometheus_config, "sampled-service", elsewhere.url("service:8000"))
    with (
        tools.running_service(addresses, folder / "all", collector, **grpc),
        tools.running_service(elsewhere, folder / "tenth", collector, **ratio),
    ):
        loads = {
            "example-service": Load(addresses.url("service:8000"), 1).call(),
            "sampled-service": Load(elsewhere.url("service:8000"), 2).call(),
        }
        for job in loads:
            counted = f'sum({RUNS}{{job="{job}"}}) >= {len(ORDERS)}'
            tools.wait_for(
                lambda counted=counted: tools.get_json(f"{prometheus}/api/v1/query", query=counted)["data"]["result"],
                seconds=40,
                event=f"{job} in Prometheus",
            )
        yield loads
    (prometheus_config.parent / "targets/sampled-service.yaml").unlink()


@pytest.fixture
def values(query):
    """Ask Prometheus for what is not 0, as {values of these labels: number}."""

    def ask(expression, *labels):
        return {
            tuple(series["metric"][label] for label in labels): float(series["value"][1])
            for series in query(expression)
            if float(series["value"][1])
        }

    return ask


@pytest.fixture
def exemplars(loads, prometheus, tools):
    """Ask Prometheus for exemplars, as (labels of the series, trace id) each."""

    began = min(load.began for load in loads.values())

    def ask(expression):
        answer = tools.get_json(
            f"{prometheus}/api/v1/query_exemplars", query=expression, start=began, end=time.time() + 60
        )
        return [
            (series["seriesLabels"], exemplar["labels"]["trace_id"])
            for series in answer["data"]
            for exemplar in series["exemplars"]
        ]

    return ask


@pytest.fixture
def spans_of(jaeger, tools):
    """Read the spans of a trace from Jaeger when it is there, as {name: attributes}."""

    def read(trace_id):
        def spans():
            status, text = tools.get(f"{jaeger}/api/v3/traces/{trace_id}")
            return json.loads(text)["result"]["resourceSpans"] if status == 200 else None

        return {
            span["name"]: {
                attribute["key"]: attribute["value"].get("stringValue") for attribute in span.get("attributes", [])
            }
            for resource in tools.wait_for(spans, seconds=30, event=f"trace {trace_id} in Jaeger")
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        }

    return read


@pytest.mark.parametrize("job", ["example-service", "sampled-service"])
def test_prometheus_counts_exactly_the_runs_that_were_made(job, loads, values):
    load, of_job = loads[job], f'{{job="{job}"}}'
    good, sold_out, malformed = load.ended(200), load.ended(409), load.ended(400)

    assert (good, sold_out, malformed) == (35, 5, 2)
    assert values(RUNS + of_job, "flow", "result") == {
        ("order", "success"): good,
        ("order", "failure"): sold_out + malformed,
    }
    assert values("otelflow_task_runs_total" + of_job, "flow", "task", "result") == {
        ("order", "read_order", "success"): good + sold_out,
        ("order", "read_order", "failure"): malformed,
        ("order", "reserve", "success"): good,
        ("order", "reserve", "failure"): sold_out,
        ("order", "price", "success"): good,
    }
    failures = values("otelflow_task_failures_total" + of_job, "task", "error_type")
    assert {(task, kind.rpartition(".")[2]): count for (task, kind), count in failures.items()} == {
        ("reserve", "SoldOut"): sold_out,
        ("read_order", "ValueError"): malformed,
    }


@pytest.mark.parametrize("job", ["example-service", "sampled-service"])
def test_histograms_hold_every_run_and_slow_ones_stand_where_they_belong(job, loads, values):
    duration, of_order = "otelflow_flow_run_duration_seconds", f'{{job="{job}",result="success"}}'
    slow = sum(number.endswith("0") and int(number) % 7 != 0 for number in ORDERS)

    ended = values(f"{duration}_count{{job='{job}'}}", "result")
    within = values(f"{duration}_bucket{of_order}", "le")
    took = values(f"{duration}_sum{of_order}")

    assert ended == {("success",): 35, ("failure",): 7}
    assert within["+Inf",] == 35
    assert within["0.25",] <= 35 - slow
    assert took[()] >= slow * 0.3
    assert values(f"otelflow_flow_runs_in_progress{{job='{job}'}}") == {}


def test_exemplars_lead_to_runs_of_that_flow_in_jaeger(loads, exemplars, spans_of):
    pairs = exemplars('otelflow_flow_run_duration_seconds_bucket{job="example-service"}')

    assert {labels["result"] for labels, _ in pairs} == {"success", "failure"}
    assert {trace_id for _, trace_id in pairs} <= loads["example-service"].answers.keys()
    for labels, trace_id in pairs:
        run = spans_of(trace_id)["flow order"]
        assert (run["otelflow.flow.name"], run["otelflow.run.result"]) == (labels["flow"], labels["result"])


def test_a_tasks_exemplar_leads_to_a_run_of_that_task(loads, exemplars, spans_of):
    pairs = exemplars('otelflow_task_runs_total{job="example-service",task="reserve",result="failure"}')

    assert pairs
    for _, trace_id in pairs:
        assert loads["example-service"].answers[trace_id] == 409
        assert spans_of(trace_id)["task reserve"]["otelflow.run.result"] == "failure"


def test_at_a_tenth_of_the_traces_exemplars_name_only_those_that_were_kept(loads, exemplars, spans_of, jaeger, tools):
    sent = list(loads["sampled-service"].answers)
    sampled, left_out = sent[:SAMPLED], sent[SAMPLED:]

    named = {trace_id for _, trace_id in exemplars('otelflow_flow_run_duration_seconds_bucket{job="sampled-service"}')}

    assert named
    assert named <= set(sampled)
    assert all("flow order" in spans_of(trace_id) for trace_id in sampled)
    assert {tools.get(f"{jaeger}/api/v3/traces/{trace_id}")[0] for trace_id in left_out} == {404}


def test_what_was_ordered_just_before_the_service_was_told_to_end_is_in_jaeger(collector, tmp_path, spans_of, tools):
    elsewhere = tools.Addresses()

    with tools.running_service(elsewhere, tmp_path, collector) as process:
        load = Load(elsewhere.url("service:8000"), 3)
        status = load.order("1", load.trace_id(0))

    assert (status, process.returncode) == (200, 0)
    assert spans_of(load.trace_id(0)).keys() == {"flow order", "task read_order", "task reserve", "task price"}


def test_the_page_of_metrics_passes_promtool(loads, tools):
    page = tools.get(loads["example-service"].address + "/metrics")[1]

    done = tools.run(tools.program("promtool"), "check", "metrics", stdin_text=page)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
