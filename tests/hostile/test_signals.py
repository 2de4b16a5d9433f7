"""Signals, at any moment: runs end, nothing waits for itself, nothing stays current."""

import contextlib
import gc
import random
import signal
import sys
import time

import pytest
from opentelemetry import trace

from otelflow import Listener, add_listener, flow, remove_listener, task
from otelflow._core.process import losses, process
from otelflow._core.runs import open_runs
from otelflow._core.runs.current import current_run
from support import programs

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
    pytest.mark.timeout(method="thread"),  # the other method is an alarm, which tests here set themselves
]

SYNC = """
    import time
    from otelflow import flow, task

    @task
    def wait():
        print("ready")
        time.sleep(60)

    @flow
    def sleepy():
        wait()
"""
ASYNC = """
    import asyncio
    from otelflow import flow, task

    @task
    async def wait():
        print("ready")
        await asyncio.sleep(60)

    @flow
    async def sleepy():
        await wait()
"""
TO_EXIT = """
    import signal
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
"""


@pytest.mark.parametrize("source", [SYNC, ASYNC], ids=["sync", "async"])
def test_ctrl_c_is_a_cancellation_of_every_open_run(program, source):
    program.start(source, "provide()\nsleepy().execute()")
    assert program.line() == "ready"
    program.send(signal.SIGINT)
    program.done()

    assert program.code == -signal.SIGINT
    assert program.err.rstrip().endswith("KeyboardInterrupt")
    assert program.results() == [("task wait", "cancellation"), ("flow sleepy", "cancellation")]
    assert {span.status for span in program.spans} == {"UNSET"}


@pytest.mark.parametrize("source", [SYNC, ASYNC], ids=["sync", "async"])
def test_sigterm_that_a_handler_turns_into_an_exit_ends_every_open_run(program, source):
    program.start(source, TO_EXIT, "provide()\nsleepy().execute()")
    assert program.line() == "ready"
    program.send(signal.SIGTERM)
    program.done()

    assert program.code == 143
    flow_result = program.one("flow sleepy").result
    assert program.one("flow sleepy").attributes["error.type"] in ("SystemExit", "asyncio.exceptions.CancelledError")
    assert flow_result in ("failure", "cancellation")
    assert len(program.results()) == 2


def test_sigterm_that_the_loop_turns_into_a_cancellation_is_one(program):
    source = """
    import signal
    async def main():
        running = asyncio.create_task(sleepy().execute_async())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await running
    provide()
    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        sys.exit(143)
    """
    program.start(ASYNC, source)
    assert program.line() == "ready"
    program.send(signal.SIGTERM)
    program.done()

    assert program.code == 143
    assert program.results() == [("task wait", "cancellation"), ("flow sleepy", "cancellation")]


def test_sigterm_without_a_handler_kills_at_once_and_nothing_is_invented(program):
    program.start(SYNC, "provide()\nsleepy().execute()")
    assert program.line() == "ready"
    program.send(signal.SIGTERM)
    program.done()

    assert program.code == -signal.SIGTERM
    assert program.spans == []


class _Interrupting(Listener):
    def on_message(self, event):
        if event.event_data.data["message_data"]["message"].startswith("\x1b[38;5;8mTask return value"):
            raise KeyboardInterrupt


def test_ctrl_c_while_a_run_is_being_ended_does_not_leave_it_open(spans):
    @task
    def value():
        return 1

    listener = _Interrupting()
    add_listener(listener)
    try:
        with pytest.raises(KeyboardInterrupt):
            value()
    finally:
        remove_listener(listener)

    assert spans.tree() == [("task value", "success", [])]
    assert spans.open_spans == 0
    assert not open_runs.is_any()


@pytest.fixture
def alarm():
    """Calls a function after some seconds, in the main thread, wherever that is then."""
    before = signal.getsignal(signal.SIGALRM)

    def set_alarm(function, seconds, again=0.0):
        signal.signal(signal.SIGALRM, lambda *_: function())
        signal.setitimer(signal.ITIMER_REAL, seconds, again)

    yield set_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# Before Python 3.12 the collector, and with it a signal handler, may run in the middle of ContextVar.set: whoever sets
# a context variable there (a generator's body, this handler) crashes the interpreter, also without otelflow.
IS_COLLECTED_BETWEEN_STEPS = sys.version_info >= (3, 12)


@pytest.mark.parametrize("first", ["v", [1]], ids=["plain", "with a list"])
def test_a_signal_handler_may_write_on_the_span_whose_lock_the_thread_holds(first):
    body = """
        import faulthandler, signal
        import otelflow
        from opentelemetry import trace

        faulthandler.dump_traceback_later(30, exit=True)
        handled = 0

        def handler(*_):
            global handled
            handled += 1
            span = trace.get_current_span()
            span.set_attribute("signals", handled)
            span.add_event("signal")
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

        @otelflow.flow
        def busy():
            span = trace.get_current_span()
            span.set_attribute("first", FIRST)
            while handled < 500:
                span.set_attribute("k", "v")
                span.add_event("event", {"a": [1]})

        otelflow.configure()
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        busy().execute()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("done")
    """
    done = programs.python("", body.replace("FIRST", repr(first)), OTEL_TRACES_EXPORTER="none", OTELFLOW_STORE="off")

    assert done.stdout == "done\n", done.stderr


