"""examples/microservices: one order is one whole tree in Jaeger, and the switch makes an alert fire."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.ports import is_taken, ports_in_a_row
from support.programs import clean_environment, run

SHOP = Path(__file__).parents[3] / "examples/microservices"
CREATED = 201
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Statements are left out: how many there are is SQLAlchemy's business.
ORDER = """\
POST /orders · order
  flow place_order · order
    task reserve · order
      POST · order
        POST /reservations · stock
          flow move_stock · stock
            task take · stock
    task charge · order
      POST · order
        POST /payments · payment
          flow pay · payment
            task authorise · payment
            task book · payment
    task save · order
      flow ship · warehouse
    task confirm · order
      apply_async/email_worker.send_email · order
        run/email_worker.send_email · email
          flow email · email
            task deliver · email
"""

SPANS_OF_ORDER = 32

UNPAID = """\
✗ POST /orders · order
  ✗ flow place_order · order
    task reserve · order
      POST · order
        POST /reservations · stock
          flow move_stock · stock
            task take · stock
    ✗ task charge · order
      ✗ POST · order
        ✗ POST /payments · payment
          ✗ flow pay · payment
            ✗ task authorise · payment
    task put_back · order
      POST · order
        POST /reservations · stock
          flow move_stock · stock
            task take · stock
"""
SPANS_OF_UNPAID = 25


@pytest.fixture(scope="module", autouse=True)
def needed(installed):
    installed("celery", "redis", "fastapi", "flask", "gunicorn", "sqlalchemy", "opentelemetry.instrumentation.celery")


class Shop:
    """The running shop, and what a customer does there."""

    def __init__(self, first_port):
        self.order, self.stock, self.payment = (f"http://127.0.0.1:{first_port + place}" for place in (1, 2, 3))
        self.placed = 0

    def place_order(self, fruit="melon", count=2):
        status, answer = self.send("POST", f"{self.order}/orders", customer="ann", fruit=fruit, count=count)
        self.placed += status == CREATED
        return status, answer

    @contextmanager
    def failing_payments(self):
        self.fail(1.0)
        try:
            yield
        finally:
            self.fail(0.0)

    def fail(self, share):
        assert self.send("PUT", f"{self.payment}/failures", share=share) == (200, {"share": share})

    def send(self, method, url, **document):
        request = urllib.request.Request(
            url, json.dumps(document).encode(), {"Content-Type": "application/json"}, method=method
        )
        try:
            with LOOPBACK.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the shop keeps its logs and e-mails."""
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def open_shop(collector, folder, needed, postgres, starting, tools):
    """The shop on PostgreSQL and Redis, started by its one command; when it ends, so has everything that it started."""
    redis, port, log = tools.program("redis-server"), ports_in_a_row(4), folder / "program.log"
    settings = {
        "PATH": f"{redis.parent}{os.pathsep}{os.environ['PATH']}",
        "DATABASE_URL": postgres,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTELFLOW_STORE": "off",
    }
    words = [sys.executable, SHOP / "start.py", "--port", port, "--every", "5", "--folder", folder]
    is_open = lambda: "The shop is open" in log.read_text()  # noqa: E731
    with starting("The shop", words, ready=is_open, folder=folder, **settings) as process:
        yield Shop(port)
    assert process.returncode == 128 + 15, log.read_text()
    assert [place for place in range(4) if is_taken(port + place)] == []


def trace_ids(jaeger, tools, service, operation):
    """The traces that Jaeger has of *operation*, newest first."""
    listed = tools.get_json(f"{jaeger}/api/traces", service=service, operation=operation, lookback="1h", limit=50)
    return [trace["traceID"] for trace in listed["data"]]


def without_statements(root):
    statement = re.compile(r"\s*(✗ )?(connect|SELECT|INSERT|UPDATE)\b")
    return "".join(f"{line}\n" for line in root.lines(services=True) if not statement.match(line))


