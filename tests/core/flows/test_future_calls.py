"""``submit()`` and ``map()``: which span is whose, what runs when, and what becomes of it when the flow ends."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import gc
import logging
import os
import threading
import time
import weakref

import pytest

from otelflow import INJECTED, Flow, Listener, ThreadPoolExecutor, add_listener, flow, submit, task, unmapped, wait
from otelflow._core.flows import future_runners, future_session
from otelflow.errors import NotSubmittable, UpstreamFailed
from otelflow.runners import ThreadPoolTaskRunner
from support.interrupts import PLACES
from support.spans import result


@task
def double(number):
    return 2 * number


@task
def add(*numbers):
    return sum(numbers)


@task
def fail(number=0):
    raise ValueError(f"no {number}")


def links(trace):
    """Return which spans are linked to which, by the ids of spans."""
    return {span.context.span_id: [link.context.span_id for link in span.links] for span in trace.spans if span.links}


def test_a_diamond_is_linked_from_consumer_to_producer(spans):
    @flow
    def diamond():
        top = double.submit(1)
        return add.submit(double.submit(top), double.submit(top)).result()

    assert diamond().execute().flow_return_value == 8
    total, (top, *sides) = spans.one("task add"), [span for span in spans.spans if span.name == "task double"]
    ids = sorted(span.context.span_id for span in sides)  # either may end first
    linked = {key: sorted(targets) for key, targets in links(spans).items()}
    assert linked == {key: [top.context.span_id] for key in ids} | {total.context.span_id: ids}
    assert {span.parent.span_id for span in spans.spans if span.parent} == {spans.one("flow diamond").context.span_id}


@pytest.mark.parametrize("runner", ["threads", "inline"])
def test_a_map_is_one_span_around_its_tasks_in_order(spans, runner):
    @flow(task_runner=runner)
    def maps():
        return double.map(range(5)).result()

    assert maps().execute().flow_return_value == [0, 2, 4, 6, 8]
    assert spans.tree() == [("flow maps", "success", [("map double", "success", [("task double", "success", [])] * 5)])]
    around = spans.one("map double")
    assert around.attributes["otelflow.task.map.size"] == 5
    indexes = [span.attributes["otelflow.task.map.index"] for span in spans.spans if span.name == "task double"]
    assert sorted(indexes) == list(range(5))
    inside = [span for span in spans.spans if span.name == "task double"]
    assert all(around.start_time <= span.start_time and span.end_time <= around.end_time for span in inside)


def test_an_empty_map_has_no_futures(spans):
    @flow
    def maps():
        return double.map([])

    assert maps().execute().flow_return_value == []
    assert spans.tree() == [("flow maps", "success", [("map double", "success", [])])]


def test_the_span_of_a_map_says_whether_a_task_failed(spans):
    @task
    def odd(number):
        if not number % 2:
            raise ValueError(number)
        return number

    @flow
    def maps():
        futures = odd.map([1, 2, 3])
        return [future.result() for future in futures if future.exception() is None]

    assert maps().execute().flow_return_value == [1, 3]
    assert result(spans.one("map odd")) == "failure"
    assert spans.one("flow maps").attributes["otelflow.flow.tasks.failed"] == 1


def test_a_map_takes_rows_keywords_and_what_is_whole(spans):
    @task
    def power(base, exponent, offset=0):
        return base**exponent + offset

    @flow
    def maps():
        bases = double.map([1, 2])
        return power.map(bases, unmapped(2), offset=[10, 20]).result()

    assert maps().execute().flow_return_value == [14, 36]


def test_what_is_marked_for_map_is_what_it_is_for_submit_too():
    assert add.submit(1, unmapped(2)).result() == submit(add, unmapped(1), 2).result() == 3
    assert task(sorted).submit(unmapped([2, 1]), reverse=unmapped(True)).result() == [2, 1]


def test_what_is_no_future_is_there_already_and_need_not_be_waited_for():
    assert add.submit(1, 2, wait_for=[3, None, "done", add.submit(1, 1)]).result() == 3


def test_wait_for_keeps_the_order_without_an_argument(spans):
    order = []
    note = task(order.append, task_name="note")

    @flow
    def in_order():
        first = note.submit(1)
        second = note.map([2, 2], wait_for=first)
        note.submit(3, wait_for=second).wait()

    in_order().execute()
    assert order == [1, 2, 2, 3]


def test_a_flow_ends_after_its_futures(spans):
    gate = threading.Event()

    @task
    def late():
        gate.wait(30)

    @flow
    def ends():
        late.submit()
        threading.Timer(0.05, gate.set).start()

    ends().execute()
    whole, part = spans.one("flow ends"), spans.one("task late")
    assert part.end_time <= whole.end_time
    assert result(part) == "success"


def test_what_is_pending_is_cancelled_when_the_flow_fails(spans):
    @flow(task_runner=concurrent.futures.ThreadPoolExecutor(1))
    def fails():
        gate = threading.Event()
        task(gate.wait, task_name="hold").submit(30)
        double.map([1, 2, 3])
        threading.Timer(0.05, gate.set).start()
        raise RuntimeError("over")

    with pytest.raises(RuntimeError):
        fails().execute()

    assert spans.tree() == [
        (
            "flow fails",
            "failure",
            [("task hold", "success", []), ("map double", "cancellation", [("task double", "cancellation", [])] * 3)],
        )
    ]


def test_an_async_flow_that_fails_cancels_what_runs_on_its_loop(spans):
    @task
    async def wait_for_ever():
        await asyncio.Event().wait()

    @flow
    async def fails():
        wait_for_ever.submit()
        await asyncio.sleep(0)
        raise RuntimeError("over")

    with pytest.raises(RuntimeError):
        asyncio.run(fails())

    assert result(spans.one("task wait_for_ever")) == "cancellation"


@pytest.mark.parametrize("way", ["execute", "await", "execute in a loop", "on call"])
def test_an_async_flow_waits_for_its_futures_however_it_is_executed(spans, way):
    @task
    async def late():
        await asyncio.sleep(0.01)
        return "done"

    async def ends():
        late.submit()
        task(lambda: None, task_name="quick").submit()

    if way == "execute":
        flow(ends)().execute()
    elif way == "await":
        asyncio.run(flow(ends)())
    elif way == "on call":
        asyncio.run(flow(execute_on_call=True)(ends)())
    else:

        async def main():
            flow(ends)().execute()

        asyncio.run(main())

    (tree,) = spans.tree()
    assert sorted(tree.children) == [("task late", "success", []), ("task quick", "success", [])]
    assert spans.one("task late").end_time <= spans.one("flow ends").end_time


def test_a_thousand_coroutines_run_at_the_same_time(spans):
    numbers = []

    @task
    async def arrive(everybody):
        numbers.append(1)
        if len(numbers) == 1_000:
            everybody.set()
        await everybody.wait()

    @flow
    async def meet():
        await arrive.map([asyncio.Event()] * 1_000)

    asyncio.run(meet())
    assert len([span for span in spans.spans if result(span) == "success"]) == 1_002


def test_nested_maps_need_no_more_threads_than_there_are(spans):
    @task
    def row(number):
        return sum(double.map(range(number)).result())

    @flow(task_runner=concurrent.futures.ThreadPoolExecutor(2))
    def table():
        return row.map([3] * 8).result()

    assert table().execute().flow_return_value == [6] * 8
    assert len(spans.spans) == 1 + 1 + 8 * (1 + 1 + 3)


def test_futures_are_found_in_containers_and_dataclasses(spans):
    import dataclasses

    @dataclasses.dataclass
    class Pair:
        left: object
        right: object = None

    @task
    def look(*values, **more):
        return values, more

    @flow
    def nested():
        one = double.submit(1)
        future = look.submit([one, (one,)], {"a": {one}}, Pair(one), more=frozenset([one]))
        return future.result()

    assert nested().execute().flow_return_value == (([2, (2,)], {"a": {2}}, Pair(2)), {"more": frozenset([2])})


def test_the_context_of_the_call_is_that_of_the_task(spans):
    user = contextvars.ContextVar("user", default="nobody")
    look = task(lambda: user.get(), task_name="look")

    @flow
    def submits():
        user.set("ann")
        future = look.submit()
        user.set("bob")
        return future.result()

    assert submits().execute().flow_return_value == "ann"


def test_the_task_gets_what_it_asks_for_and_the_flow_what_it_records(spans):
    @task
    def record(number, this_task=INJECTED, flow_data=INJECTED, this_flow=INJECTED):
        flow_data[number] = this_flow.flow_name
        this_task.add_task_artifact(key=f"a{number}", data="text", artifact_type="markdown")
        print("printed", number)

    @flow
    def records():
        record.map([1, 2])

    run = records().execute()
    assert run.data == {1: "records", 2: "records"}
    assert sorted(artifact.key for artifact in run.artifacts) == ["a1", "a2"]
    assert len(run.executed_tasks) == 2
    assert sorted(text for text in run.captured_logs() if text.startswith("printed")) == ["printed 1", "printed 2"]


def test_a_task_is_submitted_outside_of_a_flow_too(spans):
    assert double.submit(1).result(30) == 2
    assert double.map([1, 2]).result(30) == [2, 4]
    assert spans.tree() == [
        ("task double", "success", []),
        ("map double", "success", [("task double", "success", [])] * 2),
    ]


def test_the_block_of_a_flow_ends_after_its_futures(spans):
    gate = threading.Event()
    with Flow(flow_name="block") as block:
        future = task(gate.wait, task_name="hold").submit(30)
        threading.Timer(0.05, gate.set).start()

    assert future.done()
    assert [call.task_name for call in block.executed_tasks] == ["hold"]


def test_a_task_that_keeps_its_errors_has_nothing_as_its_result(spans):
    careful = task(raise_on_error=False)(lambda: 1 / 0)

    @flow
    def goes_on():
        return add.submit(1, 2, wait_for=careful.submit()).result(), careful.submit().result()

    assert goes_on().execute().flow_return_value == (3, None)


class Shop:
    @task
    def price(self, fruit, extra=0):
        return len(fruit) + extra

    @classmethod
    @task
    def name(cls, suffix):
        return cls.__name__ + suffix


def test_methods_are_submitted_with_their_object(spans):
    @flow
    def shopping():
        shop = Shop()
        return (
            submit(shop.price, "fig").result(),
            Shop.price.submit(shop, "fig", extra=1).result(),
            submit(Shop.name, "!").result(),
            Shop.price.map(unmapped(shop), ["fig", "melon"]).result(),
        )

    assert shopping().execute().flow_return_value == (3, 4, "Shop!", [3, 5])


@task
def numbers():
    yield 1


class Flat:
    """As an array of no dimension is: it cannot be gone through, and that is told late."""

    def __iter__(self):
        raise TypeError("iteration over a 0-d array")


MISTAKES = {
    "its object is missing; write Shop.price.submit(self, …), or otelflow.submit(self.price, …)": lambda: (
        Shop().price.submit("fig")
    ),
    "it is a generator; call it where": lambda: numbers.submit(),
    "it is no task; decorate it with @task": lambda: submit(len, []),
    "argument 2 of map() is 3; if each call gets it whole, write unmapped(3)": lambda: add.map([1], 3),
    "argument 1 of map() is 'abc'; if each call": lambda: double.map("abc"),
    "argument 1 of map() is <": lambda: double.map(Flat()),
    "number= of map() is": lambda: double.map(number={"a": 1}),
    "argument 2 of map() has no item number 3, and others have; give it rows of the same length": lambda: add.map(
        [1, 2, 3], [1, 2]
    ),
    "is the future of task 'double'; give it a list, such as its result()": lambda: double.map(double.submit(1)),
    "map() got nothing to go through": lambda: double.map(unmapped(1)),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_what_cannot_be_submitted_is_one_error_that_names_task_and_cure(text):
    with pytest.raises(NotSubmittable) as caught:
        MISTAKES[text]()

    assert str(caught.value).startswith("task '")
    assert text in str(caught.value)


def test_a_copy_of_a_task_and_of_a_flow_can_submit(spans):
    pickler = pytest.importorskip("cloudpickle")
    offset = 5

    @task
    def shift(number):
        return number + offset

    @flow(execute_on_call=True)
    def shifts():
        last = double.submit(double.submit(1))
        shift.submit(last, 1)
        return shift.map([1, 2]).result()

    copy = pickler.loads(pickler.dumps(shift))
    assert (copy(1), copy.submit(1).result(30), copy.map([1, 2]).result(30)) == (6, 6, [6, 7])
    assert pickler.loads(pickler.dumps(shifts))() == [6, 7]
    assert "cancellation" not in {result(span) for span in spans.spans}


def test_arguments_that_do_not_fit_are_the_error_of_the_future(spans):
    with pytest.raises(TypeError, match="double"):
        double.submit(1, 2).result(30)

    assert result(spans.one("task double")) == "error"


def test_in_trio_plain_tasks_are_submitted_and_coroutines_are_refused_with_the_cure(spans):
    trio = pytest.importorskip("trio")

    @task
    async def later(number):
        await trio.sleep(0)
        return number

    @flow
    async def mixed():
        with pytest.raises(NotSubmittable, match="let a nursery start it"):
            later.submit(1)
        unasked = task(abs).submit(-1)
        return await task(abs).submit(-2), unasked

    async def execute():
        return (await mixed().execute_async()).flow_return_value

    value, unasked = trio.run(execute)

    assert (value, unasked.result()) == (2, 1)
    assert [span.attributes["otelflow.run.result"] for span in spans.named("task abs")] == ["success"] * 2


def test_in_trio_a_flow_that_fails_waits_for_what_it_has_submitted_as_elsewhere(spans):
    trio = pytest.importorskip("trio")
    begun, may_end = threading.Event(), threading.Event()

    @task
    def slow():
        begun.set()
        assert may_end.wait(30)
        return "done"

    @flow
    async def fails():
        futures.append(slow.submit())
        assert await trio.to_thread.run_sync(begun.wait, 30)
        trio.lowlevel.current_trio_token().run_sync_soon(may_end.set)
        raise LookupError("no such page")

    futures = []
    with pytest.raises(LookupError):
        trio.run(fails().execute_async)

    assert futures[0].result(timeout=30) == "done"
    assert result(spans.one("task slow")) == "success"


@pytest.mark.parametrize("runs", ["asyncio", "trio"])
def test_an_async_flow_that_fails_says_what_it_waits_for(spans, monkeypatch, runs):
    loops = pytest.importorskip(runs)
    monkeypatch.setattr(future_session, "_SECONDS_OF_SILENCE", 0.01)
    begun, said = threading.Event(), threading.Event()

    class Hearing(logging.Handler):
        def emit(self, record):
            if "waits for what it has submitted" in record.getMessage():
                said.set()

    @task
    def slow():
        begun.set()
        return said.wait(30)

    @flow
    async def fails():
        futures.append(slow.submit())
        assert begun.wait(30)
        raise LookupError("no such page")

    futures, hearing = [], Hearing()
    logging.getLogger("otelflow").addHandler(hearing)
    try:
        with pytest.raises(LookupError):
            loops.run(fails().execute_async() if runs == "asyncio" else fails().execute_async)
    finally:
        logging.getLogger("otelflow").removeHandler(hearing)

    assert futures[0].result(timeout=30) is True


def test_two_threads_that_submit_first_at_the_same_time_share_one_runner_which_the_flow_ends(spans):
    both = threading.Barrier(2)
    made, closed = [], []

    class Counting(future_runners.Inline):
        def close(self):
            closed.append(self)

    class Runner:
        def new_runner(self):
            made.append(Counting())
            return made[-1]

    class Submits(Flow):
        task_runner = Runner()

        def __getattribute__(self, name):
            if name == "task_runner" and threading.current_thread() is not threading.main_thread():
                with contextlib.suppress(threading.BrokenBarrierError):
                    both.wait(0.5)  # if both come here, both make a session
            return super().__getattribute__(name)

        def main(self):
            contexts = [contextvars.copy_context() for _ in range(2)]
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                futures = [pool.submit(context.run, double.submit, 1) for context in contexts]
                return [future.result().result() for future in futures]

    assert Submits().execute().flow_return_value == [2, 2]
    assert len(made) == 1
    assert closed == made


@pytest.mark.parametrize("ending", ["failure", "cancellation"])
def test_a_chain_of_thousands_that_wait_for_what_fails_is_skipped_to_its_end(spans, ending):
    begins = threading.Event()

    def first():
        begins.wait(30)
        raise LookupError("first")

    @flow(task_runner=ThreadPoolTaskRunner(1))
    def chains():
        running = task(first, task_name="first").submit()
        futures = [double.submit(1, wait_for=[running])]
        for _ in range(2_000):
            futures.append(double.submit(1, wait_for=futures[-1:]))
        if ending == "cancellation":
            futures[0].cancel()
        begins.set()
        futures[-1].wait(60)
        return futures[-1].done(), {future.done() for future in futures}

    assert chains().execute().flow_return_value == (True, {True})
    assert [result(span) for span in spans.named("task double")].count("skip") in (2_000, 2_001)


def test_a_callback_may_wait_for_what_is_skipped_for_the_same_failure(spans):
    begins = threading.Event()
    errors = []

    def first():
        begins.wait(30)
        raise LookupError("first")

    @flow(task_runner=ThreadPoolTaskRunner(1))
    def chains():
        one = double.submit(task(first, task_name="first").submit())
        two = double.submit(one)
        one.add_done_callback(lambda _: errors.append(two.exception(timeout=20)))
        begins.set()

    chains().execute()

    assert [type(error) for error in errors] == [UpstreamFailed]


@pytest.mark.parametrize("threads", [1, 3])
def test_tasks_that_submit_dependent_tasks_do_not_wait_for_each_other(threads):
    @task
    def first(number):
        return number + 1

    @task
    def second(number):
        return number * 2

    @task
    def third(number):
        return number - 1

    @task
    def outer(number):
        return third.submit(second.submit(first.submit(number))).result()

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:

        @flow(task_runner=pool)
        def nested():
            return outer.map(range(16)).result()

        run = Waiting(nested().execute).result()

    assert run.flow_return_value == [2 * number + 1 for number in range(16)]


class Waiting:
    """What a call returns that might hang."""

    def __init__(self, call):
        self.values = []
        self.thread = threading.Thread(target=lambda: self.values.append(call()), daemon=True)
        self.thread.start()

    def result(self):
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.values[0]


def test_what_fails_outside_of_any_flow_is_not_kept(spans):
    class Payload:
        pass

    payloads = weakref.WeakSet()

    @task
    def fails():
        payload = Payload()
        payloads.add(payload)
        raise ValueError

    for _ in range(3):
        assert isinstance(fails.submit().exception(10), ValueError)
    gc.collect()

    assert len(payloads) <= 1, "the thread of the pool may have the last one"


@pytest.mark.parametrize("how", ["cancelled twice", "closed"])
def test_an_async_flow_that_is_cancelled_twice_or_closed_blocks_no_loop(how):
    may_go_on = threading.Event()
    begun = threading.Event()

    @task
    def slow():
        begun.set()
        return may_go_on.wait(30)

    @flow
    async def submits():
        slow.submit()
        await asyncio.sleep(30)

    async def main():
        run = (
            asyncio.ensure_future(submits().execute_async()) if how == "cancelled twice" else submits().execute_async()
        )
        if how == "closed":
            run.send(None)
            await asyncio.to_thread(begun.wait, 30)
            run.close()
            return
        await asyncio.to_thread(begun.wait, 30)
        run.cancel()
        await asyncio.sleep(0.05)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    try:
        Waiting(lambda: asyncio.run(main())).result()
        assert not may_go_on.is_set()
    finally:
        may_go_on.set()


@pytest.mark.parametrize("how", ["shut down", "broken"])
@pytest.mark.parametrize("count", [3, 1_500], ids=["few", "more than wait in the executor"])
def test_what_an_executor_drops_has_failed(how, count):
    may_go_on = threading.Event()

    @task
    def hold(number):
        return may_go_on.wait(30)

    def initializer():
        if how == "broken":
            raise ValueError("no connection")

    pool = concurrent.futures.ThreadPoolExecutor(1, initializer=initializer)

    @flow(task_runner=pool)
    def dropped():
        futures = hold.map(range(count))
        if how == "shut down":
            pool.shutdown(wait=False, cancel_futures=True)
            may_go_on.set()
        return [error_of(future) for future in futures]

    def error_of(future):
        try:
            return future.exception(30)
        except concurrent.futures.CancelledError as error:
            return error

    errors = Waiting(dropped().execute).result().flow_return_value

    assert len(errors) == count
    rest = errors if how == "broken" else errors[1:]
    kinds = (concurrent.futures.CancelledError, concurrent.futures.BrokenExecutor, NotSubmittable)
    assert all(isinstance(error, kinds) for error in rest), {type(error) for error in rest}


@pytest.mark.parametrize("how", ["timeout", "pool of its own", "await", "blocked loop", "in time", "wait in time"])
@pytest.mark.parametrize("is_own", [True, False], ids=["own pool", "pool of the user"])
def test_whatever_waits_for_a_task_keeps_no_thread_from_running_it(how, is_own):
    @task
    async def double_later(number):
        await asyncio.sleep(0)
        return double(number)

    @task(timeout=20)
    def limited(number):
        return double.submit(double_later.submit(number)).result()

    @task
    def pooled(number):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: double.submit(double.submit(number)).result()).result()

    @task
    async def awaits(number):
        once = await asyncio.gather(double.submit(number), double_later.submit(double_later.submit(number)))
        return await double.submit(once[0])

    @task
    def in_time(number):
        return double.submit(double.submit(number)).result(20)

    @task
    def waits(number):
        (future,), _ = wait([double.submit(double.submit(number))], 20)
        return future.result()

    @task
    async def blocks(number):
        return double.submit(double_later.submit(number)).result()

    tasks = [limited, pooled, awaits, blocks, in_time, waits]
    outer = tasks[["timeout", "pool of its own", "await", "blocked loop", "in time", "wait in time"].index(how)]

    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        @flow(task_runner=ThreadPoolTaskRunner(1) if is_own else pool)
        def nested():
            return outer.map([1, 2, 3]).result()

        run = Waiting(nested().execute).result()

    assert run.flow_return_value == [4, 8, 12]


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_a_task_whose_arguments_cannot_be_filled_in_has_a_span_and_names_the_argument(spans, runner):
    @dataclasses.dataclass
    class Order:
        price: object

        def __post_init__(self):
            if self.price == 2:
                raise ValueError("two is no price")

    @flow(task_runner=runner)
    def orders():
        future = double.submit(number=Order(double.submit(1)))
        return future.exception(), double.submit(1, wait_for=[future]).exception()

    error, after = orders().execute().flow_return_value
    assert isinstance(error, NotSubmittable)
    assert str(error) == (
        "task 'double' cannot be submitted: number= is a Order, which cannot be made anew with the results of the "
        "futures in it (ValueError: two is no price); give it what their result() returns, or give a list or dict of "
        "futures"
    )
    assert isinstance(after, UpstreamFailed)
    assert sorted(result(span) for span in spans.named("task double")) == ["error", "skip", "success"]


@pytest.mark.parametrize(
    ("wait_for", "culprit"),
    [
        (5, "5"),
        ("abc", "'abc'"),
        ([concurrent.futures.Future()], "<Future at"),
        ([double], "<function double"),
        ({"rows": double}, "<function double"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(wait_for, culprit):
    for submits in (double.submit, lambda _, **keywords: double.map([1], **keywords)):
        with pytest.raises(NotSubmittable) as refusal:
            submits(1, wait_for=wait_for)
        assert f"task 'double' cannot be submitted: wait_for has {culprit}" in str(refusal.value)


def test_what_is_waited_for_may_be_a_list_a_map_or_a_dict_of_futures_or_nothing():
    order = []

    @task
    def note(name):
        time.sleep(0.01)
        order.append(name)

    @flow
    def waits():
        futures = note.map(["a", "b"])
        rows = [futures, {"rows": futures}, iter(futures), futures[0], None, [None, "done"]]
        for number, wait_for in enumerate(rows):
            note.submit(number, wait_for=wait_for)

    waits().execute()

    assert all(order.index(number) > max(order.index("a"), order.index("b")) for number in (0, 1, 2))


@pytest.mark.parametrize("is_open", [True, False], ids=["before they end", "when they have ended"])
def test_each_may_wait_for_all_before_it_and_is_linked_to_the_last_of_them(spans, is_open):
    begins = threading.Event()
    count = 400

    def first():
        begins.wait(30)
        raise LookupError("first")

    @flow
    def triangle():
        futures = [task(first, task_name="first").submit()]
        if not is_open:
            begins.set()
            futures[0].wait(30)
        for _ in range(count):
            futures.append(double.submit(1, wait_for=futures))
        begins.set()
        wait(futures)
        return {type(future.exception()) for future in futures[1:]}

    assert triangle().execute().flow_return_value == {UpstreamFailed}
    last = spans.named("task double")[-1]
    before = [span.context.span_id for span in spans.spans if span.name in ("task first", "task double")][:count]
    assert [link.context.span_id for link in last.links] == before[-128:]
    assert last.dropped_links == count - 128


@pytest.mark.parametrize("is_mapped", [False, True])
@pytest.mark.parametrize("moment", ["on_task_start", "on_task_stop"])
def test_ctrl_c_while_one_is_cancelled_leaves_nothing_that_the_flow_waits_for(spans, moment, is_mapped):
    begun, gate, interrupted = threading.Event(), threading.Event(), []

    def interrupt(self, event):
        if event.event_data.task_name == "double":
            interrupted.append(event)
            gate.set()
            raise KeyboardInterrupt

    @task
    def waits():
        begun.set()
        gate.wait(30)

    @flow(task_runner=ThreadPoolTaskRunner(1))
    def cancels():
        waits.submit()
        assert begun.wait(30)
        (double.map([1]) if is_mapped else [double.submit(1)])[0].cancel()

    def run():
        try:
            cancels().execute()
        except KeyboardInterrupt:
            ended.append(True)

    ended = []
    listener = type("Interrupts", (Listener,), {moment: interrupt})()
    add_listener(listener)
    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(30)

    assert ended == [True]
    assert len(interrupted) == 1
    assert result(spans.one("flow cancels")) == "cancellation"


EACH_PLACE = """
import asyncio, concurrent.futures, faulthandler, functools, os, sys
from otelflow import flow, task
from otelflow._core.runs import open_runs
from otelflow.runners import InlineTaskRunner, ThreadPoolTaskRunner

