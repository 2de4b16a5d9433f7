"""What `otelflow generate` makes of the example service's promises, in the live Prometheus while orders come in."""

import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from otelflow import semconv

yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")

ROOT = Path(__file__).parents[2]
CHOSEN = {"$__rate_interval": "10s", "$job": "example-service", "$flow": "order", "$task": "reserve"}
#: What the service never counts: it has no listener, no limit and no schedule
NOT_THERE = (semconv.LISTENER_ERRORS, semconv.LIMIT_WAIT, semconv.SCHEDULE_MISSED_RUNS)


@pytest.fixture(scope="module")
def generated(tmp_path_factory, tools):
    """A folder with the rules and dashboards of the example service."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "rules").mkdir()
    for subject, output in (("alerts", "rules/otelflow.rules.yml"), ("dashboards", "dashboards")):
        command = [
            sys.executable,
            "-m",
            "otelflow",
            "generate",
            subject,
            "--from",
            "service",
            "-o",
            folder / output,
        ]
        done = tools.run(*command, cwd=ROOT / "examples", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def ask(addresses, collector, generated, tmp_path_factory, tools):
    """Ask a Prometheus that has these rules and scrapes the service every second, while orders come in."""
    folder, own = tmp_path_factory.mktemp("promises"), addresses.besides("service:8000")
    is_over = threading.Event()

    def order():
        for number in itertools.cycle((1, 7, 10, "tea")):
            if is_over.wait(0.05):
                return
            tools.get(f"{own.url('service:8000')}/orders/{number}")

    callers = [threading.Thread(target=order) for _ in range(2)]
    with (
        tools.running_service(own, folder / "service", collector),
        tools.running_quick_prometheus(own, folder / "prometheus", generated / "rules") as prometheus,
    ):
        for caller in callers:
            caller.start()
        yield lambda path, **query: tools.get_json(f"{prometheus}/api/v1/{path}", **query)["data"]
        is_over.set()
        for caller in callers:
            caller.join(15)


def queries_of(file):
    """Every query of a dashboard, with its variables chosen."""
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, choice in CHOSEN.items():
                expression = expression.replace(variable, choice)
            assert "$" not in expression
            yield panel["title"], expression


def test_every_query_of_every_dashboard_has_an_answer_promises_too(ask, generated):
    open_queries = {
        (file.name, title, expression)
        for file in generated.glob("dashboards/*.json")
        for title, expression in queries_of(file)
        if not any(metric in expression for metric in NOT_THERE)
    }
    count = len(open_queries)
    deadline = time.monotonic() + 60
    while open_queries and time.monotonic() < deadline:
        open_queries = {entry for entry in open_queries if not ask("query", query=entry[2])["result"]}
        time.sleep(0.5)

    assert open_queries == set()
    assert count > 40


def test_the_share_of_slow_and_failed_orders_is_recorded_as_the_objective_needs_it(ask, tools):
    def recorded():
        answer = ask("query", query='{__name__=~"otelflow:flow_(slow|failures):ratio_rate5m",flow="order"}')["result"]
        values = {series["metric"]["__name__"]: float(series["value"][1]) for series in answer}
        return values if len(values) == 2 and all(values.values()) else None

    values = tools.wait_for(recorded, seconds=30, event="the shares of slow and failed orders")

    # Of four orders one is slow and two fail.
    assert values["otelflow:flow_slow:ratio_rate5m"] == pytest.approx(0.25, abs=0.15)
    assert values["otelflow:flow_failures:ratio_rate5m"] == pytest.approx(0.5, abs=0.2)
    objective = ask("query", query='otelflow:flow_objective:success{flow="order"}')["result"]
    assert [float(series["value"][1]) for series in objective] == [0.95]


def test_every_rule_is_healthy_and_every_alert_can_be_asked_for(ask, generated, tools):
    def evaluated():
        rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules = tools.wait_for(evaluated, seconds=30, event="the rules to be evaluated")
    written = yaml.safe_load((generated / "rules/otelflow.rules.yml").read_text())["groups"]
    queries = [rule["expr"] for group in written for rule in group["rules"]]

    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    assert len(rules) == len(queries)
    assert all(ask("query", query=query)["resultType"] == "vector" for query in queries)
