"""However a process ends, each run that ended is exported, and each that was open is ended truthfully."""

import pytest

from otelflow_exporters._store.reader import StoredTraces
from support.programs import python

FLOW = """
from otelflow import flow, task

@task
def inner():
    return body()

@flow
def outer():
    return inner()
"""

# Behind what the program is about: a daemon thread is inside of a task when the process ends.
OPEN_IN_A_THREAD = """
import threading
started = threading.Event()
def body():
    started.set()
    threading.Event().wait()
threading.Thread(target=lambda: outer().execute(), daemon=True).start()
started.wait()
"""


@pytest.mark.parametrize(
    ("code", "result"), [("3", "failure"), ("'no'", "failure"), ("0", "success"), ("None", "success")]
)
def test_sys_exit_deep_inside_ends_each_run_and_the_process(program, code, result):
    program.run(FLOW, f"provide()\nbody = lambda: sys.exit({code})\nouter().execute()")

    assert program.code == {"3": 3, "'no'": 1, "0": 0, "None": 0}[code]
    assert program.results() == [("task inner", result), ("flow outer", result)]


def test_an_exception_in_finally_is_the_one_that_is_told(program):
    source = """
    provide()
    def body():
        try:
            raise ValueError("first")
        finally:
            raise KeyError("second")
    outer().execute()
    """
    program.run(FLOW, source)

    assert "During handling of the above exception" in program.err
    assert program.results() == [("task inner", "failure"), ("flow outer", "failure")]
    (exception,) = (attributes for name, attributes in program.one("task inner").events if name == "exception")
    assert (exception["exception.type"], exception["exception.message"]) == ("KeyError", "'second'")
    assert "ValueError: first" in exception["exception.stacktrace"]
    assert program.one("flow outer").attributes["error.type"] == "KeyError"


def test_what_a_daemon_thread_was_doing_is_cancelled_by_the_end(program):
    source = """
    import threading
    provide()
    started = threading.Event()
    def body():
        print("working")
        started.set()
        threading.Event().wait()
    threading.Thread(target=lambda: outer().execute(), daemon=True).start()
    started.wait()
    """
    program.run(FLOW, source)

    assert (program.code, program.err) == (0, "")
    assert program.results() == [("task inner", "cancellation"), ("flow outer", "cancellation")]
    assert program.one("task inner").messages == ["working"]
    assert program.one("task inner").status == "UNSET"


def test_a_run_that_a_daemon_thread_ends_after_the_end_is_not_ended_twice(program):
    source = """
    import atexit, threading
    provide()
    started, go, over = threading.Event(), threading.Event(), threading.Event()
    def body():
        started.set()
        go.wait()
    def work():
        outer().execute()
        over.set()
    def last():
        go.set()
        over.wait(10)
    atexit.register(last)  # called after otelflow's, which registers at the first run
    threading.Thread(target=work, daemon=True).start()
    started.wait()
    """
    program.run(FLOW, source)

    assert (program.code, program.err) == (0, "")
    assert program.results() == [("task inner", "cancellation"), ("flow outer", "cancellation")]


def test_a_generator_that_waits_at_the_end_was_closed_early(program):
    source = """
    from otelflow import flow, task
    @task
    def numbers():
        yield 1
        yield 2
    @flow
    def produce():
        yield from numbers()
    provide()
    waiting = produce().execute().flow_return_value
    next(waiting)
    """
    program.run(source)

    assert (program.code, program.err) == (0, "")
    assert program.results() == [("task numbers", "success"), ("flow produce", "success")]
    assert all(span.attributes["otelflow.generator.closed_early"] for span in program.spans)


def test_a_generator_that_was_ended_by_the_end_still_does_what_it_does_when_it_is_closed(program):
    source = """
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import set_tracer_provider
    from otelflow import task
    @task
    def numbers():
        try:
            yield 1
        finally:
            print("closed")
    set_tracer_provider(TracerProvider())
    waiting = numbers()
    next(waiting)
    """
    program.run(source, prelude="")

    assert (program.code, program.err, program.out) == (0, "", "closed\n")


def test_a_coroutine_that_nobody_finishes_is_cancelled_by_the_end(program):
    source = """
    import asyncio
    from otelflow import flow
    @flow
    async def wait():
        await asyncio.Event().wait()
    provide()
    loop = asyncio.new_event_loop()
    pending = loop.create_task(wait().execute_async())
    loop.run_until_complete(asyncio.sleep(0.01))
    """
    program.run(source)

    assert program.code == 0
    assert program.results() == [("flow wait", "cancellation")]


def test_a_flow_that_is_never_awaited_is_no_run_and_python_says_so(program):
    source = """
    from otelflow import flow
    @flow
    async def wait(): ...
    provide()
    wait().execute_async()
    """
    program.run(source)

    assert "was never awaited" in program.err
    assert program.spans == []


