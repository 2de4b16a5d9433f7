"""Generators, sync and async, as flows and tasks: each ends once, and nothing of it is current in its consumer."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
import weakref

import pytest
from opentelemetry import baggage, context, trace

from otelflow import flow, task
from otelflow._core.process import losses
from otelflow._core.runs.current import current_run

RESULT = "otelflow.run.result"
EARLY = "otelflow.generator.closed_early"


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog, recwarn):
    """asyncio and OpenTelemetry complain in the log ("Failed to detach context"); here they have no reason to."""
    caplog.set_level(logging.WARNING)
    lost = dict(losses.dropped)
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == []
    assert dict(losses.dropped) == lost


@pytest.fixture(autouse=True)
def nothing_leaks():
    """After each test, no run and no span is current."""
    yield
    assert current_run() is None
    assert not trace.get_current_span().get_span_context().is_valid


@task
def inner(value):
    return value


@task
def count(to):
    try:
        for number in range(to):
            yield inner(number)
    finally:
        inner("end")


@task
async def count_async(to):
    try:
        for number in range(to):
            await asyncio.sleep(0)
            yield inner(number)
    finally:
        inner("end")


def names(spans):
    return sorted(span.name for span in spans.spans)


def parents(spans):
    """Return the name of each span's parent, by its own name, in order of their starts."""
    by_id = {span.context.span_id: span.name for span in spans.spans}
    return [(span.name, by_id.get(span.parent.span_id) if span.parent else None) for span in spans.spans]


def test_an_exhausted_generator_is_one_span_around_what_it_did(spans):
    assert list(count(2)) == [0, 1]

    assert spans.one("task count").attributes[RESULT] == "success"
    assert EARLY not in spans.one("task count").attributes
    assert parents(spans) == [("task count", None), *[("task inner", "task count")] * 3]
    assert spans.open_spans == 0


def test_a_generator_closed_early_is_a_success_that_says_so(spans):
    numbers = count(5)
    next(numbers)
    numbers.close()

    counted = spans.one("task count")
    assert (counted.attributes[RESULT], counted.attributes[EARLY]) == ("success", True)
    assert parents(spans) == [("task count", None), *[("task inner", "task count")] * 2]


def test_a_generator_left_to_the_garbage_collector_is_closed_early(spans):
    numbers = count(5)
    next(numbers)
    del numbers
    gc.collect()

    assert spans.one("task count").attributes[EARLY] is True
    assert len(spans.named("task inner")) == 2


def test_a_generator_that_was_never_started_is_no_run(spans):
    numbers, items = count(5), count_async(5)
    del numbers, items
    gc.collect()

    assert spans.spans == []
    assert spans.open_spans == 0


def test_what_is_thrown_in_reaches_the_body_and_what_leaves_it_is_the_end(spans):
    numbers = count(5)
    next(numbers)
    with pytest.raises(KeyError):
        numbers.throw(KeyError("thrown"))

    assert spans.one("task count").attributes[RESULT] == "failure"
    assert [event.name for event in spans.one("task count").events] == ["exception"]


def test_a_body_that_survives_what_is_thrown_in_goes_on(spans):
    @task
    def stubborn():
        while True:
            try:
                yield 1
            except ValueError:
                yield 2
                return 3

    with contextlib.closing(stubborn()) as generator:
        assert next(generator) == 1
        assert generator.throw(ValueError()) == 2
        with pytest.raises(StopIteration) as stop:
            next(generator)

    assert stop.value.value == 3
    assert spans.one("task stubborn").attributes[RESULT] == "success"


@pytest.mark.parametrize("ending", [GeneratorExit, StopIteration, RuntimeError, KeyboardInterrupt])
def test_throwing_anything_in_does_what_it_does_to_a_plain_generator(spans, ending):
    def plain():
        try:
            yield 1
        except ending:
            yield 2
        yield 3

    def seen(generator):
        items = [next(generator), generator.throw(ending()), next(generator)]
        try:
            generator.throw(ending())
        except BaseException as error:  # noqa: BLE001 whatever the program under test raises
            items.append((type(error), str(error)))
        return items

    assert seen(task(plain)()) == seen(plain())

    assert len(spans.named("task plain")) == 1