@task
def double(number):
    return 2 * number

@task
async def double_soon(number):
    return 2 * number

@task
def fail():
    raise ValueError

futures = []

def kept(future):
    futures.append(future)
    return future

def in_flow(runner):
    @flow(task_runner=runner)
    def works():
        try:
            work()
        except KeyboardInterrupt:
            pass
        kept(double.submit(1))

    works().execute()

RUNNERS = {
    "inline": InlineTaskRunner,
    "threads": functools.partial(ThreadPoolTaskRunner, 2),
}
EXECUTORS = {
    "own threads": functools.partial(concurrent.futures.ThreadPoolExecutor, 2),
}

def work():
    kept(double.submit(kept(double.submit(kept(fail.submit())))))
    futures.extend(double.map([1, kept(double.submit(2))]))

@flow
async def on_loop():
    await kept(double_soon.submit(kept(double_soon.submit(1))))

def run(name):
    if name in RUNNERS:
        in_flow(RUNNERS[name]())
    elif name in EXECUTORS:
        with EXECUTORS[name]() as executor:
            in_flow(executor)
    else:
        asyncio.run(on_loop().execute_async())

STEPS = {"take", "claim", "drop", "run", "_run", "run_on_loop", "end", "_account", "settle", "_end_apart", "end_unrun"}
STEPS |= {"set_result", "set_exception", "_invoke_callbacks", "submit", "submit_each", "begin", "_start"}
STEPS |= {"_answered", "_new_pool", "_send", "take_report", "apply_report", "make_order", "order_of", "close"}
STEPS |= {"_start_after", "start", "_hand", "_in_turn", "_skip", "fail", "_finished", "_hand_next", "add", "ended"}
place, limit = 0, -1