def test_open_runs_are_ended_on_a_provider_that_came_after_the_first_run(program):
    source = """
    body = lambda: None
    outer().execute()
    import threading
    provide()
    """
    program.run(FLOW, source, OPEN_IN_A_THREAD)

    assert program.results() == [("task inner", "cancellation"), ("flow outer", "cancellation")]


def test_looking_for_open_runs_wakes_no_other_object(program):
    source = """
    import threading, weakref
    class Lazy:
        @property
        def __class__(self):
            print("woken")
            raise RuntimeError("woken")
    class Gone: ...
    gone = Gone()
    lazy, dead = [Lazy()], weakref.proxy(gone)
    del gone
    provide()
    """
    program.run(FLOW, source, OPEN_IN_A_THREAD)

    assert (program.out, program.err) == ("", "")
    assert program.results() == [("task inner", "cancellation"), ("flow outer", "cancellation")]


def test_listeners_hear_the_end_of_what_was_open(program):
    source = """
    import threading
    from otelflow import Listener, add_listener
    class Ends(Listener):
        def on_task_stop(self, event):
            print(event.event_data.task_name, event.event_data.result)
        def on_flow_stop(self, event):
            print(event.event_data.flow_name, event.event_data.result)
    add_listener(Ends())
    """
    program.run(FLOW, source, OPEN_IN_A_THREAD)

    assert program.out.splitlines() == ["inner cancellation", "outer cancellation"]


def test_a_thread_that_is_no_daemon_finishes_its_flow(program):
    source = """
    import threading, time
    provide()
    started = threading.Event()
    def body():
        started.set()
        time.sleep(0.1)
    threading.Thread(target=lambda: outer().execute()).start()
    started.wait()
    """
    program.run(FLOW, source)

    assert program.results() == [("task inner", "success"), ("flow outer", "success")]


def test_os_exit_leaves_what_was_exported_and_invents_nothing(program):
    source = """
    provide(at_once=True)
    @task
    def done(): ...
    def body():
        done()
        os._exit(7)
    outer().execute()
    """
    program.run(FLOW, source)

    assert program.code == 7
    assert program.results() == [("task done", "success")]


def test_an_uncaught_exception_is_printed_as_ever_and_exported(program):
    program.run(FLOW, "provide()\ndef body(): raise ValueError('mine')\nouter().execute()")

    assert program.code == 1
    assert program.err.rstrip().endswith("ValueError: mine")
    assert program.results() == [("task inner", "failure"), ("flow outer", "failure")]


def test_configure_exports_what_was_open_at_the_end(program):
    source = """
    import threading, otelflow
    otelflow.configure()
    trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(Lines()))
    """
    program.run(FLOW, source, OPEN_IN_A_THREAD)

    assert program.results() == [("task inner", "cancellation"), ("flow outer", "cancellation")]


def test_the_end_of_metrics_in_the_middle_of_a_program_ends_no_run(program):
    source = """
    import threading
    import otelflow
    provide()
    begun, go = threading.Event(), threading.Event()
    def body():
        begun.set()
        go.wait(10)
        return 7
    telemetry = otelflow.configure(metrics="registry")
    telemetry = otelflow.configure(metrics="textfile:.")
    made = outer()
    thread = threading.Thread(target=made.execute)
    thread.start()
    begun.wait(10)
    telemetry.metrics.shutdown()
    go.set()
    thread.join()
    print(made.status, made.flow_return_value)
    """
    program.run(FLOW, source)

    assert program.out == "success 7\n", program.err
    assert program.results() == [("task inner", "success"), ("flow outer", "success")]


def test_a_run_that_ends_while_the_exit_is_ending_it_is_heard_once(program):
    source = """
    import threading
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from otelflow import Listener, add_listener
    begun, exporting, over = threading.Event(), threading.Event(), threading.Event()

    class Slow(Lines):
        def export(self, spans):
            exporting.set()
            over.wait(2)
            return super().export(spans)

    class Heard(Listener):
        def on_flow_stop(self, event):
            print(event.event_data.result)

    @flow
    def alone():
        begun.set()
        exporting.wait(10)

    def work():
        alone().execute()
        over.set()

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Slow()))
    trace.set_tracer_provider(provider)
    add_listener(Heard())
    threading.Thread(target=work, daemon=True).start()
    begun.wait(10)
    """
    program.run(FLOW, source)

    assert program.out == "cancellation\n", program.err
    assert program.results() == [("flow alone", "cancellation")]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("where", ["the child", "the parent", "both"])
