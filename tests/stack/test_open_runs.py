"""What the Collector shows of a program that was killed in the middle of a run."""

import os
import re
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import otelflow

@otelflow.flow
def hanging(wait):
    if wait:
        print("open", flush=True)
        sys.stdin.read()

otelflow.configure()
hanging(False).execute()
hanging(True).execute()
"""
OPEN = {"otelflow_flow_runs_in_progress", "otelflow_flow_oldest_run_start_timestamp_seconds"}
COUNTED = {"otelflow_flow_runs_total", "otelflow_flow_last_run_timestamp_seconds"}


@pytest.fixture
def own(tools):
    """Addresses of a Collector that forgets soon."""
    return tools.Addresses()


@pytest.fixture
def metric_names(own, tools):
    """The names of a flow's metrics at the Collector, where open runs are shown and where all others are."""

    def ask(port):
        text = tools.get(own.url(f"collector:{port}") + "/metrics")[1]
        return set(re.findall(r'^(otelflow_flow_\w+)\{.*flow="hanging"', text, re.MULTILINE))

    return lambda: (ask(8889), ask(8890))


def complete(seen):
    """What is *seen*, once the first run has ended and the second is open."""
    open_runs, others = seen
    return seen if open_runs and others >= COUNTED else None


@pytest.mark.timeout(120)
def test_the_open_run_of_a_process_that_was_killed_is_forgotten_and_its_counts_are_not(
    own, metric_names, tmp_path, tools
):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACEPARENT"))}
    with tools.running_collector(own, tmp_path, metric_expiration="4s") as collector:
        to_it = {
            "OTELFLOW_METRICS": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
        command = [sys.executable, "-c", PROGRAM]
        with subprocess.Popen(command, env=clean | to_it, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"open\n"
            open_runs, others = tools.wait_for(lambda: complete(metric_names()), event="both kinds of metrics")
            process.kill()
        tools.wait_for(lambda: not metric_names()[0], event="the open run to be forgotten")
        left = metric_names()[1]

    assert open_runs == OPEN
    assert others.isdisjoint(OPEN)
    assert left >= others
