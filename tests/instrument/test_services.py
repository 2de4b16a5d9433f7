"""Servers and workers that nobody has touched, under ``otelflow run --instrument``."""

import importlib.util
import os
import signal
import socket
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from support.ports import free_ports
from support.programs import end, run_python, start
from support.receivers import OtlpReceiver

REQUESTS = 6

WSGI = """
    from shop.jobs import nightly_bill

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(nightly_bill(int(environ["PATH_INFO"].strip("/")))).encode()]
"""
ASGI = """
    from shop.jobs import nightly_refund

    async def app(scope, receive, send):
        if scope["type"] == "http":
            value = await nightly_refund()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(value).encode()})
"""
WORKER = """
    from celery import Celery
    from shop.jobs import nightly_bill

    app = Celery("worker", broker="filesystem://")
    app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}

    @app.task
    def bill(number):
        return nightly_bill(number)
"""


def needs(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


@pytest.fixture
def service(shop):
    """A program of the package ``shop``, whose functions a file names."""
    (shop / "otelflow.toml").write_text('flows = ["shop.jobs:nightly_*"]\ntasks = ["shop.billing:Client.*"]\n')
    return shop


def served(folder, *command, port, count, **variables):
    """Start *command*, ask it *count* times, end it as a supervisor does; return the answers, exit code, stderr."""
    environment = {"OTELFLOW_STORE": folder / "store", "PYTHONPATH": folder, **variables}
    arguments = ("-m", "otelflow", "run", "--instrument", "otelflow.toml", "--", *command)
    process = start(sys.executable, *arguments, cwd=folder, **environment)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answers = []
        latest = time.monotonic() + 60
        while len(answers) < count:
            assert time.monotonic() < latest, process.communicate()
            assert process.poll() is None, process.communicate()
            try:
                with opener.open(f"http://127.0.0.1:{port}/{len(answers) + 1}", timeout=30) as answer:
                    answers.append(answer.read().decode())
            except OSError:  # it does not listen yet
                time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        return answers, process.returncode, said
    finally:
        end(process)


def traces(folder):
    done = run_python("-m", "otelflow", "show", "--list", cwd=folder, OTELFLOW_STORE=folder / "store")
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return sorted(" ".join([row[3], row[4], *row[7:]]) for row in rows)


@needs("gunicorn")
@pytest.mark.parametrize("options", [["--preload"], []], ids=["preload", "each worker"])
def test_every_request_of_forked_workers_is_one_whole_trace(service, options):
    (service / "web.py").write_text(textwrap.dedent(WSGI))
    [port] = free_ports(1)
    command = [Path(sys.executable).with_name("gunicorn"), *options, "-w", "2", "-b", f"127.0.0.1:{port}", "web:app"]

    answers, code, _ = served(service, *command, port=port, count=REQUESTS)

    assert (answers, code) == ([str(sum(range(n)) * 2) for n in range(1, REQUESTS + 1)], 0)
    assert traces(service) == sorted(f"success {n + 2} flow nightly_bill" for n in range(1, REQUESTS + 1))


@needs("uvicorn")
def test_every_request_of_an_event_loop_is_one_whole_trace(service):
    (service / "web.py").write_text(textwrap.dedent(ASGI))
    [port] = free_ports(1)

    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "web:app"]
    answers, _, _ = served(service, *command, port=port, count=REQUESTS)

    assert answers == ["-3"] * REQUESTS
    assert traces(service) == ["success 2 flow nightly_refund"] * REQUESTS


@needs("uvicorn")
@pytest.mark.parametrize("provider", ["ours", "that of opentelemetry-instrument"])
@pytest.mark.parametrize("lifespan", ["auto", "off"])
def test_what_waits_is_delivered_when_a_signal_ends_a_server(service, lifespan, provider):
    (service / "web.py").write_text(textwrap.dedent(ASGI))
    [port] = free_ports(1)
    server = ["uvicorn", "--port", str(port), "--lifespan", lifespan, "--log-level", "warning", "web:app"]
    if provider == "ours":
        command = [sys.executable, "-m", *server]
    else:
        command = [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, "-m", *server]

    with OtlpReceiver() as receiver:
        _, code, said = served(service, *command, port=port, count=2, **sending_to(receiver))

    assert code == -signal.SIGTERM  # as without
    names = Counter(span.name for span in receiver.spans if span.name.startswith(("task", "flow")))
    assert names == {"task refund": 2, "flow nightly_refund": 2}
    assert "arrived" not in said


