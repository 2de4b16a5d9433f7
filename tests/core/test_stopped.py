"""Runs that somebody stops, on real loops: cancelled, timed out, closed, collected, never begun."""

import asyncio
import contextvars
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import StatusCode

from otelflow import flow, task, testing
from otelflow._core.process import losses
from otelflow._core.process.provider import use_provider
from otelflow._core.runs.current import current_run


def result(span):
    return span.attributes["otelflow.run.result"]


def exceptions(trace_):
    """Return which span has which exception recorded."""
    found = [
        (span.name, event.attributes["exception.type"])
        for span in trace_.spans
        for event in span.events
        if event.name == "exception"
    ]
    return sorted(found)


@task
async def fails(error):
    await asyncio.sleep(0)
    raise error


@task
async def waits():
    await asyncio.Event().wait()


@task
async def works():
    await asyncio.sleep(0)
    return 1


def test_an_exception_out_of_gather_is_recorded_on_its_task_only(spans):
    error = ValueError("one of three")

    async def gathers():
        await asyncio.gather(works(), fails(error), works())

    with pytest.raises(ValueError, match="one of three") as raised:
        flow(gathers)().execute()

    assert raised.value is error
    assert exceptions(spans) == [("task fails", "ValueError")]
    run = spans.one("flow gathers")
    assert (result(run), run.attributes["error.type"], run.attributes["otelflow.flow.tasks.failed"]) == (
        "failure",
        "ValueError",
        1,
    )
    assert [child.name for child in spans.tree()[0].children] == ["task works", "task fails", "task works"]


def test_a_task_group_raises_a_group_of_its_own_and_each_exception_is_recorded_once(spans):
    first, second = ValueError("first"), TypeError("second")

    async def groups():
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(first))
            group.create_task(fails(second))
            group.create_task(waits())

    with pytest.raises(ExceptionGroup) as raised:
        flow(groups)().execute()

    assert set(raised.value.exceptions) == {first, second}
    assert exceptions(spans) == [
        ("flow groups", "ExceptionGroup"),
        ("task fails", "TypeError"),
        ("task fails", "ValueError"),
        ("task waits", "asyncio.exceptions.CancelledError"),
    ]
    waiting = spans.one("task waits")
    assert (result(waiting), waiting.status.status_code) == ("cancellation", StatusCode.UNSET)
    assert spans.one("flow groups").attributes["otelflow.flow.tasks.failed"] == 2


def test_a_timeout_around_a_task_cancels_it_and_times_out_the_flow(spans):
    async def impatient():
        async with asyncio.timeout(0.01):
            await waits()

    with pytest.raises(TimeoutError):
        flow(impatient)().execute()

    assert spans.tree() == [("flow impatient", "timeout", [("task waits", "cancellation", [])])]
    assert spans.one("flow impatient").status.status_code is StatusCode.ERROR
    assert exceptions(spans) == [
        ("flow impatient", "TimeoutError"),
        ("task waits", "asyncio.exceptions.CancelledError"),
    ]


def test_a_timeout_inside_a_task_is_the_timeout_of_task_and_flow(spans):
    @task
    async def limited():
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    async def outer():
        await limited()

    with pytest.raises(TimeoutError):
        flow(outer)().execute()

    assert spans.tree() == [("flow outer", "timeout", [("task limited", "timeout", [])])]
    assert exceptions(spans) == [("task limited", "TimeoutError")]


def test_a_cancelled_flow_is_a_cancellation_all_the_way_down(spans):
    @flow
    async def stopped():
        await waits()

    async def main():
        running = asyncio.create_task(stopped().execute_async())
        await asyncio.sleep(0.01)
        running.cancel("go home")
        with pytest.raises(asyncio.CancelledError) as raised:
            await running
        return raised.value

    assert asyncio.run(main()).args == ("go home",)

    assert spans.tree() == [("flow stopped", "cancellation", [("task waits", "cancellation", [])])]
    assert exceptions(spans) == [("task waits", "asyncio.exceptions.CancelledError")]
    assert {span.status.status_code for span in spans.spans} == {StatusCode.UNSET}


