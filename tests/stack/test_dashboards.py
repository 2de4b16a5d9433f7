"""What dashboards and alerts ask of the live Prometheus, and that it has an answer while a real program runs."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy/grafana/dashboards").glob("*.json"))

# Runs orders until its standard input ends; one of them stays open.
PROGRAM = """
import sys, threading
import otelflow
from otelflow import flow, task
from otelflow.serve import Schedule, serve

class Audit(otelflow.Listener):
    def on_flow_stop(self, event):
        pass

otelflow.configure(listeners=[Audit()])

@task(raise_on_error=False, retries=1, concurrency={"payments": 1})
def charge(n):
    if n % 3 == 2:
        raise LookupError(n)

@flow
def order(n=0, until=None):
    charge(n)
    if until is not None:
        until.wait()
    if n % 5 == 4:
        raise ValueError("bad order")

over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
threading.Thread(target=order(0, over).execute).start()
threading.Thread(target=serve, args=[Schedule(order, every="1d", name="daily")], daemon=True).start()
n = 0
while not over.wait(0.1):
    n += 1
    try:
        order(n).execute()
    except ValueError:
        pass
"""


@pytest.fixture
def busy(addresses, collector, prometheus):
    """A program whose /metrics Prometheus asks and whose spans go to the Collector."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OTELFLOW_METRICS"))}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={
            **clean,
            "OTELFLOW_METRICS": f"pull:{addresses.local('service:8000')}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_SERVICE_NAME": "example-service",
        },
        stdin=subprocess.PIPE,
    )
    yield process
    process.communicate(timeout=30)


def asked(file):
    """Every query of a dashboard, with its variables chosen."""
    chosen = {"$__rate_interval": "1m", "$job": "example-service", "$flow": "order", "$task": "charge"}
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, choice in chosen.items():
                expression = expression.replace(name, choice)
            assert "$" not in expression
            yield panel["title"], expression


# What no flow promises here: rules about promises are tested with promtool.
UNPROMISED = re.compile(r"^(1 - )?max\(otelflow:flow_(objective|slow):")


@pytest.mark.timeout(360)
def test_every_panel_of_every_dashboard_has_numbers_and_its_dots_lead_to_traces(busy, prometheus, jaeger, query, tools):
    def empty():
        return {
            (file.name, title): expression
            for file in DASHBOARDS
            for title, expression in asked(file)
            if not query(expression) and not UNPROMISED.search(expression)
        }

    deadline = time.monotonic() + 240  # what is read every two minutes needs two of them
    while (left := empty()) and time.monotonic() < deadline:
        time.sleep(1)

    assert left == {}
    (exemplar, *_) = tools.get_json(
        prometheus + "/api/v1/query_exemplars",
        query='otelflow_flow_run_duration_seconds_bucket{flow="order"}',
        start=time.time() - 300,
        end=time.time() + 60,
    )["data"][0]["exemplars"]
    trace = f"{jaeger}/api/v3/traces/{exemplar['labels']['trace_id']}"
    tools.wait_for(lambda: tools.get(trace)[0] == 200, event="the exemplar's trace in Jaeger")


@pytest.mark.timeout(240)
def test_every_rule_is_healthy_in_the_live_prometheus(prometheus, tools):
    def rules():
        groups = tools.get_json(prometheus + "/api/v1/rules")["data"]["groups"]
        evaluated = [rule for group in groups for rule in group["rules"]]
        return evaluated if evaluated and all(rule["health"] != "unknown" for rule in evaluated) else None

    evaluated = tools.wait_for(rules, seconds=150, event="the rules to be evaluated, the slowest every two minutes")

    assert [(rule["name"], rule.get("lastError")) for rule in evaluated if rule["health"] != "ok"] == []
