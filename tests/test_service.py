"""The example service, alone on this machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.programs import end, run_python, start
from support.receivers import get

SERVICE = Path(__file__).parent.parent / "examples/service.py"
LOAD = Path(__file__).parent.parent / "deploy/service/load.sh"


@pytest.fixture
def service(tmp_path):
    """The running service; its runs are kept in a store under *tmp_path*."""
    process = start(sys.executable, SERVICE, SERVICE_PORT="0", OTELFLOW_STORE=tmp_path, OTEL_SERVICE_NAME="shop")
    process.address = process.stdout.readline().strip().removesuffix("/orders/1")
    yield process
    end(process)


def terminate(process):
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    return process.returncode


def shown(tmp_path, trace_id):
    done = run_python("-m", "otelflow", "show", trace_id, "--json", check=True, OTELFLOW_STORE=tmp_path)
    resources = json.loads(done.stdout)["resourceSpans"]
    return [span for resource in resources for scope in resource["scopeSpans"] for span in scope["spans"]]


def test_the_service_answers_good_bad_and_malformed_orders(service):
    answers = {number: get(f"{service.address}/orders/{number}") for number in ("1", "7", "tea")}

    assert answers["1"] == (200, '{"order": 1, "fruit": "melon", "price": 4.5}\n')
    assert answers["7"] == (409, '{"error": "no melon left for order 7"}\n')
    assert answers["tea"][0] == 400
    assert get(f"{service.address}/health") == (200, '{"status": "ok"}\n')
    assert get(f"{service.address}/nothing")[0] == 404
    assert terminate(service) == 0


def test_metrics_stand_beside_the_pages_and_count_every_order_and_nothing_else(service):
    for number in (1, 2, 7, "tea"):
        get(f"{service.address}/orders/{number}")
    get(f"{service.address}/health")

    status, text = get(f"{service.address}/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert status == 200
    assert 'otelflow_flow_runs_total{flow="order",result="success"} 2.0 # {trace_id="' in text
    assert 'otelflow_flow_runs_total{flow="order",result="failure"} 2.0' in text
    (failures,) = [
        line for line in text.splitlines() if line.startswith("otelflow_task_failures_total{") and "SoldOut" in line
    ]
    assert 'task="reserve"' in failures
    assert failures.endswith("} 1.0")
    assert text.endswith("# EOF\n")
    assert "# EOF" not in get(f"{service.address}/metrics", Accept="text/plain")[1]


def test_an_order_goes_on_in_the_trace_of_its_caller(service, tmp_path):
    trace_id, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    get(f"{service.address}/orders/1", traceparent=f"00-{trace_id}-{caller}-01")
    get(f"{service.address}/orders/2", traceparent="nonsense")
    terminate(service)

    spans = {span["name"]: span for span in shown(tmp_path, trace_id)}
    assert spans.keys() == {"flow order", "task read_order", "task reserve", "task price"}
    assert spans["flow order"]["parentSpanId"] == caller


def test_what_is_being_served_when_the_service_is_told_to_end_is_served(service):
    answers = []
    slow = threading.Thread(target=lambda: answers.append(get(f"{service.address}/orders/10")))
    slow.start()
    while "otelflow_flow_runs_in_progress" not in (page := get(f"{service.address}/metrics")[1]) or not re.search(
        r'otelflow_flow_runs_in_progress\{flow="order"\} 1', page
    ):
        assert slow.is_alive()

    returncode = terminate(service)
    slow.join(10)

    assert returncode == 0
    assert answers == [(200, '{"order": 10, "fruit": "melon", "price": 6.75}\n')]


@pytest.mark.parametrize("port", ["tea", "70000", "taken"])
def test_a_port_that_cannot_be_served_is_one_clear_error(service, port):
    port = service.address.rpartition(":")[2] if port == "taken" else port

    refused = start(sys.executable, SERVICE, SERVICE_PORT=port)
    output, errors = refused.communicate(timeout=30)

    assert (refused.returncode, output) == (1, "")
    assert re.fullmatch(rf"No service at SERVICE_HOST=127.0.0.1 SERVICE_PORT={port}: .*; choose another port\n", errors)


@pytest.mark.skipif(shutil.which("wget") is None, reason="the load calls wget, as busybox has it")
def test_the_load_orders_a_bounded_number_of_things(service):
    load = subprocess.Popen(["sh", LOAD, service.address], env={"PATH": os.environ["PATH"], "no_proxy": "*"})
    try:
        load.wait(1.2)
    except subprocess.TimeoutExpired:
        load.kill()
        load.wait(10)

    ordered = re.findall(
        r'otelflow_flow_runs_total\{flow="order",result="\w+"\} (\d)\.0', get(service.address + "/metrics")[1]
    )
    assert 1 <= sum(map(int, ordered)) <= 3