def test_a_task_that_catches_its_cancellation_is_a_success(spans):
    @task
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved"

    async def main():
        running = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        running.cancel()
        return await running

    assert asyncio.run(main()) == "saved"

    assert spans.tree() == [("task stubborn", "success", [])]


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


def start(made):
    waiting = made()
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


@pytest.mark.parametrize("made", [counts, counts_async])
def test_a_generator_that_nobody_begins_is_no_run(spans, made):
    made()
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

    made = messy()
    next(made)
    with pytest.raises(OSError, match="cannot clean up"):
        made.close()

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
        said = [await anext(talking), await talking.asend("sent"), await talking.athrow(KeyError("in"))]
        return [*said, [item async for item in talking]]

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

    made = pieces().execute()
    assert (spans.tree(), made.status) == ([], None)
    assert list(made.flow_return_value) == [1, 2]

    assert spans.tree() == [
        ("flow pieces", "success", [("task part", "success", []), ("task part", "success", [])]),
    ]
    assert made.status == "success"


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


def test_an_exception_out_of_a_thread_with_the_context_is_recorded_once(spans):
    error = ValueError("in a thread")

    @task
    def breaks():
        raise error

    @flow
    def threaded():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, breaks).result(5)

    with pytest.raises(ValueError, match="in a thread"):
        threaded().execute()

    assert spans.tree() == [("flow threaded", "failure", [("task breaks", "failure", [])])]
    assert exceptions(spans) == [("task breaks", "ValueError")]


def test_an_exception_that_is_raised_anew_from_another_is_recorded_where_each_was_raised(spans):
    @task
    def low():
        raise KeyError("low")

    @flow
    def high():
        try:
            low()
        except KeyError as error:
            raise RuntimeError("high") from error

    with pytest.raises(RuntimeError, match="high"):
        high().execute()

    assert exceptions(spans) == [("flow high", "RuntimeError"), ("task low", "KeyError")]


def test_an_exception_that_was_caught_and_is_raised_later_is_not_recorded_again(spans):
    error = ValueError("kept")

    @task
    def breaks():
        raise error

    @flow
    def later():
        try:
            breaks()
        except ValueError as caught:
            kept = caught
        raise kept

    with pytest.raises(ValueError, match="kept"):
        later().execute()

    assert exceptions(spans) == [("task breaks", "ValueError")]


def test_the_same_exception_object_raised_by_two_tasks_is_recorded_on_each(spans):
    error = ValueError("shared")

    @task
    def first():
        raise error

    @task
    def second():
        raise error

    @flow
    def both():
        for tried in (first, second):
            try:
                tried()
            except ValueError:
                continue

    both().execute()

    assert len(exceptions(spans)) == 2, "raised twice, on two spans: each says where"
    assert result(spans.one("flow both")) == "success"


def test_an_exception_from_a_run_without_a_span_is_recorded_on_the_next_one_up():
    class NotThe(Sampler):
        """Records all but one span, as a sampler by name or rate may do."""

        def should_sample(self, parent_context, trace_id, name, *_, **__):
            return SamplingResult(Decision.DROP if name == "task unseen" else Decision.RECORD_AND_SAMPLE)

        def get_description(self):
            return "all but one"

    @task
    def unseen():
        raise ValueError("raised in the dark")

    @flow
    def seen():
        unseen()

    collected = testing.Trace()
    provider = TracerProvider(sampler=NotThe(), shutdown_on_exit=False)
    provider.add_span_processor(collected)
    previous = use_provider(provider)
    with pytest.raises(ValueError, match="in the dark"):
        seen().execute()
    use_provider(previous)

    assert exceptions(collected) == [("flow seen", "ValueError")]


def test_too_deep_a_recursion_is_recorded_once_and_leaves_nothing_open(spans, monkeypatch):
    monkeypatch.setattr(losses.logger, "disabled", True)

    @task
    def deeper():
        return deeper()

    with pytest.raises(RecursionError):
        deeper()

    assert {result(span) for span in spans.spans} == {"failure"}
    assert [kind for _, kind in exceptions(spans)] == ["RecursionError"]
    assert spans.open_spans == 0
    assert current_run() is None