def look(frame, event, argument):
    global place
    name = frame.f_code.co_filename
    is_ours = "flows/future" in name or "otelflow/runners/" in name
    if frame.f_code.co_name not in STEPS or not (is_ours or name.endswith("futures/_base.py")):
        return None
    frame.f_trace_opcodes = True
    if event == "opcode" and frame.f_lasti in places(frame.f_code):
        place += 1
        if place == limit:
            raise KeyboardInterrupt
    return look

def interrupted(name, at):
    global limit
    limit = at
    faulthandler.dump_traceback_later(20, exit=True)
    sys._getframe().f_trace_opcodes = True  # Python 3.12 wants to know it before it traces
    sys.settrace(look)
    try:
        run(name)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    left = [future for future in futures if not future.done()]
    return 3 if left or open_runs.is_any() else 4 if place < at else 0

provide()
run(sys.argv[1])
futures.clear()
at, ends = 0, {}
while 4 not in ends.values():
    at += int(sys.argv[2])
    child = os.fork()
    if not child:
        os._exit(interrupted(sys.argv[1], at))
    ends[at] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(at > 100, {at: code for at, code in ends.items() if code not in (0, 4)})
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each place is tried in a process that is forked off")
@pytest.mark.parametrize(("name", "stride"), [("inline", 1), ("on_loop", 1), ("threads", 7), ("own threads", 7)])
def test_ctrl_c_between_any_two_lines_leaves_no_future_and_no_run_that_never_ends(program, name, stride):
    program.run(PLACES, EACH_PLACE, arguments=[name, str(stride)])

    assert (program.out.strip(), program.code) == ("True {}", 0), program.err[-3000:]
