import gzip
import os
import signal
import subprocess
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

FLOWS = """
import asyncio, multiprocessing, pickle, sys, time
from dataclasses import dataclass
from enum import Enum
from otelflow import Flow, Flow_Run__Config, flow, get_run_logger, task

@dataclass
class Order:
    number: int

class Size(Enum):
    SMALL = 1
    LARGE = 2

@task
def divide(a, b):
    return a / b

@flow
def ratio(a: int, b: int = 2):
    print(f"dividing {a!r} by {b!r}")
    return divide(a, b)

@flow
def leave(code: int):
    sys.exit(code)

@flow(flow_config=Flow_Run__Config(raise_flow_error=False))
def quiet_failure():
    divide(1, 0)

@flow
def wait(seconds: float = 30):
    print("waiting", flush=True)
    time.sleep(seconds)

@flow
async def wait_async(seconds: float = 30):
    print("waiting", flush=True)
    await asyncio.sleep(seconds)

@flow
def steps(count: int):
    for number in range(count):
        print("step", number)
        yield divide(number, 1)

@flow
async def steps_async(count: int):
    for number in range(count):
        print("step", number)
        yield number

@flow
def describe(size: Size, tags: list[str], order: Order):
    again = pickle.loads(pickle.dumps(order))
    print(size.name, tags, again, sys.argv, __name__)

@flow
def leave_artifacts(this_flow: Flow):
    this_flow.add_flow_artifact("A page", "page", "# Title\\n\\nSome *words*", "markdown")
    this_flow.add_flow_artifact("Rows", "rows", [{"fruit": "apple", "count": 3}], "table")
    this_flow.add_flow_artifact("A picture", "dot", bytes(range(60)), "image")
    this_flow.add_flow_artifact("Much", "much", "x" * 100_000, "text")

class Doubled(Flow):
    def main(self, number: int):
        print(number * 2)

class Desk:
    @flow
    def total(self, count: int):
        print("total", count)

desk = Desk()
ready = Doubled().setup(None, 21)

def plain():
    pass
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


def clean_environment(store, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACEPARENT"))}
    return {**kept, "OTELFLOW_STORE": str(store), "PYTHONWARNINGS": "default", **more}


def run_otelflow(*arguments, store, cwd, timeout=60, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "otelflow", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(store, **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def programs_hear_a_hangup():
    """Tests that run under nohup would hand on that SIGHUP is ignored."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, inherited)


@pytest.fixture(scope="session")
def flows(tmp_path_factory):
    """A folder with a program that holds flows of every kind."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "flows.py").write_text(FLOWS)
    return folder


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def otelflow(flows, store):
    """Run the command line in a process of its own, with a store of its own."""

    def call(*arguments, **environment):
        return run_otelflow(*arguments, **{"store": store, "cwd": flows, **environment})

    return call


@pytest.fixture(scope="session")
def run_command():
    return run_otelflow


@pytest.fixture(scope="session")
def environment_of():
    return clean_environment


class Received:
    """What an OTLP receiver has taken in."""

    def __init__(self):
        self.requests = []
        self.endpoint = ""

    @property
    def spans(self):
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def services(self):
        return {
            attribute.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


@pytest.fixture(scope="session")
def http_receiver():
    """A real OTLP/HTTP receiver on the loopback interface."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.requests.append(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    received.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield received
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def grpc_receiver(tmp_path):
    """A real OTLP/gRPC receiver on the loopback interface."""
    received = Received()

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):  # noqa: N802
            received.requests.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)
    received.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    received.path = tmp_path / "otlp.sock"
    if sys.platform != "win32":
        server.add_insecure_port(f"unix://{received.path}")
    server.start()
    yield received
    server.stop(None).wait(5)
