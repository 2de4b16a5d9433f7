"""Which span is inside which, whoever calls whom and wherever it runs."""

import asyncio
import builtins
import contextvars
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN

from otelflow import flow, task
from otelflow._core.process.provider import use_provider
from otelflow._core.runs.current import SPAN_KEY, current_context, current_run, resume, suspend
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_run
from support.flows import ASYNC_LEAF, LEAF, add, async_leaf, leaf, opened
from support.programs import python


def test_tasks_and_flows_nest_as_they_call(spans):
    @task
    def branch():
        return leaf() + leaf()

    @flow
    def inner():
        return branch()

    @flow
    def outer():
        leaf()
        return inner().execute().flow_return_value

    run = outer().execute()

    assert run.flow_return_value == 2
    branches = [("task branch", "success", [LEAF, LEAF])]
    assert spans.tree() == [("flow outer", "success", [LEAF, ("flow inner", "success", branches)])]
    assert len({span.context.trace_id for span in spans.spans}) == 1
    assert [task.task_name for task in run.executed_tasks] == ["leaf"]


def test_a_task_belongs_to_the_nearest_flow(spans):
    @flow
    def inner():
        leaf()

    @flow
    def outer():
        inner().execute()
        leaf()

    outer().execute()

    first, second = spans.named("task leaf")
    assert first.attributes["otelflow.flow.name"] == "inner"
    assert second.attributes["otelflow.flow.name"] == "outer"
    outer_id = spans.one("flow outer").attributes["otelflow.flow.run.id"]
    assert second.attributes["otelflow.flow.run.id"] == outer_id != first.attributes["otelflow.flow.run.id"]


def test_tasks_outside_any_flow_are_traces_of_their_own(spans):
    leaf()
    leaf()

    assert spans.tree() == [LEAF, LEAF]
    assert len({span.context.trace_id for span in spans.spans}) == 2
    assert "otelflow.flow.name" not in spans.spans[0].attributes


def test_recursion_is_a_deep_tree(spans):
    @task
    def down(depth):
        return down(depth - 1) if depth else 0

    down(50)

    node, depth = spans.tree()[0], 0
    while node.children:
        (node,), depth = node.children, depth + 1
    assert depth == 50
    assert repr(spans).count("\n") == 50


def test_async_siblings_do_not_become_parents_of_each_other(spans):
    @task
    async def branch(number):
        await asyncio.sleep(0)
        await asyncio.gather(async_leaf(number), async_leaf(number))
        return leaf(number)

    @flow
    async def wide():
        return await asyncio.gather(*(branch(number) for number in range(3)))

    assert wide().execute().flow_return_value == [0, 1, 2]

    (root,) = spans.tree()
    assert [child.name for child in root.children] == ["task branch"] * 3
    for child in root.children:
        assert sorted(child.children) == [ASYNC_LEAF, ASYNC_LEAF, LEAF]


def test_a_hosts_span_is_the_parent_and_its_context_comes_back(spans):
    host = TracerProvider(shutdown_on_exit=False).get_tracer("host")

    with host.start_as_current_span("GET /orders") as request:
        flow(leaf)().execute()
        assert trace.get_current_span() is request
        leaf()

    first, last = spans.one("flow leaf"), spans.named("task leaf")[-1]
    assert first.parent.span_id == last.parent.span_id == request.get_span_context().span_id
    assert {span.context.trace_id for span in spans.spans} == {request.get_span_context().trace_id}


def test_the_users_own_spans_are_children_of_the_run(spans):
    own = TracerProvider(shutdown_on_exit=False).get_tracer("mine")
    seen = []

    @task
    def instrumented():
        with own.start_as_current_span("SELECT") as span:
            seen.append(span.parent.span_id)
            leaf()

    instrumented()

    assert seen == [spans.one("task instrumented").context.span_id]
    assert spans.one("task leaf").parent is not None


def test_one_flow_executed_twice_at_once_is_two_runs_with_their_own_tasks(spans):
    @flow
    async def slow():
        await async_leaf()

    async def main():
        both = slow()
        await asyncio.gather(both.execute_async(), both.execute_async())

    asyncio.run(main())

    runs, leaves = spans.named("flow slow"), spans.named("task async_leaf")
    run_ids = [span.attributes["otelflow.flow.run.id"] for span in runs]
    assert len(set(run_ids)) == 2
    assert [span.attributes["otelflow.flow.run.id"] for span in leaves] == run_ids
    assert [span.parent.span_id for span in leaves] == [span.context.span_id for span in runs]


