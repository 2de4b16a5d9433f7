"""Time-outs: what ends at its deadline, what the span says of the body, and what the body can still do."""

import asyncio
import contextvars
import datetime as dt
import signal
import sys
import threading
import time
import weakref

import pytest
from opentelemetry.trace import StatusCode

from otelflow import Flow, flow, semconv, task
from otelflow._core.flows.definition import Definition
from otelflow.errors import ConfigurationError, RunTimeout
from support.garbage import no_collector
from support.spans import result

SOON = 0.05
LATE = 60


@pytest.fixture
def gate():
    """What a body waits for that would never end, until its test is over."""
    event, others = threading.Event(), set(threading.enumerate())
    yield event
    event.set()
    for thread in set(threading.enumerate()) - others:
        if thread.name.startswith("otelflow-") and thread.name != "otelflow-worker":  # which lives on
            thread.join(30)


async def sleeping():
    await asyncio.sleep(LATE)


def test_a_function_that_takes_too_long_ends_at_its_deadline_and_the_span_says_that_it_goes_on(spans, gate):
    @task(timeout=SOON)
    def slow():
        gate.wait(LATE)

    with pytest.raises(RunTimeout, match=r"^task 'slow' took longer than its timeout of 0.05 s$"):
        slow()

    span = spans.one("task slow")
    assert (span.attributes[semconv.RUN_RESULT], span.status.status_code) == ("timeout", StatusCode.ERROR)
    assert (span.attributes[semconv.RUN_TIMEOUT], span.attributes[semconv.RUN_BODY_RUNNING]) == (SOON, True)
    assert (span.end_time - span.start_time) / 1e9 < LATE / 2


def test_so_does_one_that_blocks_in_c(spans):
    with pytest.raises(TimeoutError):
        task(task_name="slow", timeout=SOON)(lambda: time.sleep(2))()

    assert spans.one("task slow").attributes[semconv.RUN_BODY_RUNNING] is True


def test_a_coroutine_that_takes_too_long_is_cancelled_at_its_deadline(spans):
    cancelled = []

    @task(timeout=dt.timedelta(seconds=SOON))
    async def slow():
        try:
            await asyncio.sleep(LATE)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(RunTimeout, match="task 'slow' took longer") as caught:
        asyncio.run(slow())

    span = spans.one("task slow")
    assert (span.attributes[semconv.RUN_RESULT], span.attributes[semconv.RUN_BODY_RUNNING]) == ("timeout", False)
    assert cancelled == [True]
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("make", [lambda f: Flow(flow_name="slow", timeout=SOON).setup(f)], ids=["flow"])
def test_flows_have_them_too(spans, gate, make):
    for body in (sleeping, lambda: gate.wait(LATE)):
        with pytest.raises(RunTimeout, match="flow 'slow' took longer than its timeout"):
            make(body).execute()

    assert [span.attributes[semconv.RUN_RESULT] for span in spans.named("flow slow")] == ["timeout", "timeout"]


def test_what_ends_in_time_is_as_if_there_were_no_time_out(spans):
    error = ValueError("own")

    @task(timeout=LATE)
    def quick(number):
        if number < 0:
            raise error
        return number, threading.current_thread().daemon

    @task(timeout=LATE)
    async def async_quick(number):
        return number

    assert (quick(7), asyncio.run(async_quick(7))) == ((7, True), 7)
    with pytest.raises(ValueError, match="own") as caught:
        quick(-1)

    assert caught.value is error
    assert semconv.RUN_TIMEOUT not in spans.named("task quick")[0].attributes
    assert spans.one("task async_quick").attributes[semconv.RUN_RESULT] == "success"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration(1)])
def test_whatever_the_body_raises_in_its_thread_comes_out(error):
    def body():
        raise error

    with pytest.raises(type(error)) as caught:
        task(timeout=LATE)(body)()

    assert caught.value is error


def test_the_body_has_the_context_of_its_caller_and_what_it_does_belongs_to_the_run(spans):
    variable = contextvars.ContextVar("variable")

    @task
    def inner():
        return variable.get()

    @task(timeout=LATE)
    def outer(this_flow):
        print("printed")
        return inner(), this_flow.flow_name

    @flow
    def whole():
        variable.set("set")
        return outer()

    run = whole().execute()

    assert run.flow_return_value == ("set", "whole")
    assert spans.tree() == [("flow whole", "success", [("task outer", "success", [("task inner", "success", [])])])]
    assert spans.messages("task outer") == ["printed"]


def test_a_time_out_counts_for_each_attempt(spans, gate):
    calls = []

    @task(timeout=SOON, retries=2)
    def shaky():
        calls.append(1)
        if len(calls) < 3:
            gate.wait(LATE)
        return len(calls)

    assert shaky() == 3

    results = [("attempt shaky", result, []) for result in ("timeout", "timeout", "success")]
    assert spans.tree() == [("task shaky", "success", results)]
    attempts = spans.named("attempt shaky")
    assert [span.attributes.get(semconv.RUN_BODY_RUNNING) for span in attempts] == [True, True, None]
    assert semconv.RUN_BODY_RUNNING not in spans.one("task shaky").attributes