def test_a_signal_handler_may_use_flows_whatever_it_interrupts(spans, alarm, capsys):
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()  # hypothesis' is Python code, in which a signal handler may run
    handled = []

    @task
    def numbers():
        yield 1
        yield 2

    @task
    def step():
        print("step")

    handling = []

    def handler():
        if not handling:
            handling.append(True)
            handled.append(True)
            print("handled")
            ring = [numbers()]
            next(ring[0])
            if IS_COLLECTED_BETWEEN_STEPS:
                ring.append(ring)  # for the garbage collector to end, anywhere
            step()
            handling.clear()

    @flow
    def busy():
        over = time.monotonic() + 0.5
        steps, latest = 0, over + 20  # a busy machine handles fewer in a second
        while time.monotonic() < over or (len(handled) <= 50 and time.monotonic() < latest):
            step()
            steps += 1
        return steps

    threshold = gc.get_threshold()
    gc.set_threshold(50)
    alarm(handler, 0.001, 0.001)
    try:
        steps = busy().execute().flow_return_value
    finally:
        alarm(lambda: None, 0)
        gc.set_threshold(*threshold)
        gc.callbacks[:] = callbacks
        gc.collect()

    assert len(handled) > 50
    assert len(spans.named("task step")) == steps + len(handled)
    assert len(spans.named("task numbers")) == len(handled)
    assert spans.open_spans == 0
    assert current_run() is None


@pytest.fixture
def print_afterwards():
    """An interrupt just where a run begins may leave ``print`` wrapped; here it is put back for the other tests."""
    yield
    if open_runs.is_any():
        process.reset()


# Hypothesis measures the garbage collector in a callback, and a WeakSet forgets in one: Python ignores what hits them.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*gc_callback:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in.*_remove at:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("print_afterwards")
@pytest.mark.filterwarnings("ignore:flow 'outer', called at:RuntimeWarning")  # one that is interrupted before it runs
@pytest.mark.parametrize("policies", [{}, {"retries": 1}, {"timeout": 60}], ids=["plain", "retries", "timeout"])
def test_a_program_that_is_interrupted_at_any_moment_goes_on_with_nothing_current(spans, alarm, policies):
    """A span that is just being made, and that nobody has yet, cannot be ended, and is counted."""

    @task(**policies)
    def inner():
        return sum(range(20))

    @flow
    def outer():
        for _ in range(40):
            inner()

    def interrupt():
        raise KeyboardInterrupt

    outer().execute()  # what is imported late is there: an interrupted import leaves Python's own files open
    chance = random.Random(7)
    interrupted, lost = 0, losses.dropped.total()
    for _ in range(300):
        with contextlib.suppress(KeyboardInterrupt):
            interrupted += 1
            alarm(interrupt, chance.uniform(0.0001, 0.003))
            outer().execute()
            alarm(lambda: None, 0)
            interrupted -= 1
        assert current_run() is None
        assert not trace.get_current_span().get_span_context().is_valid

    assert interrupted > 30
    # How many of them, is chance, and more where the machine is busy; very few are not counted.
    counted = losses.dropped["traces", "start_failed"]
    assert spans.open_spans <= counted + interrupted // 20
    assert losses.dropped.total() - lost <= counted <= interrupted


class JobTooLong(Exception):
    """As RQ and Celery raise it in a handler, when a job has taken its time."""


@pytest.mark.usefixtures("print_afterwards")
@pytest.mark.parametrize("limit", [JobTooLong, TimeoutError])
def test_a_time_limit_that_a_signal_handler_raises_comes_out_wherever_it_falls(spans, alarm, monkeypatch, limit):
    ignored, fallen = [], []
    monkeypatch.setattr(
        sys, "unraisablehook", ignored.append
    )  # Python itself drops what falls into a weakref's callback
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()  # hypothesis' are Python code, where it drops it, too
    add_listener(Hears())

    @task(capture_parameters=True, capture_return_value=True, task_run_name="step {rows}")
    def step(rows):
        print("step")
        return rows

    @flow
    def endless(this_flow):
        while not fallen:
            step([{"id": 1}])
        return "it did not come out"

    def fall():
        fallen.append(True)
        raise limit

    step([])  # what is imported late is there
    chance = random.Random(7)
    came_out = 0
    for _ in range(100):
        fallen.clear()
        with contextlib.suppress(limit):
            came_out += 1
            alarm(fall, chance.uniform(0.0005, 0.003))
            endless().execute()
            came_out -= 1
    gc.callbacks[:] = callbacks

    assert came_out >= 100 - len(ignored)
    assert losses.dropped.total() == losses.dropped["traces", "start_failed"] <= 50  # of runs whose span is just made
    assert not losses.listener_errors
    assert current_run() is None


class Hears(Listener):
    def on_event(self, event):
        pass


CLOSING = """
    import signal, socket, threading
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    server = socket.create_server(("127.0.0.1", 0))

    def close_each():
        while True:
            connection, _ = server.accept()
            connection.recv(100)
            connection.shutdown(socket.SHUT_WR)
            while not connection.recv(100):
                pass
            connection.close()  # with more to read: what the other end still writes meets nobody

    threading.Thread(target=close_each, daemon=True).start()
    import os
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.getsockname()[1]}"

    import otelflow
    from opentelemetry import trace

    telemetry = otelflow.configure()
    for number in range(600):
        trace.get_tracer("x").start_span("a", attributes={"text": "x" * (100_000 * (number % 10 == 0))}).end()
    for _ in range(3):
        telemetry.force_flush(2_000)
    print("still there")
    """


@pytest.mark.parametrize("spool", ["off", "memory"])
def test_a_collector_that_closes_its_connections_ends_no_program_that_a_closed_pipe_may_end(tmp_path, spool):
    path = tmp_path / "filter.py"
    path.write_text(programs.source_of(CLOSING))

    done = programs.run_python(path, OTELFLOW_SPOOL=spool)

    assert (done.returncode, done.stdout) == (0, "still there\n")
