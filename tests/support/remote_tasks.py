"""Tasks that other processes can import."""

import asyncio
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext

from otelflow import INJECTED, flow, task
from otelflow._core.process.settings import settings
from otelflow._core.process.settings_table import SETTINGS
from otelflow.runners import _worker


@task
def where(number):
    return os.getpid(), number


@task
def double(number):
    return 2 * number


@task
async def double_later(number):
    await asyncio.sleep(0)
    return 2 * number


CALLS = []


def note(call):
    CALLS.append((call.task_name, call.status, call.task_return_value, call.task_args, os.getpid()))


def break_down(call):
    raise LookupError(call.task_name)


@task(on_running=note, on_completion=note, on_failure=note)
def tell(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 2:
        raise Refused("two")
    return 2 * number


@task(on_completion=break_down)
def tell_badly(number):
    return number


@task(retries=2)
def try_again(number):
    print("tried")
    if number == 2:
        tell_badly(number)
        return number
    raise Refused(f"no {number}")


@task(timeout=0.2, raise_on_error=False)
def go_on_talking(said):
    time.sleep(0.5)
    print("still here")
    said.set()


@task
def wait_for_talk(number):
    said = threading.Event()
    go_on_talking(said)
    return said.wait(30)


@task(concurrency={"remote": 1}, limit_timeout=5)
def take_place(number):
    return number


class Refused(ValueError):
    pass


@task(retries=2, retry_delay=3_600)
def retry_for_ever(folder):
    (Path(folder) / "waits").touch()
    raise Refused("not yet")


@task(retries=2, retry_delay=3_600)
async def retry_for_ever_async(folder):
    (Path(folder) / "waits").touch()
    raise Refused("not yet")


@task(rate_limit={"test-stops": "1/20d"})
def begin_in_weeks():
    """Have waited."""


@task
def wait_for_rate(folder):
    (Path(folder) / "waits").touch()
    begin_in_weeks()


@task
def fail(number):
    raise Refused(f"no {number}")


@task
def leave(number, this_task=INJECTED, flow_data=INJECTED, this_flow=INJECTED, service=None):
    print("printed", number)
    this_flow.log_warning("logged")
    this_task.add_task_artifact(key="rows", data="text", artifact_type="markdown")
    this_flow.add_flow_result("count", number)
    flow_data[f"n{number}"] = (flow_data["begin"], this_flow.flow_name)
    return double(number)


class Unportable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


@task
def fail_unportably(number):
    raise Unportable(f"no {number}") from LookupError(number)


def only_in(process):
    if os.getpid() != process:
        raise LookupError("only there")


class OnlyThere:
    def __reduce__(self):
        return only_in, (os.getpid(),)


@task
def leave_unreadable(number):
    return OnlyThere()


def leave_elsewhere(process, where):
    if os.getpid() != process:
        raise KeyboardInterrupt if where == "with Ctrl-C" else SystemExit(3)


class Leaving:
    """Raises SystemExit where it is written (``"here"``), or is read in another process, or KeyboardInterrupt there."""

    def __init__(self, where):
        self.where = where

    def __reduce__(self):
        if self.where == "here":
            sys.exit(3)
        return leave_elsewhere, (os.getpid(), self.where)


@task
def leave_leaving(where):
    return Leaving(where)


@task(raise_on_error=False)
def fail_quietly(number):
    raise Refused(f"no {number}")


@flow
def inner_flow(number):
    print("inner")
    return double.map([number, number]).result()


@task
def run_flow(number):
    return inner_flow(number).execute().flow_return_value


@task
def die(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@task
def add_up(number, fails=False, *groups):
    if fails:
        raise Refused(f"no {number}")
    return number + sum(sum(group) for group in groups)


@task
async def add_up_later(number, fails=False, *groups):
    await asyncio.sleep(0)
    return add_up.__wrapped__(number, fails, *groups)


@task
def leave_lock(number, this_flow=INJECTED):
    this_flow.add_flow_artifact(key="lock", data=threading.Lock(), artifact_type="json")
    print("said")
    raise KeywordOnly("no", number=number)


class KeywordOnly(Exception):
    def __init__(self, text, *, number):
        super().__init__(text)
        self.number = number


@task
def fail_deeply(number):
    error = Refused(f"no {number}")
    above = error
    for place in range(5_000):
        above.__cause__ = LookupError(place)
        above = above.__cause__
    raise error


@task
def overfill(number):
    tracer = trace.get_tracer("crowd")
    links = [Link(SpanContext(1, place, is_remote=True)) for place in range(1, 131)]
    with tracer.start_as_current_span("crowd", links=links) as span:
        for place in range(131):
            span.set_attribute(f"key {place}", place)
            span.add_event(f"event {place}")
        for place in range(2):
            span.add_event(f"late {place}")


STRAYS = []


@task
def stray(number):
    """Make a span in a plain thread, end one that the call before has begun, and begin one."""
    tracer = trace.get_tracer("stray")
    thread = threading.Thread(target=lambda: tracer.start_span("in a thread").end(), daemon=True)
    thread.start()
    thread.join()
    for span in STRAYS:
        span.end()
    STRAYS[:] = [tracer.start_span("ends too late")]


@task
def linger(folder, number):
    Path(folder, f"begun-{number}").touch()
    end = time.monotonic() + 60
    while not Path(folder, "go").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    Path(folder, f"done-{number}").touch()


HELD = threading.Semaphore(0)
RELEASED = threading.Event()


def hold():
    HELD.release()
    return RELEASED.wait(30)


def take_process_number(number):
    os.getpid = lambda: number


@task
def settings_there():
    return {name: getattr(settings(), name) for name in SETTINGS}


@task
def overfill_pieces(number):
    attributes = {f"key {place}": place for place in range(10)}
    link = Link(SpanContext(1, 1, is_remote=True), {"only": 1})
    full_link = Link(SpanContext(1, 2, is_remote=True), attributes)
    with trace.get_tracer("crowd").start_as_current_span("crowded pieces", links=[link, full_link]) as span:
        span.add_event("full", attributes)
        span.add_event("empty")


@task
def want_nothing(number):
    """Make spans as an order does at the same time here that is from a flow which records none."""
    order = types.SimpleNamespace(carrier={}, records_spans=False, is_at_home=False)

    def run_order():
        tracer = trace.get_tracer("other")
        with _worker.in_trace(order, []), tracer.start_as_current_span("outer"):
            tracer.start_span("inner").end()

    thread = threading.Thread(target=run_order, daemon=True)
    thread.start()
    thread.join()
