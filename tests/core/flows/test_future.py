"""Futures: what comes of a task that was submitted, and how it is waited for."""

import asyncio
import concurrent.futures
import gc
import pickle
import threading
import tracemalloc

import pytest

from otelflow import Future, as_completed, flow, task, wait
from otelflow._core.flows.future import FutureList
from otelflow.errors import BlockedLoop, UpstreamFailed
from otelflow.runners import ThreadPoolTaskRunner
from support.remote_tasks import double, double_later
from support.servers import wait_until
from support.spans import exceptions, result

PATIENCE = 60


@task
def fail(number=0):
    raise ValueError(f"no {number}")


def test_a_future_is_one_of_concurrent_futures_and_has_the_result(spans):
    @flow
    def submits():
        future = double.submit(3)
        done, not_done = concurrent.futures.wait([future], timeout=30)
        return isinstance(future, Future), done == {future}, not_done, future.result(), future.task_name

    assert submits().execute().flow_return_value == (True, True, set(), 6, "double")
    assert spans.tree() == [("flow submits", "success", [("task double", "success", [])])]


def test_an_exception_comes_back_as_itself_and_stands_once_in_the_trace(spans):
    errors = []

    @task
    def fail_with():
        errors.append(ValueError("itself"))
        raise errors[0]

    @flow
    def submits():
        return fail_with.submit().result()

    with pytest.raises(ValueError, match="itself") as caught:
        submits().execute()

    assert caught.value is errors[0]
    assert exceptions(spans) == [("task fail_with", "ValueError")]
    assert spans.tree() == [("flow submits", "failure", [("task fail_with", "failure", [])])]


@pytest.mark.parametrize("error", [TimeoutError("late"), KeyError("k"), ConnectionError("gone")])
def test_await_raises_the_very_exception_too(error):
    @task
    def raises():
        raise error

    @flow
    async def awaits():
        return await raises.submit()

    with pytest.raises(type(error)) as caught:
        asyncio.run(awaits())

    assert caught.value is error


def test_await_takes_a_future_of_a_thread_and_one_of_the_loop(spans):
    @flow
    async def awaits():
        return await double.submit(1), await double_later.submit(2), await double_later.map([3, 4])

    assert asyncio.run(awaits()).flow_return_value == (2, 4, [6, 8])


def test_waiting_for_a_task_of_the_own_loop_is_an_error_that_names_the_cure():
    @flow
    async def blocks():
        return double_later.submit(1).result()

    with pytest.raises(BlockedLoop, match=r"'double_later' .* await its future"):
        asyncio.run(blocks())


def test_a_result_that_does_not_come_in_time_is_a_timeout_and_the_task_goes_on(spans):
    gate = threading.Event()
    task_that_waits = task(gate.wait, task_name="gate")

    @flow
    def impatient():
        future = task_that_waits.submit(30)
        try:
            future.result(timeout=0.01)
        except TimeoutError:
            gate.set()
        return future.result(timeout=30)

    assert impatient().execute().flow_return_value is True
    assert result(spans.one("task gate")) == "success"


def test_what_was_cancelled_before_it_ran_has_a_span_that_says_so(spans):
    gate, begun = threading.Event(), threading.Event()

    @task
    def hold():
        begun.set()
        gate.wait(30)

    @flow(task_runner=concurrent.futures.ThreadPoolExecutor(1))
    def cancels():
        holder, waiting = hold.submit(), double.submit(1)
        begun.wait(30)
        answers = holder.cancel(), waiting.cancel(), waiting.cancelled()
        gate.set()
        return answers

    assert cancels().execute().flow_return_value == (False, True, True)
    assert result(spans.one("task double")) == "cancellation"
    assert result(spans.one("task hold")) == "success"


def test_a_task_on_the_loop_is_cancelled_while_it_runs(spans):
    @task
    async def wait_for_ever():
        await asyncio.Event().wait()

    @flow
    async def cancels():
        future = wait_for_ever.submit()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return future.cancel()

    assert asyncio.run(cancels()).flow_return_value is True
    assert spans.tree() == [("flow cancels", "success", [("task wait_for_ever", "cancellation", [])])]


def test_awaiting_what_is_cancelled_is_a_cancellation(spans):
    @task
    async def wait_for_ever():
        await asyncio.Event().wait()

    @flow
    async def cancels():
        future = wait_for_ever.submit()
        future.cancel()
        await future

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancels())