def test_one_order_through_all_programs_is_one_whole_tree(open_shop, folder, read_tree):
    status, answer = open_shop.place_order()
    root = read_tree(answer["trace"], SPANS_OF_ORDER)
    subjects = [email.read_text() for email in (folder / "outbox/new").iterdir()]

    assert status == 201
    assert any(f"Subject: Order {answer['order']} is on its way" in subject for subject in subjects)
    assert without_statements(root) == ORDER
    (pay,) = root.find("flow pay")
    assert {line.split()[0] for span in pay.find("task book") for line in span.lines()} == {"task", "connect", "INSERT"}


@pytest.fixture(scope="module")
def watched(addresses, collector, needed, tmp_path_factory, tools):
    """A Prometheus that looks every second and has the rules that `otelflow generate alerts` makes of the shop."""
    folder = tmp_path_factory.mktemp("watched")
    rules = folder / "rules/otelflow.rules.yml"
    rules.parent.mkdir()
    command = [sys.executable, "-m", "otelflow", "generate", "alerts", "--from", "order", "-o", rules]
    done = run(*command, cwd=SHOP, DATABASE_URL=f"sqlite:///{folder}/none.db")
    assert done.returncode == 0, done.stderr
    with tools.running_quick_prometheus(addresses, folder / "prometheus", rules.parent) as address:
        yield address


def test_the_switch_makes_payments_fail_puts_the_fruit_back_and_wakes_somebody(
    open_shop, watched, jaeger, read_tree, tools
):
    def ask(expression):
        return [
            series["metric"] for series in tools.get_json(f"{watched}/api/v1/query", query=expression)["data"]["result"]
        ]

    good = [open_shop.place_order()[0] for _ in range(3)]
    counted = 'otelflow_flow_runs_total{job="order",flow="place_order",result="success"} >= 3'
    tools.wait_for(lambda: ask(counted), event="three orders in Prometheus")
    with open_shop.failing_payments():
        bad = [open_shop.place_order()[0] for _ in range(12)]
    fast = 'ALERTS{alertname="FlowErrorBudgetBurnsFast",alertstate="firing",flow="place_order"}'
    (alert,) = tools.wait_for(lambda: ask(fast), seconds=60, event="the alert")
    listed = tools.wait_for(
        lambda: trace_ids(jaeger, tools, "order", "task put_back"), seconds=60, event="what was put back"
    )

    assert (good, bad) == ([201] * 3, [502] * 12)
    assert (alert["job"], alert["severity"]) == ("order", "page")
    assert without_statements(read_tree(listed[0], SPANS_OF_UNPAID)) == UNPAID
    assert open_shop.place_order()[0] == 201


def test_under_load_and_a_rolling_restart_every_order_is_one_whole_trace_and_is_counted_once(
    open_shop, folder, watched, jaeger, read_tree, tools
):
    began, emails = time.time_ns() // 1_000, len(list(folder.glob("outbox/new/*")))
    success = 'sum(otelflow_flow_runs_total{job="order",flow="place_order",result="success"})'
    gunicorn = int(re.search(r"Listening at: \S+ \((\d+)\)", (folder / "payment.log").read_text())[1])

    # Nothing is paced by time: on a busy machine six seconds are few orders.
    customers = [start_load(open_shop.order, seconds=150, rate=8) for _ in range(3)]
    try:
        wait_for_emails(folder, emails + 10, tools)
        workers = started_workers(folder)
        os.kill(gunicorn, signal.SIGHUP)  # its workers are replaced, one after the other
        tools.wait_for(lambda: started_workers(folder) >= workers + 2, seconds=60, event="the new workers")
        wait_for_emails(folder, len(list(folder.glob("outbox/new/*"))) + 10, tools)
    finally:
        for customer in customers:
            customer.send_signal(signal.SIGINT)
        summaries = [customer.communicate(timeout=60)[0] for customer in customers]
    orders = sum(int(summary.split()[0]) for summary in summaries)

    assert [re.sub(r"\d+", "N", summary) for summary in summaries] == ["N orders: N with N\n"] * 3
    assert all(" with 201" in summary for summary in summaries)
    placed = open_shop.placed + orders
    tools.wait_for(lambda: number(watched, success, tools) == placed, event=f"{placed} orders in Prometheus")
    wait_for_emails(folder, placed, tools)
    assert len(list(folder.glob("outbox/new/*"))) == placed
    search = {"service": "order", "operation": "POST /orders", "start": began, "end": began + 3_600_000_000}

    def whole_traces():
        listed = tools.get_json(f"{jaeger}/api/traces", **search, limit=1000)["data"]
        return [trace["traceID"] for trace in listed if len(trace["spans"]) >= SPANS_OF_ORDER]

    tools.wait_for(lambda: len(whole_traces()) == orders, seconds=90, event=f"{orders} whole traces in Jaeger")
    for trace_id in whole_traces():
        assert without_statements(read_tree(trace_id, SPANS_OF_ORDER)) == ORDER