def test_each_thread_has_a_current_run_of_its_own(spans):
    barrier = threading.Barrier(8, timeout=10)

    @flow
    def threaded(number):
        barrier.wait()
        leaf(number)
        barrier.wait()
        return leaf(number)

    threads = [threading.Thread(target=threaded(number).execute) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert spans.tree() == [("flow threaded", "success", [LEAF, LEAF])] * 8
    assert builtins.print.__module__ == "builtins"


def test_a_task_in_a_pool_is_no_part_of_an_empty_new_flow(spans):
    @flow()
    def pooled():
        with ThreadPoolExecutor(2) as pool:
            with_context = pool.submit(contextvars.copy_context().run, add, 1)
            without = pool.submit(add, 2)
            return with_context.result() + without.result()

    run = pooled().execute()

    inside, outside = sorted(spans.named("task add"), key=lambda span: "otelflow.flow.name" not in span.attributes)
    assert inside.attributes["otelflow.flow.run.id"] == run.flow_id
    assert inside.context.trace_id == spans.one("flow pooled").context.trace_id
    assert "otelflow.flow.run.id" not in outside.attributes
    assert outside.parent is None


def test_tasks_of_gather_belong_to_their_flow():
    @task()
    async def one(number):
        await asyncio.sleep(0)
        return number

    @flow()
    async def gathers():
        return await asyncio.gather(*(one(number) for number in range(6)))

    run = gathers().execute()

    assert run.flow_return_value == list(range(6))
    assert len(run.executed_tasks) == 6


def test_two_coroutines_in_one_context_each_end_as_they_end(spans):
    @task
    async def slow(name, seconds):
        await asyncio.sleep(seconds)
        return name

    async def run():
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        first = loop.create_task(slow("a", 0.01), context=context)
        second = loop.create_task(slow("b", 0.05), context=context)
        return await asyncio.gather(first, second)

    assert asyncio.run(run()) == ["a", "b"]
    assert {span.attributes["otelflow.run.result"] for span in spans.named("task slow")} == {"success"}
    assert spans.open_spans == 0


def test_runs_that_start_each_other_after_their_end_do_not_keep_each_other(spans):
    contexts = [contextvars.copy_context()]

    @task
    def step():
        contexts[0] = contextvars.copy_context()
        return weakref.ref(current_run())

    runs = [contexts[0].run(step) for _ in range(5)]
    gc.collect()

    assert [run() is None for run in runs] == [True, True, True, False, False]
    assert [span.parent and span.parent.span_id for span in spans.spans] == [
        None,
        *(span.context.span_id for span in spans.spans[:-1]),
    ]


def with_spans(*have_span):
    """Open runs inside each other, some with a span and some without, and return them."""
    runs = []
    for has_span in have_span:
        use_provider(TracerProvider(shutdown_on_exit=False) if has_span else None)
        runs.append(opened(parent=runs[-1] if runs else None))
    assert [run.is_recording for run in runs] == list(have_span)
    return runs


def place():
    return current_run(), trace.get_current_span()


@pytest.mark.parametrize("have_span", [(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False)])
def test_a_run_that_ends_before_those_inside_it_lets_them_come_out_where_it_would_have(have_span):
    host = TracerProvider(shutdown_on_exit=False).get_tracer("host")
    around, between, inside = [], [], []
    with host.start_as_current_span("request") as request:
        outer, middle, inner = with_spans(*have_span)
        innermost = next((run.span for run in (inner, middle) if run.is_recording), request)
        close_run(outer, SUCCESS)
        inside += place()
        close_run(middle, SUCCESS)
        between += place()
        close_run(inner, SUCCESS)
        around += place()

    assert inside == [inner, innermost]
    assert between == [inner, inner.span if inner.is_recording else request]
    assert around == [None, request]
    assert [(run.is_current, run.outer) for run in (outer, middle, inner)] == [(False, None)] * 3


@pytest.mark.parametrize("has_span", [True, False])
def test_between_two_steps_of_a_generator_what_was_current_around_it_is_current(has_span):
    (generator,) = with_spans(has_span)
    inner = opened(parent=generator)
    suspend(generator)
    outside = place()
    consumer = opened()
    around = place()
    resume(generator)
    within = place()
    held = generator.inner
    close_run(inner, SUCCESS)
    close_run(generator, SUCCESS)
    after = place()
    close_run(consumer, SUCCESS)

    assert outside == place() == (None, trace.INVALID_SPAN)
    assert within == (inner, inner.span)
    assert held is None
    assert after == around == (consumer, consumer.span)


def test_a_generator_that_waits_does_not_keep_who_consumed_it():
    @task
    def numbers():
        yield from range(3)

    @task
    def consume(generator):
        next(generator)
        return weakref.ref(current_run())

    generator = numbers()
    next(generator)
    consumer = consume(generator)
    gc.collect()

    assert consumer() is None
    assert list(generator) == [2]


def test_a_run_that_has_ended_is_neither_suspended_nor_resumed():
    around, run = opened("around"), opened()
    close_run(run, SUCCESS)
    suspend(run)
    suspended = current_run()
    resume(run)

    assert suspended is current_run() is around
    close_run(around, SUCCESS)


def test_what_a_generator_has_left_running_comes_out_where_its_consumer_is():
    generator = opened("generator")
    inner = opened("inner", generator)
    suspend(generator)
    consumer = opened("consumer")
    resume(generator)
    close_run(generator, SUCCESS)
    close_run(inner, SUCCESS)

    assert current_run() is consumer
    assert (generator.outer, inner.outer) == (None, None)
    close_run(consumer, SUCCESS)


def test_the_context_that_is_read_by_a_shorter_road_is_that_of_opentelemetry():
    token = otel_context.attach(otel_context.set_value("key", "value"))
    inside = current_context(), otel_context.get_current()
    otel_context.detach(token)

    assert inside[0] is inside[1]
    assert current_context() is otel_context.get_current()
    assert trace.get_current_span(Context({SPAN_KEY: INVALID_SPAN})) is INVALID_SPAN


def test_in_a_copy_of_the_context_a_run_comes_out_where_something_is_still_open():
    first = opened()
    second = opened(parent=first)
    copy = contextvars.copy_context()
    inner = copy.run(opened, "inner", second)

    close_run(second, SUCCESS)
    copy.run(close_run, inner, SUCCESS)
    afterwards = copy.run(current_run)
    close_run(first, SUCCESS)

    assert afterwards is first


def test_a_generator_that_waits_already_keeps_what_its_body_had():
    generator = opened("generator")
    inner = opened("inner", generator)
    suspend(generator)
    consumer = opened("consumer")
    suspend(generator)
    within = current_run()
    resume(generator)

    assert within is consumer
    assert current_run() is inner
    for run in (inner, generator, consumer):
        close_run(run, SUCCESS)


CONTEXT = """
import threading

from opentelemetry.context.context import Context, _RuntimeContext


class OfThreads(_RuntimeContext):
    # Keeps a context for each thread, and counts how often it is asked.

    calls = 0

    def __init__(self):
        self.local = threading.local()

    def attach(self, context):
        OfThreads.calls += 1
        before, self.local.context = self.get_current(), context
        return before

    def get_current(self):
        return getattr(self.local, "context", None) or Context()

    def detach(self, token):
        self.local.context = token
"""


def test_another_kind_of_context_is_used_where_opentelemetry_uses_it(tmp_path):
    (tmp_path / "of_threads.py").write_text(CONTEXT)
    metadata = tmp_path / "of_threads-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: of-threads\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[opentelemetry_context]\nof_threads = of_threads:OfThreads\n")
    done = python(
        """
        from opentelemetry import context, trace
        from opentelemetry.sdk.trace import TracerProvider
        import otelflow
        from of_threads import OfThreads

        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))

        @otelflow.task
        def inner():
            return trace.get_current_span()

        @otelflow.flow
        def outer():
            span = inner()
            assert span.parent.span_id == trace.get_current_span().get_span_context().span_id
            return span.name

        assert type(context._RUNTIME_CONTEXT) is OfThreads
        print(outer().execute().flow_return_value, OfThreads.calls, trace.get_current_span() is trace.INVALID_SPAN)
        """,
        PYTHONPATH=tmp_path,
        OTEL_PYTHON_CONTEXT="of_threads",
    )

    assert (done.stdout, done.stderr) == ("task inner 4 True\n", "")
