import asyncio
import threading
from dataclasses import dataclass

import pytest

from otelflow import Flow, flow, task, unmapped
from otelflow.errors import BlockedLoop, UpstreamFailed
from otelflow.results import MemoryStorage
from support.programs import run_python

PATIENCE = 60


@task
def double(number):
    return 2 * number


@task
async def doubled_soon(number):
    await asyncio.sleep(0)
    return 2 * number


@task
def fail():
    raise ValueError("broken")


@task(task_run_name="of {value}", capture_parameters=True)
def same(value, *values, **named):
    return (value, *values, *named.values()) if values or named else value


@task
async def same_soon(value):
    return value


@dataclass
class Order:
    price: object


def linked(span):
    return [link.context.span_id for link in span.links]


def test_a_task_that_is_called_with_a_future_gets_its_result(spans):
    gate = threading.Event()

    @task
    def late():
        gate.wait(PATIENCE)
        return 3

    @flow
    def calls():
        future = late.submit()
        threading.Timer(0.01, gate.set).start()
        return same(future), same([future], {"key": future}, order=Order(future))

    assert calls().execute().flow_return_value == (3, ([3], {"key": 3}, Order(3)))
    plain, nested = spans.named("task same")
    origin = spans.one("task late").context.span_id
    assert set(linked(plain)) == set(linked(nested)) == {origin}
    assert plain.attributes["otelflow.task.run.name"] == "of 3"
    assert plain.attributes["otelflow.run.parameter.value"] == "3"


def test_a_coroutine_that_is_called_with_futures_awaits_them(spans):
    @flow
    async def calls():
        return await same_soon([doubled_soon.submit(1), double.submit(2)])

    assert asyncio.run(calls().execute_async()).flow_return_value == [2, 4]
    assert len(linked(spans.one("task same_soon"))) == 2


def test_a_generator_gets_the_results(spans):
    @task
    def each(values):
        yield from values

    @flow
    def calls():
        return list(each(double.map([1, 2])))

    assert calls().execute().flow_return_value == [2, 4]
    assert len(linked(spans.one("task each"))) == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_a_task_that_is_called_with_what_has_failed_is_not_run(spans, is_async):
    if is_async:

        @flow
        async def calls():
            await same_soon(fail.submit())
    else:

        @flow
        def calls():
            same(fail.submit())

    with pytest.raises(UpstreamFailed, match="was not run: task 'fail', which it waits for, failed") as caught:
        asyncio.run(calls().execute_async()) if is_async else calls().execute()

    assert isinstance(caught.value.__cause__, ValueError)
    span = spans.one("task same_soon" if is_async else "task same")
    assert span.attributes["otelflow.run.result"] == "skip"
    assert linked(span) == [spans.one("task fail").context.span_id]


def test_one_that_may_fail_returns_nothing_then(spans, caplog):
    @task(raise_on_error=False)
    def lenient(value):
        return value

    @flow
    def calls():
        return lenient(fail.submit())

    assert calls().execute().flow_return_value is None
    assert spans.one("task lenient").attributes["otelflow.run.result"] == "skip"
    assert "nobody asked" not in caplog.text


def test_a_plain_function_does_not_block_the_loop_that_runs_what_it_waits_for(spans):
    @flow
    async def calls():
        future = doubled_soon.submit(1)
        with pytest.raises(BlockedLoop):
            same(future)
        return same(await future)

    assert asyncio.run(calls().execute_async()).flow_return_value == 2


def test_a_task_waits_for_no_thread_that_it_takes_itself(spans):
    from otelflow.runners import ThreadPoolTaskRunner

    @task
    def outer(number):
        return same(double.submit(number))

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def calls():
        return outer.map([1, 2]).result()

    assert calls().execute().flow_return_value == [2, 4]


def test_an_argument_that_tells_nothing_of_itself_stays_what_it_is(spans):
    class Proxy(list):
        def __iter__(self):
            raise LookupError("not bound")

        @property
        def __class__(self):
            raise LookupError("not bound")

    proxy = Proxy([1])

    @flow
    def calls():
        double.submit(1).result()
        return same(proxy) is proxy

    assert calls().execute().flow_return_value is True