def number(prometheus, expression, tools):
    result = tools.get_json(f"{prometheus}/api/v1/query", query=expression)["data"]["result"]
    return int(result[0]["value"][1]) if result else None


def started_workers(folder):
    return (folder / "payment.log").read_text().count("Booting worker")


def wait_for_emails(folder, count, tools):
    tools.wait_for(lambda: len(list(folder.glob("outbox/new/*"))) >= count, seconds=60, event=f"{count} e-mails")


def start_load(address, *, seconds, rate):
    words = ["--url", address, "--seconds", str(seconds), "--rate", str(rate)]
    return subprocess.Popen(
        [sys.executable, SHOP / "load.py", *words], cwd=SHOP, env=clean_environment(), stdout=subprocess.PIPE, text=True
    )


def test_the_compose_layer_tells_the_programs_all_that_they_ask_for():
    yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")
    layer = yaml.safe_load((SHOP.parents[1] / "deploy/compose.shop.yaml").read_text())["services"]
    programs = [path.read_text() for path in SHOP.glob("*.py") if path.name != "start.py"]

    asked = {name for text in programs for name in re.findall(r'os\.environ\.get\("(\w+)"', text)}
    told = {name for service in layer.values() for name in service.get("environment", {})}
    started = {word.partition(":")[0].removesuffix(".py") for service in layer.values() for word in words_of(service)}

    assert asked == {"DATABASE_URL", "OUTBOX", "PAYMENT_FAILURES", "PAYMENT_URL", "REDIS_URL", "STOCK_URL"} <= told
    modules = {path.stem for path in SHOP.glob("*.py")}
    assert started & modules == modules - {"start", "telemetry"}


def test_the_warehouse_in_its_container_ends_when_it_is_told_and_its_round_has_ended(tmp_path):
    yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")
    service = yaml.safe_load((SHOP.parents[1] / "deploy/compose.shop.yaml").read_text())["services"]["warehouse"]
    command = [word.replace("$$", "$") for word in service["command"]]
    environment = clean_environment(
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        DATABASE_URL=f"sqlite:///{tmp_path}/shop.db",
        OTELFLOW_STORE=tmp_path / "traces",
    )
    subprocess.run([sys.executable, "database.py"], cwd=SHOP, env=environment, check=True, timeout=60)

    for when in ("in a round", "between two"):
        with (tmp_path / when).open("w") as log:
            process = subprocess.Popen(command, cwd=SHOP, env=environment, stdout=log, stderr=log)
        try:
            wait_until(lambda when=when: "success" in (tmp_path / when).read_text() or when == "in a round")
            wait_until(lambda pid=process.pid: Path(f"/proc/{pid}/task/{pid}/children").read_text())
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()

        assert "flow warehouse_round: success" in (tmp_path / when).read_text()


def wait_until(look):
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def words_of(service):
    return [part for word in service.get("command", []) for part in word.split()]