@needs("uvicorn")
def test_what_waits_when_a_signal_ends_a_server_is_told(service):
    (service / "web.py").write_text(textwrap.dedent(ASGI))
    [port] = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        endpoint = f"http://127.0.0.1:{gone.getsockname()[1]}"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTELFLOW_SPOOL_DIR": service / "spool"}
    server = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "web:app"]

    _, code, said = served(service, *server, port=port, count=2, OTELFLOW_STORE="off", **variables)

    assert code == -signal.SIGTERM
    assert said.endswith(
        "uvicorn ends, and not everything has arrived (what waits in a spool, the next process sends): "
        "traces to the spool: 4 made, 0 delivered, 4 waiting\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends programs otherwise")
def test_the_signals_of_a_program_are_its_own(service):
    (service / "main.py").write_text(
        textwrap.dedent(
            """
            import signal, sys, threading, time
            import shop.jobs

            shop.jobs.nightly_bill(1)
            handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
            print([handler in (signal.SIG_DFL, signal.SIG_IGN) for handler in handlers], flush=True)
            threading.Timer(60, sys.exit).start()
            sum(iter(lambda: 1, 0))  # in C, where no handler of Python's would run
            """
        )
    )
    arguments = ("-m", "otelflow", "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    process = start(sys.executable, *arguments, cwd=service, PYTHONPATH=service, OTELFLOW_STORE=service / "store")
    try:
        assert process.stdout.readline() == "[True, True]\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    finally:
        end(process)


def sending_to(receiver):
    """The environment of a program that sends spans to *receiver* when it ends, and not before."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTELFLOW_SPOOL": "off",
        "OTELFLOW_STORE": "off",
    }


@needs("celery")
def test_every_job_of_a_worker_whose_children_end_after_one_is_one_whole_trace(service):
    (service / "worker.py").write_text(textwrap.dedent(WORKER))
    (service / "queue").mkdir()
    environment = {"OTELFLOW_STORE": service / "store", "PYTHONPATH": service}
    send = "import worker\nfor n in (1, 2, 3): worker.bill.delay(n)"
    assert run_python("-c", send, cwd=service, **environment).returncode == 0

    celery = ("-m", "celery", "-A", "worker", "worker", "--concurrency", "2", "--max-tasks-per-child", "1")
    arguments = ("-m", "otelflow", "run", "--instrument", "otelflow.toml", "--", sys.executable, *celery)
    process = start(sys.executable, *arguments, "--without-gossip", "--without-mingle", cwd=service, **environment)
    try:
        latest = time.monotonic() + 90
        while len(traces(service)) < 3 and time.monotonic() < latest:
            time.sleep(0.5)
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        end(process)

    assert traces(service) == [f"success {n + 2} flow nightly_bill" for n in (1, 2, 3)]


def test_the_tests_of_a_program_pass_as_they_did_also_where_warnings_are_errors(service):
    (service / "test_shop.py").write_text(
        "from shop.jobs import nightly_bill\n\ndef test_bill():\n    assert nightly_bill(3) == 6\n"
    )
    environment = {"OTELFLOW_STORE": service / "store", "PYTHONPATH": service}
    pytest_command = (sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_shop.py")

    done = run_python(
        "-m", "otelflow", "run", "--instrument", "otelflow.toml", "--", *pytest_command, cwd=service, **environment
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert traces(service) == ["success 5 flow nightly_bill"]


@needs("requests")
@pytest.mark.parametrize("provider", ["ours", "that of opentelemetry-instrument"])
def test_what_an_exporter_sends_by_is_a_task_only_where_the_program_calls_it(service, provider):
    (service / "otelflow.toml").write_text(
        'flows = ["shop.jobs:nightly_bill"]\ntasks = ["requests.sessions:Session.send", "shop.asking:ask"]\n'
    )
    (service / "shop" / "asking.py").write_text(
        "import requests\n\ndef ask(url):\n    return requests.get(url, timeout=20).status_code\n"
    )
    (service / "main.py").write_text(
        "import sys, time\nfrom shop.jobs import nightly_bill\nprint(nightly_bill(1))\n"
        "time.sleep(0.5)\nfrom shop.asking import ask\nask(sys.argv[1])\ntime.sleep(0.5)\n"
    )
    with OtlpReceiver() as receiver:
        sending = {**sending_to(receiver), "OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_SERVICE_NAME": "shop"}
        command = [sys.executable, "main.py", sending["OTEL_EXPORTER_OTLP_ENDPOINT"]]
        if provider != "ours":
            command.insert(0, Path(sys.executable).with_name("opentelemetry-instrument"))
        arguments = ("-m", "otelflow", "run", "--instrument", "otelflow.toml", "--", *command)
        done = run_python(*arguments, cwd=service, PYTHONPATH=service, **sending)

    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    names = Counter(span.name for span in receiver.spans if span.name.startswith(("task", "flow")))
    assert {name: names[name] for name in ("flow nightly_bill", "task ask", "task send")} == {
        "flow nightly_bill": 1,
        "task ask": 1,
        "task send": 1,
    }