def test_a_generator_that_ignores_its_closing_fails_as_a_plain_one_does(spans):
    def deaf():
        while True:
            with contextlib.suppress(GeneratorExit):
                yield 1

    for generator in (deaf(), task(deaf)()):
        next(generator)
        with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
            generator.close()
        with contextlib.suppress(RuntimeError):
            generator.throw(RuntimeError())  # let it end, so that nothing is said when it is collected

    assert len(spans.named("task deaf")) == 1


def test_values_sent_in_arrive(spans):
    @task
    def running_sum():
        total = 0
        while True:
            total += (yield total) or 0

    sums = running_sum()

    assert [next(sums), sums.send(2), sums.send(3), next(sums)] == [0, 2, 5, 5]
    sums.close()


def test_yield_from_delegates_to_a_task(spans):
    @flow
    def outer():
        def plain():
            yield from count(2)
            return (yield from returning())

        return list(plain())

    @task
    def returning():
        yield "last"
        return "value"

    assert outer().execute().flow_return_value == [0, 1, "last"]

    assert names(spans) == ["flow outer", "task count", *["task inner"] * 3, "task returning"]


def test_interleaved_generators_keep_apart(spans):
    @task
    def letters(word):
        for letter in word:
            yield inner(letter)

    pairs = list(zip(letters("ab"), count(2), strict=True))

    assert pairs == [("a", 0), ("b", 1)]
    assert sorted(parents(spans), key=str) == sorted(
        [("task letters", None), ("task count", None)]
        + [("task inner", "task letters")] * 2
        + [("task inner", "task count")] * 3,
        key=str,
    )


def test_the_consumer_sees_its_own_span_between_the_steps(spans):
    @flow
    def consume():
        seen = []
        for _ in count(2):
            inner("consumer")
            seen.append(trace.get_current_span().name)
        return seen

    assert consume().execute().flow_return_value == ["flow consume", "flow consume"]

    assert parents(spans).count(("task inner", "flow consume")) == 2
    assert parents(spans).count(("task inner", "task count")) == 3


def test_what_a_body_made_current_is_current_in_its_next_step_and_nowhere_else(spans):
    tracer = trace.NoOpTracer()

    @task
    def steps():
        token = context.attach(baggage.set_baggage("who", "body"))
        with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))):
            yield baggage.get_baggage("who"), trace.get_current_span().get_span_context().span_id
            yield baggage.get_baggage("who"), trace.get_current_span().get_span_context().span_id
        context.detach(token)
        yield baggage.get_baggage("who"), trace.get_current_span().name

    seen = []
    for step in steps():
        seen.append(step)
        assert baggage.get_baggage("who") is None
        assert not trace.get_current_span().get_span_context().is_valid

    assert seen == [("body", 2), ("body", 2), (None, "task steps")]
    assert tracer is not None


def test_a_block_of_a_flow_around_a_yield_does_not_leak(spans):
    from otelflow import Flow

    @task
    def steps():
        with Flow(flow_name="block"):
            yield inner(1)
            yield inner(2)

    for _ in steps():
        assert current_run() is None

    assert {span.attributes.get("otelflow.flow.name") for span in spans.named("task inner")} == {"block"}
    assert parents(spans).count(("task inner", "task steps")) == 2


def test_a_generator_may_be_advanced_and_closed_by_different_threads(spans):
    numbers = count(5)
    seen = []
    for step in (lambda: seen.append(next(numbers)), lambda: seen.append(next(numbers)), numbers.close):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join(10)

    assert seen == [0, 1]
    assert spans.one("task count").attributes[EARLY] is True
    assert parents(spans).count(("task inner", "task count")) == 3


