"""Who waits for whom: a ring of tasks is told so by name, what may end is left alone, and a time must be one."""

import asyncio
import concurrent.futures
import datetime as dt
import decimal
import pickle
import threading
import time

import pytest

import otelflow
from otelflow import as_completed, flow, task, wait
from otelflow.errors import CircularWait, ConfigurationError, UpstreamFailed
from otelflow.runners import ThreadPoolTaskRunner
from support.remote_tasks import double
from support.servers import wait_until
from support.spans import result

PATIENCE = 30


def ended(execute):
    """Return what *execute* returns or raises, in a thread: it might hang."""
    answer = concurrent.futures.Future()

    def run():
        try:
            answer.set_result(execute())
        except Exception as error:  # noqa: BLE001 it is raised where it is waited for
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(PATIENCE)


class Box(dict):
    """Where tasks find the futures of each other."""

    def wait_for(self, name):
        wait_until(lambda: name in self, PATIENCE)
        return self[name]

    async def wait_for_async(self, name):
        return await asyncio.to_thread(self.wait_for, name)


WAYS = {
    "result": lambda future: future.result(),
    "exception": lambda future: future.exception(),
    "wait": lambda future: future.wait(),
    "wait for several": lambda future: wait([double.submit(1), future]),
    "as_completed": lambda future: list(as_completed([future])),
    "argument of a call": double,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_waits_for_itself_is_told_so(spans, way):
    box = Box()

    @task
    def narcissus():
        return WAYS[way](box.wait_for("own"))

    @flow
    def mirrors():
        box["own"] = narcissus.submit()
        return box["own"].result()

    with pytest.raises(CircularWait, match="task 'narcissus' would wait for itself") as caught:
        ended(mirrors().execute)

    assert caught.value.names == ("narcissus", "narcissus")
    assert result(spans.one("task narcissus")) == "failure"
    assert result(spans.one("flow mirrors")) == "failure"


@pytest.mark.parametrize("runner", ["threads", ThreadPoolTaskRunner(max_workers=3)], ids=["threads", "three"])
def test_three_tasks_that_wait_for_each_other_are_named(spans, runner):
    box = Box()

    @task
    def wait_for(name):
        return box.wait_for(name).result()

    @flow(task_runner=runner)
    def ring():
        for name, other in ("a", "b"), ("b", "c"), ("c", "a"):
            box[name] = task(wait_for.__wrapped__, task_name=name).submit(other)
        return [type(box[name].exception(PATIENCE)) for name in "abc"]

    assert ended(ring().execute).flow_return_value == [CircularWait] * 3
    errors = {str(box[name].exception()) for name in "abc"}
    assert len(errors) >= 1
    (message, *_) = errors
    assert all(f"'{name}'" in message for name in "abc")


def test_a_task_that_is_to_run_after_the_one_that_waits_for_it_is_part_of_the_ring(spans):
    box = Box()

    @task
    def first():
        return box.wait_for("second").result()

    @flow
    def crossed():
        box["second"] = double.submit(first.submit())
        return box["second"].exception()

    error = ended(crossed().execute).flow_return_value
    assert isinstance(error, UpstreamFailed)
    assert isinstance(error.__cause__, CircularWait)
    assert error.__cause__.names == ("first", "double", "first")


@pytest.mark.parametrize("is_own_loop", [True, False], ids=["on a loop", "in threads"])
def test_coroutines_that_await_each_other_are_told_so(spans, is_own_loop):
    box = Box()

    @task
    async def left():
        return await (await box.wait_for_async("right"))

    @task
    async def right():
        return await (await box.wait_for_async("left"))

    def submit_both():
        box["left"], box["right"] = left.submit(), right.submit()

    @flow
    async def on_a_loop():
        submit_both()
        return await box["left"]

    @flow
    def in_threads():
        submit_both()
        return box["left"].result()

    def run():
        return asyncio.run(on_a_loop().execute_async()) if is_own_loop else in_threads().execute()

    with pytest.raises(CircularWait, match=r"would wait for '(left|right)', which waits for"):
        ended(run)

    assert {result(span) for span in spans.named("task left") + spans.named("task right")} == {"failure"}


def test_coroutines_that_await_each_other_for_a_time_are_left_alone(spans):
    box = Box()

    @task
    async def patient():
        other = await box.wait_for_async("other")
        try:
            async with asyncio.timeout(0.05):
                return await asyncio.shield(other)
        except TimeoutError:
            return "went on"

    @task
    async def other():
        return await box["patient"]

    @flow
    async def bounded():
        box["patient"], box["other"] = patient.submit(), other.submit()
        return await box["other"]

    assert ended(lambda: asyncio.run(bounded().execute_async())).flow_return_value == "went on"


def test_who_waits_for_a_time_is_left_alone(spans):
    box = Box()

    @task
    def patient():
        try:
            return box.wait_for("other").result(timeout=0.05)
        except TimeoutError:
            return "went on"

    @task
    def other():
        return box.wait_for("patient").result()

    @flow
    def bounded():
        box["patient"], box["other"] = patient.submit(), other.submit()
        return box["other"].result()

    assert ended(bounded().execute).flow_return_value == "went on"


@pytest.mark.parametrize("is_first", [True, False], ids=["the task first", "the end first"])
def test_a_flow_in_a_task_ends_without_what_waits_for_that_task(spans, caplog, is_first):
    box, may_wait = Box(), threading.Event()

    @task
    def wait_for_outer():
        box["waits"] = True
        if not is_first:
            may_wait.wait(PATIENCE)
        return box.wait_for("outer").result()

    @flow
    def inner():
        wait_for_outer.submit()
        box.wait_for("waits")
        if is_first:
            time.sleep(0.05)  # it waits by then, or a moment later: both orders end
        else:
            threading.Timer(0.1, may_wait.set).start()
        return "inner"

    @task
    def outer():
        return inner().execute().flow_return_value

    @flow
    def around():
        box["outer"] = outer.submit()
        return box["outer"].result()

    assert ended(around().execute).flow_return_value == "inner"
    assert "none could ever end" in caplog.text


def test_a_circular_wait_travels():
    error = CircularWait(["a", "b", "a"])

    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == str(error)
    assert copy.names == ("a", "b", "a")


# Threads that wait keep nobody waiting


@pytest.mark.parametrize("is_asked", [True, False], ids=["result", "end of the flow"])
def test_a_flow_in_a_task_may_have_the_executor_of_the_task(spans, is_asked):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        @flow(task_runner=pool)
        def inner(number):
            future = double.submit(number)
            return future.result() if is_asked else future

        @flow(task_runner=pool)
        def middle(number):
            return task(lambda: inner(number).execute().flow_return_value, task_name="run inner").submit().result()

        @flow(task_runner=pool)
        def outer():
            return task(lambda: middle(2).execute().flow_return_value, task_name="run middle").submit().result()

        value = ended(outer().execute).flow_return_value
        assert (value if is_asked else value.result(PATIENCE)) == 4


def test_a_flow_in_a_thread_of_an_executor_may_have_that_for_its_tasks(spans):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        @flow(task_runner=pool)
        def doubled():
            return double.submit(2).result()

        assert pool.submit(doubled().execute).result(PATIENCE).flow_return_value == 4


def test_a_task_of_a_flow_in_a_task_may_wait_for_one_that_waits_for_a_thread_of_the_outer_flow(spans):
    box = Box()

    @task
    def waits():
        return box.wait_for("later").result()

    @flow
    def inner():
        return waits.submit().result()

    @task
    def outer():
        box.wait_for("later")
        return inner().execute().flow_return_value

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def around():
        future = outer.submit()
        box["later"] = double.submit(2)
        return future.result()

    assert ended(around().execute).flow_return_value == 4


@pytest.mark.parametrize("is_in_task", [True, False], ids=["in a task", "in the flow"])
def test_futures_of_an_executor_may_be_among_those_that_are_waited_for(spans, is_in_task):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def look():
            gate = threading.Event()
            futures = [pool.submit(gate.wait, PATIENCE), double.submit(1)]
            threading.Timer(0.01, gate.set).start()
            return wait(futures)[0] == set(futures), set(as_completed(futures)) == set(futures)

        @flow
        def looks():
            return task(look).submit().result() if is_in_task else look()

        assert ended(looks().execute).flow_return_value == (True, True)


# Asyncio's own wait


@pytest.mark.parametrize("is_coroutine", [True, False], ids=["coroutine", "function"])
def test_wait_of_asyncio_takes_futures(spans, is_coroutine):
    @task
    async def halve_later(number):
        await asyncio.sleep(0)
        return number // 2

    halve = halve_later if is_coroutine else task(lambda number: number // 2, task_name="halve")

    @flow
    async def waits():
        futures = [halve.submit(4), halve.submit(6)]
        done, pending = await asyncio.wait_for(asyncio.wait(futures), PATIENCE)
        again, _ = await asyncio.wait_for(asyncio.wait(futures), PATIENCE)
        return {future.result() for future in done}, pending, done == again == set(futures)

    run = ended(lambda: asyncio.run(waits().execute_async()))

    assert run.flow_return_value == ({2, 3}, set(), True)


def test_wait_of_asyncio_returns_after_its_time_and_at_the_first_failure(spans):
    gate = threading.Event()

    @task
    def hold():
        gate.wait(PATIENCE)

    @task
    def fail():
        raise ValueError("broken")

    @flow
    async def waits():
        held = hold.submit()
        after_a_time = await asyncio.wait([held], timeout=0.01)
        futures = [held, fail.submit()]
        at_failure = await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION, timeout=PATIENCE)
        gate.set()
        return after_a_time == (set(), {held}), at_failure == ({futures[1]}, {held})

    assert ended(lambda: asyncio.run(waits().execute_async())).flow_return_value == (True, True)


def test_a_callback_that_was_removed_is_not_called():
    gate, calls = threading.Event(), []
    future = task(gate.wait, task_name="hold").submit(PATIENCE)
    future.add_done_callback(calls.append)
    future.add_done_callback(print)

    counts = future.remove_done_callback(calls.append), future.remove_done_callback(calls.append)
    gate.set()
    future.wait(PATIENCE)

    assert counts == (1, 0)
    assert future.remove_done_callback(print) == 0
    assert calls == []


# Times


NO_TIMES = {
    "text": "5",
    "bytes": b"1",
    "list": [1],
    "bool": True,
    "nan": float("nan"),
    "inf": float("inf"),
    "complex": 2 + 1j,
    "object": object(),
}


@pytest.mark.parametrize("timeout", NO_TIMES.values(), ids=NO_TIMES)
def test_a_time_that_is_none_is_refused_by_all_that_wait(timeout):
    future = double.submit(1)
    future.wait(PATIENCE)
    for refuse in (
        lambda: future.result(timeout),
        lambda: future.exception(timeout),
        lambda: future.wait(timeout),
        lambda: wait([future], timeout),
        lambda: list(as_completed([future], timeout)),
        lambda: double.map([]).result(timeout),
        lambda: double.map([]).wait(timeout),
    ):
        with pytest.raises(ConfigurationError, match="a future is waited for a number of seconds or a timedelta"):
            refuse()


@pytest.mark.parametrize(
    "timeout",
    [1e12, 10**400, dt.timedelta(days=999_999_999), decimal.Decimal(60), 60, 1.5e300],
    ids=["float", "int", "timedelta", "Decimal", "minute", "large float"],
)
def test_any_time_may_be_waited_for(timeout):
    gate = threading.Event()
    threading.Timer(0.05, gate.set).start()
    future = task(gate.wait, task_name="hold").submit(PATIENCE)

    assert future.result(timeout) is True
    assert wait([future], timeout)[0] == {future}
    assert list(as_completed([future], timeout)) == [future]


@pytest.mark.parametrize("timeout", [0, -1, -0.5, dt.timedelta(seconds=-3), float("-inf")], ids=str)
def test_who_is_beyond_a_deadline_waits_for_nothing(timeout):
    gate = threading.Event()
    future = task(gate.wait, task_name="hold").submit(PATIENCE)
    try:
        with pytest.raises(TimeoutError):
            future.result(timeout)
        assert wait([future], timeout) == (set(), {future})
    finally:
        gate.set()
        future.wait(PATIENCE)


def test_a_retry_delay_may_be_any_number():
    @task(retries=1, retry_delay=10**400)
    def once():
        return 1

    assert once() == 1
    assert otelflow.exponential_backoff(10**400)(1) > 0
