"""Functions, coroutines and generators on real loops: awaited, sent to, closed, collected, never begun."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import sys
import threading
import traceback
import types
import weakref

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from otelflow import Flow, flow, task
from otelflow._core.runs import drivers
from otelflow._core.runs.current import current_run
from support.flows import ASYNC_LEAF, LEAF, async_leaf, leaf
from support.garbage import no_collector
from support.spans import exceptions, result


@task
async def fails(error):
    await asyncio.sleep(0)
    raise error


@task
async def works():
    await asyncio.sleep(0)
    return 1


@pytest.mark.parametrize("stop", ["close", "del"])
def test_a_coroutine_that_is_closed_on_its_way_is_a_cancellation(spans, stop):
    waiting = works()
    waiting.send(None)
    if stop == "close":
        waiting.close()
    else:
        del waiting
        gc.collect()

    span = spans.one("task works")
    assert (result(span), span.attributes["error.type"]) == ("cancellation", "GeneratorExit")
    assert span.status.status_code is StatusCode.UNSET
    assert current_run() is None


def test_a_coroutine_that_was_never_awaited_is_no_run(spans):
    works().close()

    assert spans.tree() == []
    assert spans.open_spans == 0


def test_a_coroutine_may_be_closed_in_another_context_and_in_another_thread(spans):
    for closer in (lambda call: contextvars.copy_context().run(call), in_thread):
        waiting = contextvars.copy_context().run(start, works)
        closer(waiting.close)

    assert [result(span) for span in spans.spans] == ["cancellation", "cancellation"]
    assert current_run() is None
    assert trace.get_current_span() is trace.INVALID_SPAN


def start(function):
    waiting = function()
    waiting.send(None)
    return waiting


def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(5)


@task
def counts():
    yield 1
    yield 2


@task
async def counts_async():
    yield 1
    yield 2


@pytest.mark.parametrize("stop", ["close", "del", "break"])
def test_a_generator_that_is_left_early_is_a_success_that_says_so(spans, stop):
    if stop == "break":
        for _ in counts():
            break
    else:
        counting = counts()
        next(counting)
        if stop == "close":
            counting.close()
        else:
            del counting
    gc.collect()

    span = spans.one("task counts")
    assert (result(span), span.attributes["otelflow.generator.closed_early"]) == ("success", True)
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert "error.type" not in span.attributes


def test_an_async_generator_that_is_left_early_is_a_success_that_says_so(spans):
    async def main():
        async for _ in counts_async():
            break
        await asyncio.sleep(0.01)  # the loop closes it when it comes round
        counting = counts_async()
        await anext(counting)
        await counting.aclose()

    asyncio.run(main())
    gc.collect()

    assert [result(span) for span in spans.spans] == ["success", "success"]
    assert [span.attributes["otelflow.generator.closed_early"] for span in spans.spans] == [True, True]


@pytest.mark.parametrize("function", [counts, counts_async])
def test_a_generator_that_nobody_begins_is_no_run(spans, function):
    function()
    gc.collect()

    assert spans.tree() == []
    assert spans.open_spans == 0


def test_a_generator_that_raises_when_it_is_closed_is_a_failure(spans):
    @task
    def messy():
        try:
            yield 1
        finally:
            raise OSError("cannot clean up")

    generator = messy()
    next(generator)
    with pytest.raises(OSError, match="cannot clean up"):
        generator.close()

    span = spans.one("task messy")
    assert result(span) == "failure"
    assert exceptions(spans) == [("task messy", "OSError")]


def test_a_generator_takes_what_is_sent_and_thrown_and_is_current_only_in_its_steps(spans):
    seen = []

    @task
    def conversation():
        got = yield trace.get_current_span().get_span_context().span_id
        try:
            yield got
        except KeyError as error:
            seen.append(error)
            yield "caught"
        return "end"

    talking = conversation()
    inside = next(talking)
    between = trace.get_current_span()
    error = KeyError("thrown in")

    assert talking.send("sent") == "sent"
    assert talking.throw(error) == "caught"
    with pytest.raises(StopIteration) as end:
        next(talking)

    assert end.value.value == "end"
    assert seen == [error]
    assert between is trace.INVALID_SPAN
    span = spans.one("task conversation")
    assert inside == span.context.span_id
    assert (result(span), span.events) == ("success", ())


def test_an_exception_thrown_into_a_generator_comes_out_as_it_was_and_is_recorded(spans):
    error = ValueError("thrown in")
    counting = counts()
    next(counting)
    with pytest.raises(ValueError, match="thrown in") as raised:
        counting.throw(error)

    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert result(spans.one("task counts")) == "failure"
    assert exceptions(spans) == [("task counts", "ValueError")]


def test_an_async_generator_takes_what_is_sent_and_thrown(spans):
    @task
    async def conversation():
        try:
            got = yield 1
            yield got
        except KeyError:
            yield "caught"

    async def main():
        talking = conversation()
        items = [await anext(talking), await talking.asend("sent"), await talking.athrow(KeyError("in"))]
        return [*items, [item async for item in talking]]

    assert asyncio.run(main()) == [1, "sent", "caught", []]

    assert spans.tree() == [("task conversation", "success", [])]


def test_a_flow_of_a_generator_ends_with_it_and_its_tasks_are_inside(spans):
    @task
    def part(number):
        return number

    @flow
    def pieces():
        yield part(1)
        yield part(2)

    run = pieces().execute()
    assert (spans.tree(), run.status) == ([], None)
    assert list(run.flow_return_value) == [1, 2]

    assert spans.tree() == [
        ("flow pieces", "success", [("task part", "success", []), ("task part", "success", [])]),
    ]
    assert run.status == "success"


def test_two_generators_in_turns_keep_their_own_children(spans):
    @task
    def leaf(name):
        return name

    def numbered(name):
        @task(task_name=name)
        def numbers():
            yield leaf(name)
            yield leaf(name)

        return numbers()

    assert list(zip(numbered("left"), numbered("right"), strict=True)) == [("left", "right")] * 2

    leaves = [("task leaf", "success", [])] * 2
    assert spans.tree() == [("task left", "success", leaves), ("task right", "success", leaves)]


def test_keyboard_interrupt_on_a_loop_of_its_own_comes_out_of_execute(spans):
    interrupt = KeyboardInterrupt("ctrl-c")

    @flow
    async def interrupted():
        await fails(interrupt)

    with pytest.raises(KeyboardInterrupt) as raised:
        interrupted().execute()

    assert raised.value is interrupt
    assert spans.tree() == [("flow interrupted", "cancellation", [("task fails", "cancellation", [])])]
    assert exceptions(spans) == [("task fails", "KeyboardInterrupt")]


def test_an_exception_out_of_an_async_flow_has_no_new_context(spans):
    error = ValueError("as it was")
    with pytest.raises(ValueError, match="as it was") as raised:
        flow(fails)(error).execute()

    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert exceptions(spans) == [("task fails", "ValueError")]


def traced(target):
    """An ordinary decorator: a plain function around an async one."""

    @functools.wraps(target)
    def around(*args):
        return target(*args)

    return around


def test_a_plain_function_that_returns_a_coroutine_ends_with_it(spans):
    @task
    @traced
    async def fetch():
        print("fetching")
        await asyncio.sleep(0)
        raise ValueError("no route")

    with pytest.raises(ValueError, match="no route"):
        asyncio.run(fetch())

    span = spans.one("task fetch")
    assert span.attributes["otelflow.run.result"] == "failure"
    assert [event.name for event in span.events] == ["otelflow.message", "exception"]
    assert current_run() is None


def test_a_flow_whose_main_returns_a_coroutine_is_executed_to_its_end(spans):
    class Import(Flow):
        def main(self):
            return self.load()

        async def load(self):
            await asyncio.sleep(0)
            return 7

    assert Import().execute().flow_return_value == 7
    assert asyncio.run(Import().execute_async()).flow_return_value == 7
    assert [span.attributes["otelflow.run.result"] for span in spans.named("flow Import")] == ["success", "success"]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_returned_coroutine_that_nobody_awaits_leaves_no_run_open(spans):
    @task
    @traced
    async def fetch(): ...

    fetch().close()

    assert spans.open_spans == 0
    assert spans.one("task fetch").attributes["otelflow.run.result"] == "success"


def test_a_coroutine_that_has_begun_elsewhere_is_only_a_value(spans):
    async def elsewhere():
        await asyncio.sleep(0)

    @flow
    def starter():
        begun = elsewhere()
        begun.send(None)
        return begun

    begun = starter().execute().flow_return_value

    assert isinstance(begun, types.CoroutineType)
    begun.close()


def test_a_generator_based_coroutine_is_awaited(spans):
    @task
    @types.coroutine
    def old():
        yield
        return 7

    async def run():
        return await old()

    assert asyncio.run(run()) == 7
    assert spans.one("task old").attributes["otelflow.run.result"] == "success"


def test_execute_async_runs_on_the_callers_loop_and_in_its_context(spans):
    variable = contextvars.ContextVar("variable")

    @flow
    async def awaited():
        await async_leaf()
        return variable.get(), asyncio.get_running_loop()

    @flow
    def plain():
        return leaf()

    async def main():
        variable.set("the caller's")
        run = await awaited().execute_async()
        await plain().execute_async()
        return run, asyncio.get_running_loop()

    run, loop = asyncio.run(main())

    assert run.flow_return_value == ("the caller's", loop)
    assert spans.tree() == [("flow awaited", "success", [ASYNC_LEAF]), ("flow plain", "success", [LEAF])]


def test_execute_in_a_running_loop_keeps_the_context_and_warns_once(spans, warnings_said):
    variable = contextvars.ContextVar("variable")

    @flow
    async def inner():
        return variable.get(), threading.current_thread().name, await async_leaf()

    @flow
    async def outer():
        variable.set("kept")
        first = inner().execute().flow_return_value
        inner().execute()
        return first

    value, thread, number = outer().execute().flow_return_value

    assert (value, number) == ("kept", 1)
    assert thread != threading.current_thread().name
    inside = ("flow inner", "success", [ASYNC_LEAF])
    assert spans.tree() == [("flow outer", "success", [inside, inside])]
    messages = [record.getMessage() for record in warnings_said.records]
    assert len(messages) == 1
    assert "await flow.execute_async()" in messages[0]


def test_an_exception_from_execute_in_a_running_loop_is_the_very_one(spans, warnings_said):
    error = ValueError("from the other thread")

    @flow
    async def inner():
        raise error

    async def main():
        inner().execute()

    with pytest.raises(ValueError, match="from the other thread") as raised:
        asyncio.run(main())

    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)


def test_an_async_flow_runs_in_the_callers_context():
    request = contextvars.ContextVar("request", default="none")
    request.set("mine")

    @flow()
    async def reads():
        return request.get()

    async def awaited():
        return threading.get_ident(), await flow()(here)().execute_async()

    async def here():
        return threading.get_ident()

    assert reads().execute().flow_return_value == "mine"
    caller, run = asyncio.run(awaited())
    assert run.flow_return_value == caller


def raises_as(kind):
    def function():
        raise ValueError("inner")

    async def coroutine():
        function()

    def generator():
        yield 1
        function()

    async def async_generator():
        yield 1
        function()

    async def body():
        function()

    awaitable = traced(body)
    return {
        **{body.__name__: body for body in (function, coroutine, generator, async_generator)},
        "awaitable": awaitable,
    }[kind]


async def to_the_end(call):
    if isinstance(call, types.GeneratorType):
        return list(call)
    return [item async for item in call] if isinstance(call, types.AsyncGeneratorType) else await call


KINDS = ["function", "coroutine", "generator", "async_generator", "awaitable"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_a_full_stack_has_kept_from_ending_ends_with_the_run_around_it(spans, monkeypatch, kind):
    close_with = drivers.close_with

    def close(run, *about):
        if run.task_name == "inner":
            raise RecursionError("the stack is full")
        return close_with(run, *about)

    monkeypatch.setattr(drivers, "close_with", close)
    inner = task(task_name="inner")(raises_as(kind))

    @flow
    async def outer():
        await to_the_end(inner())

    with pytest.raises(RecursionError):
        outer().execute()

    assert spans.tree() == [("flow outer", "failure", [("task inner", "failure", [])])]
    assert current_run() is None


class Item(Exception):
    """Something that can be kept, and thrown."""


@pytest.mark.parametrize("throws", [False, True])
def test_a_generator_keeps_neither_what_it_has_yielded_nor_what_was_thrown_in(throws):
    @task
    def items():
        for _ in range(3):
            with contextlib.suppress(Item):
                yield Item()

    generator = items()
    reference = weakref.ref(next(generator))
    if throws:
        error = Item()
        reference = weakref.ref(error)
        generator.throw(error)
        del error
        next(generator)
    gc.collect()

    assert reference() is None
    generator.close()


def test_a_generator_that_goes_on_after_it_was_closed_is_a_failure_that_python_tells_of(spans):
    @task
    def stubborn():
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2

    generator = stubborn()
    next(generator)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        generator.close()

    span = spans.one("task stubborn")
    assert (result(span), span.attributes["error.type"]) == ("failure", "RuntimeError")
    assert span.status.description == "generator ignored GeneratorExit"
    assert current_run() is None


def test_the_loop_hears_of_the_async_generator_that_the_program_has_and_of_no_other():
    heard = []

    async def main():
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(heard.append, hooks.finalizer)
        counting = counts_async()
        items = [item async for item in counting]
        assert sys.get_asyncgen_hooks().firstiter == heard.append
        sys.set_asyncgen_hooks(*hooks)
        return counting, items

    counting, items = asyncio.run(main())

    assert heard == [counting]
    assert items == [1, 2]


def test_a_generator_that_returns_while_it_is_closed_was_closed_early(spans):
    @task
    def obliging():
        try:
            yield 1
        except GeneratorExit:
            return 7

    @task
    async def obliging_async():
        try:
            yield 1
        except GeneratorExit:
            return

    async def main():
        counting = obliging_async()
        await anext(counting)
        await counting.aclose()

    generator = obliging()
    next(generator)
    generator.close()
    asyncio.run(main())

    assert [(result(span), span.attributes["otelflow.generator.closed_early"]) for span in spans.spans] == [
        ("success", True)
    ] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_that_stays_in_its_task_gives_none(spans, kind):
    quiet = task(task_name="inner", raise_on_error=False)(raises_as(kind))

    async def main():
        return await to_the_end(quiet())

    value = quiet() if kind == "function" else asyncio.run(main())

    assert value == ([1] if "generator" in kind else None)
    assert result(spans.one("task inner")) == "failure"


def test_a_generator_exit_that_was_thrown_in_comes_out(spans):
    generator = counts()
    next(generator)
    with pytest.raises(GeneratorExit):
        generator.throw(GeneratorExit())

    async def main():
        counting = counts_async()
        await anext(counting)
        with pytest.raises(GeneratorExit):
            await counting.athrow(GeneratorExit())

    asyncio.run(main())

    assert [result(span) for span in spans.spans] == ["success", "success"]


def test_an_async_generator_is_current_in_each_of_its_steps_and_only_then(spans):
    @task
    async def branches():
        leaf()
        yield 1
        await async_leaf()
        yield 2
        leaf()

    async def main():
        async for _ in branches():
            assert current_run() is None

    asyncio.run(main())

    assert spans.tree() == [("task branches", "success", [LEAF, ASYNC_LEAF, LEAF])]


def test_what_stands_for_an_awaitable_has_its_attributes():
    class Later:
        def __init__(self):
            self.number = 7

        def __await__(self):
            yield from ()
            return self.number

    @task
    def later():
        return Later()

    async def main():
        standing = later()
        return standing.number, await standing, await standing

    assert asyncio.run(main()) == (7, 7, 7)


def test_an_async_flow_is_executed_in_the_thread_of_its_caller_where_no_loop_runs(spans, warnings_said):
    @flow
    async def where():
        return threading.get_ident()

    assert where().execute().flow_return_value == threading.get_ident()
    assert warnings_said.records == []


def test_the_traceback_of_an_exception_has_one_frame_of_ours_for_each_task():
    @task
    def inner():
        raise LookupError("no such order")

    @task
    def outer():
        inner()

    @flow
    def nightly():
        outer()

    with pytest.raises(LookupError) as raised:
        nightly().execute()

    frames = [entry.name for entry in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-5:] == ["nightly", "run_function", "outer", "run_function", "inner"]
    assert frames[:-5] == [frames[0], "execute"]


def test_a_coroutine_has_one_frame_of_ours_for_each_task():
    @task
    async def inner():
        raise LookupError("no such order")

    @task
    async def outer():
        await inner()

    with pytest.raises(LookupError) as raised:
        asyncio.run(outer())

    frames = [entry.name for entry in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-4:] == ["run_coroutine", "outer", "run_coroutine", "inner"]


def refuse(_):
    raise LookupError("no such order")


async def refuse_later(_):
    raise LookupError("no such order")


def refuse_second(order):
    yield order
    raise LookupError("no such order")


async def refuse_second_later(order):
    yield order
    raise LookupError("no such order")


def tried(function):
    def attempt(order):
        with contextlib.suppress(LookupError):
            function(order)

    return attempt


def awaited(function):
    async def attempt(order):
        with contextlib.suppress(LookupError):
            await function(order)

    return lambda order: asyncio.run(attempt(order))


async def read(steps):
    async for _ in steps:
        pass


CACHED = {"cache_key_fn": lambda task, arguments: "order", "result_storage": "memory"}
FAILING = {
    "a task": tried(task(refuse)),
    "a lenient task": task(raise_on_error=False)(refuse),
    "an async task": awaited(task(refuse_later)),
    "a generator": tried(lambda order: list(task(refuse_second)(order))),
    "an async generator": awaited(lambda order: read(task(refuse_second_later)(order))),
    "a task with retries": tried(task(retries=1)(refuse)),
    "an async task with retries": awaited(task(retries=1)(refuse_later)),
    "a task with a time-out": tried(task(timeout=60)(refuse)),
    "an async task with a time-out": awaited(task(timeout=60)(refuse_later)),
    "a task with a cache": tried(task(**CACHED)(refuse)),
    "an async task with a cache": awaited(task(**CACHED)(refuse_later)),
    "a flow": tried(lambda order: flow(refuse)(order).execute()),
    "an async flow": awaited(lambda order: flow(refuse_later)(order).execute_async()),
    "a flow that runs when called": tried(flow(execute_on_call=True)(refuse)),
    "a flow that goes on": lambda order: flow(tried(task(refuse)))(order).execute(),
    "a task of a flow that goes on": lambda order: flow(task(tried(task(refuse))))(order).execute(),
}


class Order:
    """Something large that is handed on."""


@pytest.mark.parametrize("kind", FAILING)
def test_what_a_failed_run_was_given_waits_for_no_garbage_collector(kind):
    order = Order()
    given = weakref.ref(order)

    with no_collector():
        FAILING[kind](order)
        del order

        assert given() is None