def test_messages_of_a_step_are_the_generators_and_those_between_are_the_consumers(spans, capsys):
    @task
    def talk():
        print("in 1")
        yield
        print("in 2")

    @flow
    def listen():
        for _ in talk():
            print("between")

    listen().execute()

    assert spans.messages("task talk") == ["in 1", "in 2"]
    assert spans.messages("flow listen") == ["between"]
    assert capsys.readouterr().out == "in 1\nbetween\nin 2\n"


def test_a_generator_flow_runs_from_its_first_step_to_its_last(spans):
    @flow
    def produce(to):
        yield from (inner(number) for number in range(to))

    run = produce(2).execute()
    assert (spans.open_spans, run.status) == (0, None)
    values = run.flow_return_value
    assert next(values) == 0
    assert (spans.open_spans, run.status) == (1, "running")
    assert list(values) == [1]

    assert run.status == "success"
    assert parents(spans) == [("flow produce", None), *[("task inner", "flow produce")] * 2]


def test_an_abandoned_generator_flow_ends_when_it_is_collected(spans):
    @flow
    def produce():
        yield inner(1)
        yield inner(2)

    next(produce().execute().flow_return_value)
    gc.collect()

    assert spans.one("flow produce").attributes[EARLY] is True


# Async


def test_an_exhausted_async_generator_is_one_span_around_what_it_did(spans):
    async def main():
        return [number async for number in count_async(2)]

    assert asyncio.run(main()) == [0, 1]

    assert spans.one("task count_async").attributes[RESULT] == "success"
    assert parents(spans) == [("task count_async", None), *[("task inner", "task count_async")] * 3]


def test_an_async_generator_closed_early_is_a_success_that_says_so(spans):
    async def main():
        async with contextlib.aclosing(count_async(5)) as numbers:
            async for _ in numbers:
                break

    asyncio.run(main())

    assert spans.one("task count_async").attributes[EARLY] is True
    assert parents(spans).count(("task inner", "task count_async")) == 2


def test_an_async_generator_closed_by_another_task_ends_there(spans):
    async def main():
        numbers = count_async(5)
        await asyncio.create_task(anext(numbers))
        await asyncio.create_task(anext(numbers))
        await asyncio.create_task(numbers.aclose())

    asyncio.run(main())

    assert spans.one("task count_async").attributes[EARLY] is True
    assert parents(spans).count(("task inner", "task count_async")) == 3


@pytest.mark.parametrize("how_many", [1, 20])
def test_async_generators_left_open_are_closed_by_the_loop_once_with_what_they_do_at_their_end(spans, how_many):
    @task
    async def slow_to_close():
        try:
            yield 1
        finally:
            await asyncio.sleep(0.001)
            inner("end")

    generators = []

    async def main():
        for _ in range(how_many):
            numbers = slow_to_close()
            generators.append(numbers)
            await anext(numbers)

    asyncio.run(main())

    ended = spans.named("task slow_to_close")
    assert [span.attributes[RESULT] for span in ended] == ["success"] * how_many
    assert all(span.attributes[EARLY] for span in ended)
    assert parents(spans).count(("task inner", "task slow_to_close")) == how_many


def test_an_async_generator_dropped_while_the_loop_runs_is_closed_by_it(spans):
    async def main():
        numbers = count_async(5)
        await anext(numbers)
        del numbers
        gc.collect()
        await asyncio.sleep(0.01)

    asyncio.run(main())

    assert spans.one("task count_async").attributes[EARLY] is True
    assert parents(spans).count(("task inner", "task count_async")) == 2


def test_an_async_generator_that_nobody_can_close_any_more_ends_when_it_is_collected(spans):
    numbers = count_async(5)
    step = numbers.__anext__()
    with contextlib.suppress(StopIteration):
        while True:
            step.send(None)
    del numbers, step
    gc.collect()

    assert spans.one("task count_async").attributes[EARLY] is True