def test_as_completed_yields_the_first_that_ends_first():
    gate = threading.Event()

    @task
    def second():
        gate.wait(30)
        return 2

    @task
    def first():
        return 1

    @flow
    def in_order():
        numbers = []
        for future in as_completed([second.submit(), first.submit()]):
            numbers.append(future.result())
            gate.set()
        return numbers

    assert in_order().execute().flow_return_value == [1, 2]


def test_wait_tells_what_has_ended_and_what_has_not():
    gate = threading.Event()
    hold = task(gate.wait, task_name="hold")

    @flow
    def waits():
        futures = [double.submit(1), hold.submit(30)]
        futures[0].wait()
        done, not_done = wait(futures, timeout=0.01)
        gate.set()
        futures[1].wait()
        return done == {futures[0]}, not_done == {futures[1]}, wait(futures)[1]

    assert waits().execute().flow_return_value == (True, True, set())


def test_a_callback_is_called_with_the_future():
    called = []

    @flow
    def calls_back():
        future = double.submit(1)
        future.add_done_callback(called.append)
        return future

    future = calls_back().execute().flow_return_value
    assert called == [future]


@pytest.mark.parametrize("error", [ValueError("broken"), asyncio.CancelledError(), SystemExit(3)])
@pytest.mark.parametrize("waits", [wait, concurrent.futures.wait])
def test_who_waits_for_all_does_not_return_when_one_has_failed(waits, error):
    returned, futures = threading.Event(), []

    @task
    def fail():
        wait_until(lambda: len(futures) == 3 and futures[1]._waiters)
        raise error

    @task
    def goes_on():
        return returned.wait(0.3)  # where who waits returns too early, it comes sooner

    @flow
    def both():
        futures.extend([goes_on.submit(), fail.submit(), goes_on.submit()])
        done, left = waits(futures)
        returned.set()
        return len(done), len(left), [future.result() for future in done if future.exception() is None]

    assert both().execute().flow_return_value == (3, 0, [False, False])


def test_several_threads_wait_for_one_future_each_in_its_own_way():
    future, done = Future("job"), []
    waits = [
        lambda: future.result(PATIENCE),
        lambda: future.exception(PATIENCE),
        lambda: future.wait(PATIENCE),
        lambda: concurrent.futures.wait([future], PATIENCE),
        lambda: list(concurrent.futures.as_completed([future], PATIENCE)),
    ]
    with pytest.raises(TimeoutError):
        future.result(0.001)
    threads = [threading.Thread(target=lambda look=look: (look(), done.append(future.done()))) for look in waits]
    for thread in threads:
        thread.start()

    future.set_result(3)
    for thread in threads:
        thread.join(PATIENCE)

    assert done == [True] * 5
    assert future.result() == 3


def test_a_future_takes_little_memory_while_nobody_waits_for_it():
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        futures = [Future("job") for _ in range(1_000)]
        size = (tracemalloc.get_traced_memory()[0] - before) / len(futures)
    finally:
        tracemalloc.stop()

    assert size < 600, "that of the standard library takes 1,500"


def test_a_future_stays_in_its_process():
    future = double.submit(1)

    with pytest.raises(TypeError, match=r"'double' .* send its result\(\)"):
        pickle.dumps(future)
    assert future.result(30) == 2


def test_what_waits_for_a_failure_is_skipped_and_says_what_failed_first(spans):
    @flow
    def chain():
        last = double.submit(double.submit(fail.submit(1)))
        return last.exception()

    error = chain().execute().flow_return_value
    assert isinstance(error, UpstreamFailed)
    assert str(error) == ("task 'double' was not run: task 'fail', which it waits for, failed with ValueError: no 1")
    assert isinstance(error.__cause__, ValueError)
    assert [result(span) for span in spans.spans if span.name == "task double"] == ["skip", "skip"]


def test_an_exception_that_says_it_is_false_is_told_as_any_other(spans):
    class Empty(Exception):
        def __len__(self):
            return 0

    @task
    def refuse():
        raise Empty("no rows")

    @flow
    def chain():
        return double.submit(refuse.submit()).exception()

    assert isinstance(chain().execute().flow_return_value.__cause__, Empty)
    assert {span.status.status_code.name for span in spans.spans if span.name == "task double"} == {"UNSET"}


def test_a_failure_that_nobody_asks_for_is_said_and_counted_and_the_flow_succeeds(spans, warnings_said):
    @flow
    def forgets():
        fail.map([1, 2])
        return "done"

    assert forgets().execute().flow_return_value == "done"
    (message,) = warnings_said.messages
    assert message.startswith("2 of the submitted tasks failed and nobody asked for the result; the first was 'fail'")
    assert spans.one("flow forgets").attributes["otelflow.flow.tasks.failed"] == 2