@flow(flow_run_name="of {value}", capture_parameters=True)
def priced(value):
    return value


def test_a_flow_that_is_called_with_futures_gets_their_results_and_is_linked(spans):
    @flow(execute_on_call=True)
    def called(order):
        return order.price

    @flow
    def each(values):
        yield from values

    @flow
    def orders():
        future = double.submit(1)
        nested = Flow().setup(lambda values: values["a"], {"a": future}).execute().flow_return_value
        return (
            priced(future).execute().flow_return_value,
            called(Order(future)),
            nested,
            [*each([future]).execute().flow_return_value],
        )

    class Orders(Flow):
        def main(self, value):
            return value

    @flow
    def of_class():
        return Orders().setup(value=double.submit(3)).execute().flow_return_value

    assert orders().execute().flow_return_value == (2, 2, 2, [2])
    assert of_class().execute().flow_return_value == 6
    origin = spans.named("task double")[0].context.span_id
    assert [linked(span) for span in (spans.one("flow priced"), spans.one("flow called"))] == [[origin]] * 2
    attributes = spans.one("flow priced").attributes
    assert attributes["otelflow.flow.run.name"] == "of 2"
    assert attributes["otelflow.run.parameter.value"] == "2"


def test_a_coroutine_flow_awaits_the_futures_that_it_is_called_with(spans):
    @flow
    async def soon(values):
        return values

    @flow
    async def orders():
        future = doubled_soon.submit(1)
        awaited = (await soon([future])).flow_return_value
        plain = (await priced(double.submit(2)).execute_async()).flow_return_value
        with pytest.raises(BlockedLoop):
            priced(doubled_soon.submit(3)).execute()
        return awaited, plain

    assert asyncio.run(orders().execute_async()).flow_return_value == ([2], 4)
    assert len(linked(spans.one("flow soon"))) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_flow_that_is_called_with_what_has_failed_is_not_run(spans, is_async):
    @flow
    def orders():
        run = priced(fail.submit())
        asyncio.run(run.execute_async()) if is_async else run.execute()

    with pytest.raises(UpstreamFailed, match="flow 'priced' was not run: task 'fail', which it waits for") as caught:
        orders().execute()

    assert isinstance(caught.value.__cause__, ValueError)
    span = spans.one("flow priced")
    assert span.attributes["otelflow.run.result"] == "skip"
    assert linked(span) == [spans.one("task fail").context.span_id]


def test_a_flow_that_was_called_with_a_future_is_resumed_with_its_result(spans):
    storage, obstacles = MemoryStorage(), ["down"]

    @flow(persist_result=True, result_storage=storage)
    def kept(value):
        if obstacles:
            raise LookupError(obstacles.pop())
        return value

    @flow
    def orders():
        run = kept([double.submit(4)])
        with pytest.raises(LookupError):
            run.execute()
        return run.flow_id

    run_id = orders().execute().flow_return_value

    assert kept.resume(run_id).execute().flow_return_value == [8]


@pytest.mark.parametrize("is_submitted", [True, False], ids=["submitted", "called"])
def test_what_is_unmapped_is_given_whole_to_a_call_that_is_no_map(spans, is_submitted):
    @flow(capture_parameters=True)
    def calls(number):
        if is_submitted:
            return number, same.submit(unmapped(3)).result(), same.submit(1, other=unmapped(4)).result()
        return number, same(unmapped(3)), same(1, other=unmapped(4))

    run = calls(unmapped(2)).execute()

    assert run.flow_return_value == (2, 3, (1, 4))
    assert spans.one("flow calls").attributes["otelflow.run.parameter.number"] == "2"
    assert spans.named("task same")[0].attributes["otelflow.task.run.name"] == "of 3"


def test_what_is_unmapped_is_given_whole_in_a_program_that_submits_nothing(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("from otelflow import task, unmapped\nprint(task(abs)(unmapped(-3)))\n")

    assert run_python(program).stdout == "3\n"
