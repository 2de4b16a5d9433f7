"""A process that forks in the middle of a run: each process tells of what it opened itself, once."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

FLOW = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork with threads
from otelflow import flow, task

@task
def inner():
    return body()

@task
def step(number):
    print("step", number)

@flow
def outer():
    return inner()

parent = os.getpid()
"""


@pytest.mark.parametrize("child_ends_by", ["sys.exit(0)", "os._exit(0)", "return 'child'", "raise ValueError"])
def test_what_was_open_is_exported_once_and_by_the_parent(program, child_ends_by):
    source = f"""
    provide(at_once=True)
    def body():
        pid = os.fork()
        if pid == 0:
            {child_ends_by}
        os.waitpid(pid, 0)
        return "parent"
    print(outer().execute().flow_return_value)
    """
    program.run(FLOW, source)

    assert program.code == 0
    assert program.results() == [("task inner", "success"), ("flow outer", "success")]
    assert len({span.pid for span in program.spans}) == 1
    assert program.out.splitlines()[-1] == "parent"
    assert ("child" in program.out) == ("child" in child_ends_by)


def test_what_a_child_opens_itself_it_reports_as_part_of_the_same_trace(program):
    source = """
    provide(at_once=True)
    def body():
        pid = os.fork()
        step("child" if pid == 0 else "parent")
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
    outer().execute()
    """
    program.run(FLOW, source)

    assert sorted(program.results()) == [
        ("flow outer", "success"),
        ("task inner", "success"),
        *[("task step", "success")] * 2,
    ]
    steps = [span for span in program.spans if span.name == "task step"]
    assert {tuple(span.messages) for span in steps} == {("step child",), ("step parent",)}
    assert {span.parent for span in steps} == {program.one("task inner").id}
    assert len({span.attributes["otelflow.task.run.id"] for span in steps}) == 2


def test_listeners_hear_each_run_end_once(program):
    source = """
    from otelflow import Listener, add_listener
    class Ends(Listener):
        def on_event(self, event):
            kind = event.event_type.value
            if kind.endswith("stop"):
                os.write(1, f"{kind} {event.event_data.task_name}\\n".encode())
    add_listener(Ends())
    def body():
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        else:
            step(1)
            sys.exit(0)
    outer().execute()
    """
    program.run(FLOW, source)

    stops = [line for line in program.out.splitlines() if "stop" in line]
    assert stops == ["task_stop step", "task_stop inner", "flow_stop None"]


def test_a_child_does_not_end_what_other_threads_and_generators_of_its_parent_have_open(program):
    source = """
    import gc, threading
    provide(at_once=True)
    @task
    def numbers():
        yield 1
        yield 2
    @task
    def wait():
        started.set()
        go.wait(10)
    started, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    waiting = numbers()
    next(waiting)
    pid = os.fork()
    if pid == 0:
        waiting.close()
        step("child")
        sys.exit(0)
    os.waitpid(pid, 0)
    list(waiting)
    go.set()
    thread.join()
    """
    program.run(FLOW, source)

    assert program.code == 0, program.err
    assert sorted(program.results()) == [
        ("task numbers", "success"),
        ("task step", "success"),
        ("task wait", "success"),
    ]
    assert "otelflow.generator.closed_early" not in program.one("task numbers").attributes


def test_a_child_never_waits_for_a_lock_that_a_thread_of_its_parent_holds(program):
    source = """
    import threading
    provide(at_once=True)
    stop = threading.Event()
    def hammer():
        while not stop.is_set():
            step(0)
            shared.log_info("hammer")
    def body():
        import contextvars
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(hammer,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        codes = []
        for number in range(60):
            pid = os.fork()
            if pid == 0:
                import signal
                signal.alarm(10)
                from otelflow import get_run_logger
                shared.log_info("child")
                len(shared.log)
                os._exit(0)
            codes.append(os.waitpid(pid, 0)[1])
        stop.set()
        for thread in threads:
            thread.join()
        return codes
    os.environ["SPANS"] = os.devnull
    sys.setswitchinterval(0.000001)
    sys.stdout = open(os.devnull, "w")
    shared = outer()
    codes = shared.execute().flow_return_value
    sys.stderr.write(f"{sum(code != 0 for code in codes)} of {len(codes)} hang")
    """
    program.run(FLOW, source)

    assert program.err == "0 of 60 hang"


