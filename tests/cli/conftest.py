import signal
from typing import NamedTuple

import pytest

from support import programs
from support.receivers import GrpcReceiver, OtlpReceiver

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
    return programs.clean_environment(**{"OTELFLOW_STORE": store, "PYTHONWARNINGS": "default", **more})


def run_otelflow(*arguments, store, **keywords):
    variables = {"OTELFLOW_STORE": store, "PYTHONWARNINGS": "default", "timeout": 60, **keywords}
    done = programs.run_python("-m", "otelflow", *arguments, **variables)
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


@pytest.fixture(scope="session")
def http_receiver():
    """A real OTLP/HTTP receiver on the loopback interface."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def grpc_receiver(tmp_path):
    """A real OTLP/gRPC receiver on the loopback interface, and on a socket."""
    with GrpcReceiver(tmp_path / "otlp.sock") as receiver:
        yield receiver
