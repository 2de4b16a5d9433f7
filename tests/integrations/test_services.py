"""Servers of several processes that are restarted while they are asked: no request fails, each is one whole trace."""

import os
import signal
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from otelflow_exporters import StoredTraces
from support.ports import free_ports
from support.programs import end, start
from support.servers import ask, wait_until

pytest.importorskip("gunicorn", reason="not installed: pip install 'otelflow[hosts]'")
REQUESTS = 80
THREADS = 4

PROGRAM = """
    import otelflow
    from otelflow import task
    from otelflow.integrations import asgi, wsgi

    otelflow.configure(service_name="shop", store=True)

    @task
    def price():
        return b"0.5"

    def answer(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [price()]

    async def answer_async(scope, receive, send):
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": price()})

    app = wsgi.FlowMiddleware(answer, metrics_path="/metrics")
    app_async = asgi.FlowMiddleware(answer_async, metrics_path="/metrics")
"""
WORKERS = {
    "sync": ["-w", "4", "web:app"],
    "preload": ["--preload", "-w", "4", "web:app"],
    "uvicorn": ["-w", "2", "-k", "uvicorn.workers.UvicornWorker", "web:app_async"],
}


class Server:
    """gunicorn on loopback; it writes a line for each process that it starts."""

    def __init__(self, folder, options):
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        gunicorn = Path(sys.executable).with_name("gunicorn")
        self.process = start(
            gunicorn,
            *("-b", f"127.0.0.1:{self.port}", "--log-file", self.log, "--graceful-timeout", "30"),
            *options,
            cwd=folder,
            OTELFLOW_STORE=folder / "store",
            OTELFLOW_METRICS="multiprocess",
            PROMETHEUS_MULTIPROC_DIR=folder / "metrics",
            PYTHONPATH=folder,
        )

    def wait_for_workers(self, count):
        latest = time.monotonic() + 60
        while not (self.log.exists() and self.log.read_text().count("Booting worker with pid") >= count):
            is_hopeless = time.monotonic() > latest or self.process.poll() is not None
            assert not is_hopeless, self.log.read_text()
            time.sleep(0.05)


@pytest.fixture
def server(request, tmp_path):
    (tmp_path / "web.py").write_text(textwrap.dedent(PROGRAM))
    (tmp_path / "metrics").mkdir()
    server = Server(tmp_path, WORKERS[request.param])
    yield server
    if server.process.poll() is None:
        server.process.terminate()
        server.process.communicate(timeout=60)
    end(server.process)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn forks")
@pytest.mark.parametrize("server", WORKERS, indirect=True)
def test_no_request_fails_while_workers_are_replaced_and_each_is_one_trace_counted_once(server, tmp_path):
    server.wait_for_workers(2)
    answers = []

    def ask_often():
        latest = time.monotonic() + 60
        for _ in range(REQUESTS // THREADS):
            while time.monotonic() < latest:
                try:
                    answers.append(ask(server.url))
                    break
                except ConnectionError:  # uvicorn closes at its end what it has not read, also without us
                    continue

    threads = [threading.Thread(target=ask_often) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    while len(answers) < REQUESTS // 4 and any(thread.is_alive() for thread in threads):
        time.sleep(0.01)
    server.process.send_signal(signal.SIGHUP)
    for thread in threads:
        thread.join(60)
    server.wait_for_workers(4)
    counted = f'otelflow_flow_runs_total{{flow="GET",result="success"}} {REQUESTS}.0'
    wait_until(lambda: counted in ask(server.url, "/metrics").body)
    server.process.terminate()
    server.process.communicate(timeout=60)

    assert Counter((answer.status, answer.body) for answer in answers) == {(200, "0.5"): REQUESTS}
    traces = StoredTraces(tmp_path / "store")
    assert Counter((each.name, each.span_count, each.result) for each in traces.summaries()) == {
        ("flow GET", 2, "success"): REQUESTS
    }
    assert {each.trace_id for each in traces.summaries()} == {
        answer.headers["traceresponse"][3:35] for answer in answers
    }


@pytest.mark.slow
def test_a_server_that_is_loaded_again_after_a_change_goes_on_and_each_request_is_one_trace(tmp_path):
    (tmp_path / "web.py").write_text(textwrap.dedent(PROGRAM))
    [port] = free_ports(1)
    command = ("-m", "uvicorn", "--reload", "--port", port, "--log-level", "warning", "web:app_async")
    environment = {"OTELFLOW_STORE": tmp_path / "store", "PYTHONPATH": tmp_path}
    process = start(sys.executable, *command, cwd=tmp_path, **environment)
    answers = []

    def answers_with(text):
        try:
            answers.append(ask(f"http://127.0.0.1:{port}"))
        except OSError:  # nobody listens yet, or not any more
            return False
        return answers[-1].body == text

    try:
        wait_until(lambda: answers_with("0.5"), seconds=60)
        time.sleep(1)  # by then uvicorn has looked at the file: before, it would not notice the change
        # Of another length: Python takes the bytecode of before for a file that was as long in the same second.
        (tmp_path / "web.py").write_text(textwrap.dedent(PROGRAM).replace("0.5", "0.7") + "\n# changed\n")
        wait_until(lambda: answers_with("0.7"), seconds=60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        end(process)

    traces = list(StoredTraces(tmp_path / "store").summaries())
    assert {(each.name, each.span_count, each.result) for each in traces} == {("flow GET", 2, "success")}
    assert {answer.headers["traceresponse"][3:35] for answer in answers} <= {each.trace_id for each in traces}