def test_multiprocessing_by_fork_inside_a_task(program):
    source = """
    import multiprocessing
    provide(at_once=True)
    def work(number):
        step(number)
        return number * 2
    def body():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(work, [1, 2, 3])
    print(outer().execute().flow_return_value)
    """
    program.run(FLOW, source)

    assert program.out.splitlines()[-1] == "[2, 4, 6]"
    assert sorted(program.results()) == [
        ("flow outer", "success"),
        ("task inner", "success"),
        *[("task step", "success")] * 3,
    ]
    assert {span.trace for span in program.spans} == {program.one("flow outer").trace}


def test_configure_delivers_what_parent_and_child_opened(program):
    source = """
    import otelflow
    from otelflow._telemetry.batches import BoundedBatchSpanProcessor
    otelflow.configure()
    trace.get_tracer_provider().add_span_processor(BoundedBatchSpanProcessor(Lines()))
    def body():
        step("before")
        pid = os.fork()
        step("after")
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
    outer().execute()
    """
    program.run(FLOW, source)

    assert sorted(program.results()) == [
        ("flow outer", "success"),
        ("task inner", "success"),
        *[("task step", "success")] * 3,
    ]


def test_configure_delivers_what_a_forked_process_of_multiprocessing_opened(program):
    source = """
    import multiprocessing, otelflow
    from otelflow._telemetry.batches import BoundedBatchSpanProcessor
    otelflow.configure()
    trace.get_tracer_provider().add_span_processor(BoundedBatchSpanProcessor(Lines()))
    def body():
        process = multiprocessing.get_context("fork").Process(target=step, args=(1,))
        process.start()
        process.join()
        return process.exitcode
    print(outer().execute().flow_return_value)
    """
    program.run(FLOW, source)

    assert program.out.splitlines()[-1] == "0"
    assert sorted(program.results()) == [("flow outer", "success"), ("task inner", "success"), ("task step", "success")]
    assert program.one("task step").parent == program.one("task inner").id


FORKS = {
    "a listener": """
        from otelflow import Listener, add_listener
        class Forks(Listener):
            def on_task_stop(self, event):
                if event.event_data.task_name == "inner":
                    fork()
        add_listener(Forks())
        def body():
            pass
        """,
    "__del__": """
        class Forks:
            def __del__(self):
                fork()
        def body():
            held = Forks()
            del held
        """,
    "a generator between two steps": """
        @task
        def numbers():
            yield from range(3)
        def body():
            left = numbers()
            next(left)
            fork()
            for number in left:
                pass
        """,
}


@pytest.mark.parametrize("place", FORKS)
def test_a_fork_anywhere_inside_a_run_leaves_each_process_what_it_opened(program, place):
    source = """
    import sys
    provide(at_once=True)
    def fork():
        pid = os.fork()
        if pid == 0:
            step(1)
            os._exit(0)
        os.waitpid(pid, 0)
    """
    program.run(FLOW, source, FORKS[place], "print(outer().execute().status)")

    own = ["task numbers"] if "generator" in place else []
    assert program.code == 0
    assert program.out.splitlines()[-1] == "success"
    assert sorted(name for name, _ in program.results()) == sorted(["flow outer", "task inner", "task step", *own])
    assert {result for _, result in program.results()} == {"success"}
    assert program.one("task step").pid != program.one("task inner").pid


def test_a_child_delivers_what_the_provider_of_the_application_keeps(program):
    program.run(
        """
        import multiprocessing
        from otelflow import configure, flow

        provide()
        assert configure().is_host

        @flow
        def nightly():
            pass

        def work():
            nightly().execute()  # its provider keeps the span for seconds, and the child just leaves

        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        """
    )

    assert program.results() == [("flow nightly", "success")]