def test_what_is_thrown_into_an_async_generator_reaches_its_body(spans):
    @task
    async def stubborn():
        try:
            yield 1
        except ValueError:
            yield 2

    async def main():
        generator = stubborn()
        seen = [await anext(generator), await generator.athrow(ValueError())]
        assert [value async for value in generator] == []
        await throw_into(count_async(2))
        return seen

    async def throw_into(generator):
        await anext(generator)
        with contextlib.suppress(KeyError):
            await generator.athrow(KeyError())

    assert asyncio.run(main()) == [1, 2]

    assert spans.one("task stubborn").attributes[RESULT] == "success"
    assert spans.one("task count_async").attributes[RESULT] == "failure"


def test_a_cancelled_consumer_cancels_the_step_and_ends_the_generator(spans):
    @task
    async def forever():
        yield 1
        await asyncio.Event().wait()

    async def consume():
        async for _ in forever():
            started.set()

    started = asyncio.Event()

    async def main():
        consumer = asyncio.create_task(consume())
        await started.wait()
        await asyncio.sleep(0)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer

    asyncio.run(main())

    assert spans.one("task forever").attributes[RESULT] == "cancellation"


def test_interleaved_async_generators_keep_apart(spans):
    @task
    async def talk(name):
        for _ in range(3):
            await asyncio.sleep(0)
            print(name)
            yield inner(name)

    async def consume(name):
        return [value async for value in talk(name)]

    async def main():
        return await asyncio.gather(*(consume(name) for name in "abcd"))

    assert asyncio.run(main()) == [[name] * 3 for name in "abcd"]

    messages = [[e.attributes["otelflow.message.text"] for e in span.events] for span in spans.named("task talk")]
    assert sorted(messages) == [[name] * 3 for name in "abcd"]
    assert parents(spans).count(("task inner", "task talk")) == 12


def test_an_async_generator_flow_ends_with_its_last_step(spans):
    @flow
    async def produce():
        yield inner(1)
        yield inner(2)

    async def main():
        run = await produce().execute_async()
        return [value async for value in run.flow_return_value], run.status

    assert asyncio.run(main()) == ([1, 2], "success")

    assert parents(spans) == [("flow produce", None), *[("task inner", "flow produce")] * 2]


def test_a_coroutine_that_is_closed_half_way_is_cancelled_and_leaves_nothing_current(spans):
    @task
    async def wait():
        await asyncio.sleep(10)

    def drive():
        coroutine = wait()
        # Not on a loop: what is current while it is suspended is the driver's to isolate.
        contextvars.copy_context().run(lambda: asyncio.events._set_running_loop(loop) or coroutine.send(None))
        asyncio.events._set_running_loop(None)
        coroutine.close()

    loop = asyncio.new_event_loop()
    try:
        drive()
    finally:
        loop.close()

    assert spans.one("task wait").attributes[RESULT] == "cancellation"


def test_an_exception_thrown_into_a_generator_stands_on_the_task_that_raised_it(spans):
    @contextlib.contextmanager
    @task
    def session():
        yield

    @task
    def insert():
        raise ValueError("duplicate key")

    @flow
    def load():
        with session():
            insert()

    with pytest.raises(ValueError, match="duplicate key"):
        load().execute()

    assert [span.name for span in spans.spans if "exception" in [event.name for event in span.events]] == [
        "task insert"
    ]
    assert {span.attributes["otelflow.run.result"] for span in spans.spans} == {"failure"}


def test_a_generator_that_ignores_its_end_is_a_failure_and_not_open_for_ever(spans):
    @task
    def stubborn():
        while True:
            try:
                yield 1
            except GeneratorExit:
                continue

    generator = stubborn()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()

    assert spans.one("task stubborn").attributes["otelflow.run.result"] == "failure"
    assert spans.open_spans == 0


def test_a_suspended_generator_holds_nothing_that_it_has_yielded_or_was_sent(spans):
    class Chunk:
        pass

    @task
    def chunks():
        while True:
            yield Chunk()

    generator = chunks()
    yielded, sent = weakref.ref(next(generator)), Chunk()
    sent_reference = weakref.ref(sent)
    generator.send(sent)
    del sent

    assert yielded() is None
    assert sent_reference() is None
    generator.close()