def test_what_an_abandoned_body_still_says_is_not_on_a_later_attempt(spans, gate):
    calls, spoken = [], threading.Event()

    @task(timeout=0.2, retries=1)
    def shaky(this_task):
        calls.append(1)
        if len(calls) == 1:
            gate.wait(LATE)
            this_task.log_info("late")
            spoken.set()
        else:
            gate.set()
            spoken.wait(LATE)

    flow(lambda: shaky(), flow_name="whole")().execute()

    assert spans.messages("task shaky") == ["late"]
    assert [[event.name for event in span.events] for span in spans.named("attempt shaky")] == [["exception"], []]


def test_what_an_abandoned_body_does_after_the_end_breaks_nothing(spans, gate):
    done = []

    @task
    def later():
        return 1

    @task(timeout=SOON, raise_on_error=False)
    def slow(this_task, this_flow):
        gate.wait(LATE)
        print("late")
        this_task.log_info("late")
        this_flow.log_info("late")
        this_task.add_task_artifact("late", key="late", data=1)
        done.append(later())

    run = flow(lambda: slow(), flow_name="whole")().execute()
    events = [len(span.events) for span in spans.spans]
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "otelflow-slow":
            thread.join(30)

    assert (run.status, done) == ("success", [1])
    ended = [span for span in spans.spans if span.name != "task later"]
    assert [len(span.events) for span in ended] == events
    assert spans.one("task later").start_time > spans.one("task slow").end_time


def test_the_inner_of_two_time_outs_ends_the_inner_run_and_the_outer_the_outer(spans):
    @task(timeout=LATE)
    async def patient():
        await asyncio.sleep(LATE)

    @flow(timeout=SOON)
    async def impatient():
        await patient()

    with pytest.raises(RunTimeout, match=r"flow 'impatient' took longer than its timeout of 0.05 s"):
        asyncio.run(impatient())

    assert spans.tree() == [("flow impatient", "timeout", [("task patient", "cancellation", [])])]


def test_what_runs_inside_an_abandoned_body_ends_when_it_ends(spans, gate):
    @task(timeout=LATE)
    def patient():
        gate.wait(LATE)

    @flow(timeout=SOON)
    def impatient():
        patient()

    with pytest.raises(RunTimeout, match="flow 'impatient' took longer"):
        impatient().execute()

    assert (spans.named("task patient"), spans.open_spans) == ([], 1)
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "otelflow-impatient":
            thread.join(30)
    assert spans.tree() == [("flow impatient", "timeout", [("task patient", "success", [])])]
    assert spans.one("task patient").end_time > spans.one("flow impatient").end_time


def test_a_cancellation_by_somebody_else_stays_one(spans):
    async def main():
        waiting = asyncio.create_task(task(task_name="slow", timeout=LATE)(sleeping)())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=10)
        return waiting.cancelled()

    assert asyncio.run(main())
    assert spans.one("task slow").attributes[semconv.RUN_RESULT] == "cancellation"


def test_a_time_out_of_the_body_itself_stays_its_own(spans):
    @task(timeout=LATE)
    async def own():
        async with asyncio.timeout(SOON):
            await asyncio.sleep(LATE)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(own())

    assert type(caught.value) is TimeoutError
    assert semconv.RUN_TIMEOUT not in spans.one("task own").attributes


def test_what_a_body_raises_when_it_is_cancelled_comes_out(spans):
    @task(timeout=SOON)
    async def slow():
        try:
            await asyncio.sleep(LATE)
        finally:
            raise ValueError("clean-up failed")

    with pytest.raises(ValueError, match="clean-up failed"):
        asyncio.run(slow())

    assert spans.one("task slow").attributes[semconv.RUN_RESULT] == "failure"


def test_trio_cancels_in_its_own_way(spans):
    trio = pytest.importorskip("trio")

    @task(timeout=SOON)
    async def slow():
        await trio.sleep(LATE)

    @task(timeout=LATE)
    async def quick():
        await trio.sleep(0)
        return 7

    with pytest.raises(RunTimeout):
        trio.run(slow)
    assert trio.run(quick) == 7

    assert [span.attributes[semconv.RUN_RESULT] for span in spans.spans] == ["timeout", "success"]
    assert spans.one("task slow").attributes[semconv.RUN_BODY_RUNNING] is False


def test_a_plain_function_that_returns_a_coroutine_is_told_that_it_has_no_time_out(caplog):
    @task(timeout=LATE)
    def step():
        return asyncio.sleep(0, "slept")

    async def main():
        return await step()

    assert asyncio.run(main()) == "slept"
    assert "'step' has returned something to await, for which its timeout does not count" in caplog.text


def test_a_body_whose_run_could_not_be_opened_has_its_time_out_all_the_same():
    body = Definition("@task", lambda: time.sleep(1), {"timeout": SOON}).body

    with pytest.raises(RunTimeout, match="task '<lambda>' took longer"):
        body()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a timer signal")
