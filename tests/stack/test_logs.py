"""The layer of logs: what a program logs through the Collector is found again by its trace, in a real server."""

import json
import os
import sys

import pytest

PROGRAM = """
import logging, sys
import otelflow
from otelflow import flow, task

@task
def charge(number, this_task):
    print(f"charging {number} \u20ac")
    logging.getLogger("shop").warning("two\\nlines")
    if number == 3:
        raise ValueError("no money, password=hunter2")

@flow
def order(this_flow):
    this_flow.log_error("out of tea")
    for number in range(4):
        charge(number)

telemetry = otelflow.configure(service_name="logging-shop")
try:
    order().execute()
except ValueError:
    pass
telemetry.force_flush()
print(telemetry.dropped, file=sys.stderr)
"""


@pytest.fixture
def log_addresses(tools):
    """Ports of their own: another Collector beside the one of the session."""
    return tools.Addresses()


def run_program(tools, collector, mode):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTELFLOW_EVENTS": mode, "OTEL_LOGS_EXPORTER": "otlp"}
    done = tools.run(sys.executable, "-c", PROGRAM, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    assert "{}" in done.stderr


def records(tools, server, count):
    """Wait for *count* records of the program, and return them in their order."""

    def found():
        _, text = tools.get(f"{server}/select/logsql/query", query='service.name:="logging-shop"')
        lines = [json.loads(line) for line in text.splitlines()]
        return sorted(lines, key=lambda record: record["_time"]) if len(lines) >= count else None

    return tools.wait_for(found, seconds=60, event=f"{count} records in the server")


def test_what_a_run_says_is_found_by_its_trace_with_its_level_and_without_secrets(log_addresses, tmp_path, tools):
    with (
        tools.running_log_server(log_addresses, tmp_path / "server") as server,
        tools.running_collector(log_addresses, tmp_path / "collector", logs="logs-to-loki.yaml") as collector,
    ):
        run_program(tools, collector, "log")
        logged = records(tools, server, 6)

        (trace_id,) = {record["trace_id"] for record in logged}
        _, text = tools.get(f"{server}/select/logsql/query", query=f'trace_id:="{trace_id}"')

    assert len(text.splitlines()) == len(logged)
    messages = [(record["severity_text"], record["_msg"]) for record in logged]
    assert ("ERROR", "out of tea") in messages
    assert [("INFO", f"charging {number} \u20ac") for number in range(4)] == [m for m in messages if "charging" in m[1]]
    assert "hunter2" not in text
    (exception,) = [record for record in logged if record.get("exception.type")]
    assert (exception["exception.type"], exception["otelflow.task.name"]) == ("ValueError", "charge")
    assert {record["otelflow.flow.name"] for record in logged} == {"order"}
    assert all(len(record["span_id"]) == 16 for record in logged)


def test_logs_wait_in_the_collector_until_the_server_is_there_again(log_addresses, tmp_path, tools):
    with tools.running_collector(log_addresses, tmp_path / "collector", logs="logs-to-loki.yaml") as collector:
        run_program(tools, collector, "log")

        with tools.running_log_server(log_addresses, tmp_path / "server") as server:
            logged = records(tools, server, 6)

    assert "out of tea" in {record["_msg"] for record in logged}