def test_a_child_of_multiprocessing_delivers_what_it_did_and_what_it_was_doing(program, method, where):
    if where == "the parent" and method != "fork":
        pytest.skip("such a child knows nothing of its parent's set-up")
    source = f"""
    import multiprocessing, threading
    import otelflow
    def body():
        return 1
    begun = threading.Event()
    @task
    def open_for_ever():
        begun.set()
        threading.Event().wait()
    def work():
        if {where!r} != "the parent":
            otelflow.configure(store=sys.argv[1])
        threading.Thread(target=open_for_ever, daemon=True).start()
        begun.wait(10)
        outer().execute()
    if __name__ == "__main__":
        if {where!r} != "the child":
            otelflow.configure(store=sys.argv[1])
        child = multiprocessing.get_context({method!r}).Process(target=work)
        child.start()
        child.join(30)
        print(child.exitcode)
    """
    program.run(FLOW, source, arguments=[program.folder / "store"])

    assert program.out == "0\n", program.err
    stored = StoredTraces(program.folder / "store")
    spans = [span for summary in stored.summaries() for span in stored.load(summary.trace_id).spans]
    results = sorted((span.name, span.attributes["otelflow.run.result"]) for span in spans)
    assert results == [("flow outer", "success"), ("task inner", "success"), ("task open_for_ever", "cancellation")]


IN_DEL = """
import builtins
import sys
from otelflow import flow, task

@task
def add(a, b):
    return a + b

@flow
def total(this_flow):
    this_flow.log_info("adding")
    return add(1, 2)

class Last:
    def __del__(self):
        run = total().execute()
        print(run.status, run.flow_return_value)

builtins.last = Last()
"""


def test_the_first_flow_of_a_program_may_run_when_the_interpreter_takes_itself_apart():
    done = python(IN_DEL)

    assert (done.stdout, done.stderr) == ("success 3\n", "")


AFTER_ITS_RUN = """
from otelflow import Flow, get_run_logger

class Last:
    def __init__(self):
        self.flow = Flow().setup(lambda: 3).execute()

    def __del__(self):
        for kind, data in (("table", [{"a": 1}]), ("json", {"a": [1]}), ("markdown", "# A"), ("image", b"x")):
            self.flow.add_flow_artifact(kind, key=kind, data=data, artifact_type=kind)
        self.flow.add_flow_result("rows", 3)
        self.flow.log_info("text")
        get_run_logger().info("text")
        print([artifact.key for artifact in self.flow.artifacts], len(self.flow.results))
        try:
            print(sorted(self.flow.json()))
        except ImportError as error:
            print(error)

last = Last()
"""


def test_what_a_flow_that_has_run_is_told_at_the_very_end_is_taken():
    done = python(AFTER_ITS_RUN)
    done_before = python(AFTER_ITS_RUN, "last.flow.json()")

    assert (done.stderr, done_before.stderr) == ("", "")
    artifacts, report = done.stdout.splitlines()
    assert artifacts == "['table', 'json', 'markdown', 'image'] 2"
    assert report.startswith("otelflow._core.flows.osbot_report cannot be imported any more, because Python has ended")
    assert done_before.stdout.splitlines() == [artifacts, "['flow_data', 'flow_events']"]


FIRST_AT_THE_END = """
import builtins
from otelflow import Listener, add_listener, flow, task

class Deaf(Listener):
    def on_event(self, event):
        event.event_data

@task(timeout=60)
def limited():
    return 3

@flow
def nothing():
    pass

@flow
def last_words(this_flow):
    this_flow.add_flow_artifact("rows", key="rows", data=[{"a": limited()}], artifact_type="table")
    this_flow.add_flow_result("rows", 3)
    print([artifact.data for artifact in this_flow.artifacts], len(this_flow.results))

class Last:
    def __del__(self):
        print(last_words().execute().status)

nothing().execute()
builtins.last = Last()
"""


@pytest.mark.parametrize("listening", ["", "add_listener(Deaf())"])
def test_the_first_artifact_of_a_program_may_be_made_at_the_very_end_and_a_timeout_does_not_hang(listening):
    done = python(FIRST_AT_THE_END, listening)

    assert (done.stdout, done.stderr) == ("[[{'a': 3}]] 1\nsuccess\n", "")


def test_what_runs_need_late_is_not_imported_at_the_end_of_a_program_without_runs():
    done = python(
        "import otelflow, sys, atexit",
        "atexit.register(lambda: print('otelflow._core.inside.artifacts' in sys.modules))",
    )

    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    "before",
    ["import otelflow; otelflow.configure(store=False)", "from otelflow.testing import flow_trace; flow_trace()"],
    ids=["configured", "not configured"],
)
def test_a_run_at_the_very_end_of_a_program_leaves_no_traceback(before):
    done = python(before, IN_DEL)

    assert done.stdout == "success 3\n"
    assert "Traceback" not in done.stderr
