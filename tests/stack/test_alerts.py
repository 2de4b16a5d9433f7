"""A flow fails, or is not run at all, and a notification is sent; it succeeds, and another is sent."""

import json
import os
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

BILLING = """\
import sys

from otelflow import Objective, configure, flow, task


@task
def book(day):
    if day == "sunday":
        raise ConnectionError("the bank is closed")


@flow
def nightly(day):
    book(day)


@flow(objective=Objective(every="6s", runbook="Ask the bank."))
def closing(day):
    book(day)


if __name__ == "__main__":
    configure()
    {"nightly": nightly, "closing": closing}[sys.argv[1]](sys.argv[2]).execute()
"""


class Notifications(list):
    """What Alertmanager has told, in order."""

    def __init__(self, tools):
        super().__init__()
        self.wait_for = tools.wait_for

    def heard(self, name, status, seconds=100):
        """Wait for an alert of that name and status."""

        def look():
            return [
                alert
                for notification in self
                for alert in notification["alerts"]
                if (alert["labels"]["alertname"], alert["status"]) == (name, status)
                and alert["labels"].get("job", "billing") == "billing"  # other tests have failing flows, too
            ]

        return self.wait_for(look, seconds=seconds, event=f"a notification that {name} is {status}")[0]


@contextmanager
def listening(port, tools):
    """Answer at the address that Alertmanager tells."""
    notifications = Notifications(tools)

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            notifications.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", port), Webhook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield notifications
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def told(addresses, tools):
    """Every notification that Alertmanager sends, in order."""
    with listening(addresses.ports["webhook:80"], tools) as notifications:
        yield notifications


@pytest.fixture
def run(tmp_path, collector, pushgateway, tools):
    """Run a flow in a process of its own, which pushes its metrics, as a part of the trace that is given."""
    program = tmp_path / "billing.py"
    program.write_text(BILLING)

    def run(flow, day, *, trace_id):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACE"))}
        clean |= {
            "OTEL_SERVICE_NAME": "billing",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTELFLOW_METRICS": f"push:{pushgateway}",
            "TRACEPARENT": f"00-{trace_id}-00f067aa0ba902b7-01",
        }
        done = tools.run(sys.executable, program, flow, day, env=clean)
        assert ("ConnectionError: the bank is closed" in done.stderr) == (done.returncode != 0), done.stderr
        return done.returncode

    return run


def found_by(link, jaeger, tools):
    """Ask the running Jaeger as its page does when somebody follows *link*, and return the ids of what it lists."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    now = int(time.time() * 1e6)
    listed = tools.get_json(f"{jaeger}/api/traces", **asked, start=now - 3_600_000_000, end=now)["data"]
    return {trace["traceID"] for trace in listed}


@pytest.mark.timeout(240)
def test_a_failing_flow_alerts_and_the_alert_resolves_when_it_succeeds(jaeger, prometheus, told, run, tools):
    good, bad, better = ("a" * 32, "b" * 32, "c" * 32)
    assert run("nightly", "monday", trace_id=good) == 0
    assert run("nightly", "sunday", trace_id=bad) == 1
    firing = told.heard("FlowLastRunFailed", "firing")
    assert run("nightly", "monday", trace_id=better) == 0
    resolved = told.heard("FlowLastRunFailed", "resolved")

    assert firing["labels"] == {
        "alertname": "FlowLastRunFailed",
        "severity": "page",
        "job": "billing",
        "flow": "nightly",
    }
    assert firing["annotations"]["summary"] == "The last run of flow nightly (billing) failed."
    assert found_by(firing["annotations"]["traces"], jaeger, tools) == {bad}
    assert resolved["labels"] == firing["labels"]


@pytest.fixture
def watched(addresses, prometheus, tmp_path, run, tools):
    """Notifications of programs that look every second and have the rules that `otelflow generate alerts` makes."""
    rules = tmp_path / "rules/otelflow.rules.yml"
    rules.parent.mkdir()
    command = [sys.executable, "-m", "otelflow", "generate", "alerts", "--from", "billing", "-o", rules]
    done = tools.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # The minute of grace of a flow that is overdue is the one thing that a test cannot wait for.
    assert rules.read_text().count("for: '1m'\n") == 1
    rules.write_text(rules.read_text().replace("for: '1m'\n", "for: '2s'\n"))
    own = addresses.besides("alertmanager:9093", "webhook:80")
    with (
        listening(own.ports["webhook:80"], tools) as notifications,
        tools.running_alertmanager(own, tmp_path / "alertmanager", group_wait="1s", group_interval="1s"),
        tools.running_quick_prometheus(own, tmp_path / "prometheus", rules.parent),
    ):
        yield notifications


@pytest.mark.timeout(240)
def test_a_flow_that_never_ran_is_missed_until_it_succeeds_and_again_when_it_stops(watched, run):
    missed = watched.heard("FlowNeverSucceeded", "firing", 60)
    run("closing", "monday", trace_id="d" * 32)
    seen = watched.heard("FlowNeverSucceeded", "resolved", 60)
    overdue = watched.heard("FlowOverdue", "firing", 60)
    run("closing", "monday", trace_id="e" * 32)
    done = watched.heard("FlowOverdue", "resolved", 60)

    assert missed["labels"] == {"alertname": "FlowNeverSucceeded", "severity": "page", "flow": "closing"}
    assert missed["annotations"]["summary"] == "Nobody has seen flow closing succeed for 6s."
    assert missed["annotations"]["runbook"] == "Ask the bank."
    assert seen["labels"] == missed["labels"]
    assert overdue["labels"] == missed["labels"] | {"alertname": "FlowOverdue", "job": "billing"}
    assert "operation=flow%20closing" in overdue["annotations"]["traces"]
    assert done["labels"] == overdue["labels"]