def test_ctrl_c_ends_the_wait_for_a_body(spans, gate):
    @task(timeout=LATE)
    def slow():
        gate.wait(LATE)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            slow()
    finally:
        signal.signal(signal.SIGALRM, before)

    span = spans.one("task slow")
    assert (span.attributes[semconv.RUN_RESULT], span.attributes[semconv.RUN_BODY_RUNNING]) == ("cancellation", True)


def test_without_a_thread_the_task_fails_and_says_what_it_needed_one_for(spans, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(RuntimeError, match="can't start new thread") as caught:
        task(task_name="slow", timeout=LATE)(sleeping_never)()

    assert caught.value.__notes__ == ["'sleeping_never' has a timeout, and so needs a thread of its own"]
    assert spans.one("task slow").attributes[semconv.RUN_RESULT] == "failure"


def sleeping_never():
    """Do nothing."""


def test_a_process_ends_while_an_abandoned_body_goes_on(program):
    program.run(
        """
        import time
        from otelflow import task

        @task(timeout=0.1)
        def slow():
            time.sleep(600)

        try:
            slow()
        except TimeoutError as error:
            print(error)
        """
    )

    assert program.out == "task 'slow' took longer than its timeout of 0.1 s\n", program.err


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="needs fork")
def test_a_forked_child_does_not_wait_for_a_body_of_its_parent(program):
    program.run(
        """
        import os, threading, time
        from otelflow import task

        started, gate = threading.Event(), threading.Event()

        @task(timeout=60)
        def slow():
            started.set()
            gate.wait(60)
            return "parent"

        @task(timeout=60)
        def quick():
            return "child"

        def fork():
            started.wait(60)
            child = os.fork()
            if not child:
                print(quick(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            gate.set()

        forking = threading.Thread(target=fork)
        forking.start()
        print(slow(), flush=True)
        forking.join()
        """
    )

    assert program.out == "child\nparent\n", program.err


def test_a_task_without_a_time_out_calls_its_function_itself():
    assert Definition("@task", sleeping_never, {"timeout": None}).body is sleeping_never


@pytest.mark.parametrize("timeout", [0, -1, True, float("inf"), "5", dt.timedelta(0)])
@pytest.mark.parametrize("decorator", [task, flow])
def test_a_time_out_that_is_no_time_is_refused_at_decoration(decorator, timeout):
    with pytest.raises(ConfigurationError, match="'sleeping_never': timeout must be a number of seconds above 0"):
        decorator(timeout=timeout)(sleeping_never)


def test_a_generator_with_a_time_out_is_refused():
    def numbers():
        yield 1

    with pytest.raises(ConfigurationError, match="numbers is a generator: timeout is for functions only"):
        task(timeout=3)(numbers)


def test_a_flow_that_took_too_long_waits_for_nothing_that_it_has_submitted(spans, gate):
    has_ended = threading.Event()

    @task
    def slow(number):
        gate.wait(5)
        has_ended.set()
        return number

    @flow(timeout=SOON)
    def waits():
        return slow.submit(1).result()

    with pytest.raises(RunTimeout):
        waits().execute()
    assert not has_ended.is_set()
    assert spans.one("flow waits").attributes[semconv.RUN_BODY_RUNNING] is True


def test_an_async_flow_that_took_too_long_waits_for_no_thread(spans, gate):
    has_ended = threading.Event()

    @task
    def slow(number):
        gate.wait(5)
        has_ended.set()
        return number

    @flow(timeout=SOON)
    async def waits():
        return await slow.submit(1)

    with pytest.raises(RunTimeout):
        asyncio.run(waits().execute_async())
    assert not has_ended.is_set()
    assert spans.one("flow waits").attributes[semconv.RUN_BODY_RUNNING] is True


class Held:
    """Something that a body is called with."""


def test_what_a_body_was_called_with_is_freed_with_its_run():
    @task(timeout=30)
    def body(held):
        return 1

    def call():
        held = Held()
        body(held)
        return weakref.ref(held)

    with no_collector():
        is_freed = call()() is None

    assert is_freed


@pytest.mark.parametrize("how", ["submitted", "called", "tried again", "async"])
def test_what_a_task_has_submitted_is_not_waited_for_after_its_deadline(spans, how):
    ends = []

    @task(retries=1, retry_delay=3_600)
    def fail():
        raise ValueError("not yet")

    @task(timeout=0.2, retries=int(how == "tried again"))
    def give_up():
        return fail.submit().result()

    @task(timeout=0.2)
    async def give_up_async():
        fail.submit()
        await asyncio.sleep(60)

    @flow
    def goes_on():
        if how == "submitted":
            return type(give_up.submit().exception())
        try:
            return asyncio.run(give_up_async()) if how == "async" else give_up()
        except RunTimeout as error:
            return type(error)

    thread = threading.Thread(target=lambda: ends.append(goes_on().execute().flow_return_value), daemon=True)
    thread.start()
    thread.join(60)

    assert ends == [RunTimeout]
    assert {result(span) for span in spans.named("task fail")} == {"cancellation"}
    assert result(spans.one("flow goes_on")) == "success"
