"""A flow fails, somebody is told; it succeeds, they are told that too."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway


@pytest.fixture
def told(addresses):
    """Every notification that Alertmanager sends, in order."""
    notifications = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            notifications.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", addresses.ports["webhook:80"]), Webhook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    yield notifications
    server.shutdown()
    thread.join(10)
    server.server_close()


def push_last_run(pushgateway, **times):
    """What a job that ends at once leaves in the Pushgateway."""
    registry = CollectorRegistry()
    last_run = Gauge("otelflow_flow_last_run_timestamp_seconds", "", ["flow", "result"], registry=registry)
    for result, when in times.items():
        last_run.labels("nightly", result).set(when)
    push_to_gateway(pushgateway.removeprefix("http://"), job="billing", registry=registry, timeout=5)


@pytest.mark.timeout(240)
def test_a_failing_flow_alerts_and_the_alert_resolves_when_it_succeeds(pushgateway, prometheus, told, tools):
    def heard(status):
        def look():
            return [
                alert
                for notification in told
                for alert in notification["alerts"]
                if alert["labels"]["alertname"] == "FlowLastRunFailed" and alert["status"] == status
            ]

        return tools.wait_for(look, seconds=100, what=f"a notification that says {status}")[0]

    now = time.time()
    push_last_run(pushgateway, success=now - 100, failure=now)
    firing = heard("firing")
    push_last_run(pushgateway, success=now + 1, failure=now)
    resolved = heard("resolved")

    assert firing["labels"] == {
        "alertname": "FlowLastRunFailed",
        "severity": "page",
        "job": "billing",
        "flow": "nightly",
    }
    assert firing["annotations"]["summary"] == "The last run of flow nightly (billing) failed."
    assert "service=billing&operation=flow%20nightly" in firing["annotations"]["traces"]
    assert resolved["labels"] == firing["labels"]
