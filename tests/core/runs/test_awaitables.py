"""A plain function that returns something to be awaited: its run ends with that, where it can be known."""

import asyncio
import types

import pytest

from otelflow import Task, flow, task


async def work(error=None):
    await asyncio.sleep(0.02)
    if error is not None:
        raise error
    return 42


class Later:
    """What a compiled or a hand-written coroutine looks like from outside."""

    def __init__(self, error=None):
        self.error = error

    def __await__(self):
        return work(self.error).__await__()


class Compiled(Later):
    """With what a coroutine of Cython has besides."""

    gi_frame = cr_code = None

    def send(self, value): ...

    def throw(self, error): ...

    def close(self): ...


@types.coroutine
def by_generator(error=None):
    return (yield from work(error).__await__())


MAKE = {
    "generator": by_generator,
    "compiled": Compiled,
    "task": lambda error=None: asyncio.ensure_future(work(error)),
    "gather": lambda error=None: asyncio.gather(work(error)),
    "object": Later,
    "coroutine": work,
}


@pytest.mark.parametrize("kind", MAKE)
def test_a_task_that_returns_an_awaitable_ends_with_it(spans, kind):
    starts = task(task_name="starts")(lambda error=None: MAKE[kind](error))

    async def main():
        value = await starts()
        with pytest.raises(ZeroDivisionError):
            await starts(ZeroDivisionError())
        await asyncio.sleep(0)
        return value

    assert asyncio.run(main()) in (42, [42])
    assert [root.result for root in spans.tree()] == ["success", "failure"]
    assert all(span.end_time - span.start_time > 15_000_000 for span in spans.spans)


def test_an_exception_of_a_future_stays_inside_where_that_was_asked_for(spans):
    @task(raise_on_error=False)
    def start():
        return asyncio.ensure_future(work(LookupError("no")))

    async def main():
        value = await start()
        (other,) = await asyncio.gather(start())
        return value, other

    assert asyncio.run(main()) == (None, None)
    assert spans.tree() == [("task start", "failure", [])] * 2


def test_a_future_that_is_cancelled_is_a_cancellation(spans):
    starts = task(task_name="starts")(lambda: asyncio.ensure_future(work()))

    async def main():
        future = starts()
        await asyncio.sleep(0)
        future.cancel()
        await asyncio.sleep(0.01)

    asyncio.run(main())

    assert spans.tree() == [("task starts", "cancellation", [])]


@pytest.mark.parametrize("kind", MAKE)
def test_a_flow_that_returns_an_awaitable_ends_with_it(spans, kind):
    @flow
    def starts():
        return MAKE[kind]()

    async def main():
        return (await starts()).flow_return_value

    assert asyncio.run(main()) in (42, [42])
    assert spans.tree() == [("flow starts", "success", [])]


def test_what_can_do_more_than_be_awaited_comes_out_as_it_is(spans):
    class Query(Later):
        def filter(self):
            return self

    class Connection(Later):
        async def __aenter__(self):
            return self

    class Both(Later):
        def __aiter__(self):
            return self

    for kind in (Query, Connection, Both):
        value = kind()
        assert task(lambda value=value: value)() is value


def test_a_flow_that_a_task_returns_is_not_run(spans):
    inner = flow(lambda: 1)
    make = task(task_name="make")(lambda: inner())

    made = make()

    assert made.status is None
    assert made.execute().flow_return_value == 1


def test_an_awaitable_may_be_awaited_again(spans):
    starts = task(task_name="starts")(lambda: Later())

    async def main():
        later = starts()
        return await later, await later

    assert asyncio.run(main()) == (42, 42)
    assert spans.tree() == [("task starts", "success", [])]


def test_a_plain_generator_is_no_awaitable(spans):
    value = (number for number in range(3))

    assert task(lambda: value)() is value


def test_a_coroutine_made_of_a_generator_is_awaited_wherever_it_is_executed(spans):
    async def main():
        return await Task(task_target=by_generator).execute__async()

    assert asyncio.run(main()) == 42
    assert asyncio.run(Task(task_target=by_generator).execute__sync()) == 42
    assert flow(by_generator)().execute().flow_return_value == 42
    assert [root.result for root in spans.tree()] == ["success"] * 3
    assert all(span.end_time - span.start_time > 10_000_000 for span in spans.spans)