@pytest.mark.parametrize("how", ["result", "exception", "wait", "in time"])
def test_what_would_need_the_loop_that_waits_for_it_is_refused(how):
    waits = {
        "result": lambda future: future.result(),
        "exception": lambda future: future.exception(),
        "wait": lambda future: wait([future]),
        "in time": lambda future: future.result(30),
    }

    @flow
    async def blocks():
        last = double.submit(double.submit(double_later.submit(1)))
        with pytest.raises(BlockedLoop):
            waits[how](last)
        return await last

    run = asyncio.run(asyncio.wait_for(blocks().execute_async(), PATIENCE))
    assert run.flow_return_value == 8


def test_who_no_longer_awaits_a_list_of_futures_awaits_none_of_them():
    ended = []

    @task
    async def hold(number):
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ended.append(number)

    @flow
    async def gives_up():
        futures = hold.map([1, 2, 3])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await futures
        await asyncio.sleep(0)
        return [future.cancelled() for future in futures]

    run = asyncio.run(asyncio.wait_for(gives_up().execute_async(), PATIENCE / 2))
    assert run.flow_return_value == [True] * 3
    assert sorted(ended) == [1, 2, 3]


def test_one_that_fails_in_a_list_leaves_the_others_alone():
    @flow
    async def awaits():
        futures = FutureList([fail.submit(), double_later.submit(1)])
        with pytest.raises(ValueError, match="no 0"):
            await futures
        return await futures[1]

    assert asyncio.run(awaits().execute_async()).flow_return_value == 2


@pytest.mark.parametrize("moment", ["before it begins", "while it runs"])
def test_a_flow_ends_though_the_program_has_set_a_result_itself(spans, moment):
    begun, gate = threading.Event(), threading.Event()

    @task
    def waits(number):
        begun.set()
        gate.wait(PATIENCE)
        return number

    @flow(task_runner=ThreadPoolTaskRunner(1))
    def sets():
        futures = waits.map([1, 2])
        assert begun.wait(PATIENCE)
        future = futures[moment == "before it begins"]
        future.set_result(99)
        gate.set()
        return futures.result()

    running = threading.Thread(target=lambda: sets().execute(), daemon=True)
    running.start()
    running.join(PATIENCE)

    assert not running.is_alive()
    assert spans.one("flow sets").attributes["otelflow.run.result"] == "success"
    expected = ["cancellation", "success"] if moment == "before it begins" else ["success", "success"]
    assert sorted(span.attributes["otelflow.run.result"] for span in spans.named("task waits")) == expected


def test_it_has_all_that_one_of_the_standard_library_begins_with():
    ours, theirs = vars(Future("double")), vars(concurrent.futures.Future())

    assert theirs.keys() <= ours.keys()
    assert [ours[name] for name in theirs if name != "_condition"] == [
        value for name, value in theirs.items() if name != "_condition"
    ]


def test_a_task_that_was_not_run_is_not_where_its_flow_failed_and_shows_no_address(spans):
    @task
    def fetch(name):
        raise ConnectionError(f"nobody there: {name}")

    @task(capture_parameters=True)
    def publish(rows):
        return rows

    @flow
    def shop():
        return publish.submit(fetch.submit("cleo")).result()

    with pytest.raises(UpstreamFailed):
        shop().execute()

    span = spans.one("flow shop")
    assert span.attributes["otelflow.flow.failed_in"] == spans.one("task fetch").name
    assert span.status.description.startswith("task fetch: ")
    shown = [text for text in map(str, spans.one("task publish").attributes.values()) if "Future" in text]
    assert shown == ["<Future of task 'fetch', finished>"]
    assert repr(task(abs).submit(-1)).startswith("<Future of task 'abs', ")


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_looks_at_a_task_that_was_skipped_has_asked_for_the_failure_that_it_waits_for(caplog, when):
    failing = threading.Event()

    @task
    def fail():
        assert failing.wait(10)
        raise ValueError("no")

    @flow
    def asking():
        last = use.submit(use.submit(fail.submit()))
        if when == "after":
            failing.set()
            concurrent.futures.wait([last], 10)
        else:
            threading.Timer(0.05, failing.set).start()
        return last.exception()

    @task
    def use(value):
        return value

    assert isinstance(asking().execute().flow_return_value, UpstreamFailed)
    assert "nobody asked" not in caplog.text
