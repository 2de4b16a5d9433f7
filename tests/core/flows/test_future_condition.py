import asyncio
import concurrent.futures
import sys
import threading

import pytest

from otelflow import flow, task
from otelflow._core.flows.future import Future
from otelflow._core.flows.future_condition import Condition
from otelflow.runners import ThreadPoolTaskRunner

PATIENCE = 60


@task
def double(number):
    return 2 * number


def by_wait(futures):
    done, not_done = concurrent.futures.wait(futures, PATIENCE)
    assert not_done == set()
    return sorted(future.result() for future in done)


def by_as_completed(futures):
    return sorted(future.result() for future in concurrent.futures.as_completed(futures, PATIENCE))


def by_wrap_future(futures):
    async def awaited():
        return sorted(await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, futures)), PATIENCE))

    return asyncio.run(awaited())


def by_wrap_future_early(futures):
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        wrapped = [asyncio.wrap_future(future, loop=loop) for future in futures]

        async def awaited():
            return sorted(await asyncio.wait_for(asyncio.gather(*wrapped), PATIENCE))

        return runner.run(awaited())


def by_asyncio_wait(futures):
    async def awaited():
        done, _ = await asyncio.wait(map(asyncio.ensure_future, futures), timeout=PATIENCE)
        return sorted(future.result() for future in done)

    return asyncio.run(awaited())


@pytest.mark.parametrize(
    "waiting",
    [by_wait, by_as_completed, by_wrap_future, by_wrap_future_early, by_asyncio_wait],
    ids=lambda way: way.__name__,
)
def test_a_task_that_waits_as_the_standard_library_does_keeps_no_thread_from_what_it_waits_for(spans, waiting):
    @task
    def waits(number):
        return waiting(double.map([double.submit(number), number]))

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def waited():
        return waits.map([1, 2]).result()

    assert waited().execute().flow_return_value == [[2, 4], [4, 8]]
    assert len(spans.named("task double")) == 6


def test_a_flow_may_wait_as_the_standard_library_does(spans):
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def waits():
        return by_wait(double.map([1, 2]))

    assert waits().execute().flow_return_value == [2, 4]


def test_ctrl_c_while_the_lock_is_taken_leaves_it_to_nobody():
    future = Future("double")

    def interrupt(frame, event, argument):
        if event == "return" and frame.f_code.co_name == "__enter__":
            raise KeyboardInterrupt
        return interrupt

    sys.settrace(interrupt)
    try:
        future.done()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    looked = threading.Thread(target=future.done, daemon=True)
    looked.start()
    looked.join(PATIENCE)

    assert not looked.is_alive()


def test_who_waits_is_woken():
    future = Future("double")
    values = []
    waiting = threading.Thread(target=lambda: values.append(future.result(PATIENCE)), daemon=True)
    waiting.start()
    future.set_result(4)
    waiting.join(PATIENCE)

    assert values == [4]


@pytest.mark.parametrize("place", range(3))
def test_ctrl_c_while_the_standard_library_locks_many_ends_the_flow(spans, place):
    entered = []

    def interrupt(frame, event, argument):
        if frame.f_code.co_name == "__enter__" and frame.f_globals["__name__"] == "concurrent.futures._base":
            entered.append(event)
            if entered.count("line") == 3 + 2 * place:  # some are locked
                raise KeyboardInterrupt
        return interrupt

    gate = threading.Event()

    @task
    def waits(number):
        gate.wait(PATIENCE)
        return number

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
    def interrupted():
        futures = waits.map(range(3))
        sys.settrace(interrupt)
        try:
            concurrent.futures.wait(futures, PATIENCE)
        finally:
            sys.settrace(None)
            gate.set()

    ended = []

    def run():
        try:
            interrupted().execute()
        except KeyboardInterrupt:
            ended.append(True)

    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(PATIENCE)

    assert ended == [True]
    assert spans.one("flow interrupted").attributes["otelflow.run.result"] == "cancellation"


def test_ctrl_c_while_a_thread_begins_to_help_leaves_nothing_locked(monkeypatch):
    @task
    def waits(number):
        futures = double.map([number, number])
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupt)
            with pytest.raises(KeyboardInterrupt):
                concurrent.futures.wait(futures, PATIENCE)
        assert by_wait(futures) == [2, 2]
        looked = threading.Thread(target=lambda: [future.done() for future in futures], daemon=True)
        looked.start()
        looked.join(PATIENCE)
        return looked.is_alive()

    def interrupt(thread):
        raise KeyboardInterrupt

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def interrupted():
        return waits.submit(1).result()

    assert interrupted().execute().flow_return_value is False


def test_it_is_taken_by_the_words_of_a_lock():
    condition = Condition()

    assert condition.acquire(blocking=False)
    assert condition.acquire(timeout=1)
    condition.release()
    condition.release()
