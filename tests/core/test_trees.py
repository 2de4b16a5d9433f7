"""Which span is inside which, whoever calls whom and wherever it runs."""

import asyncio
import builtins
import contextvars
import dataclasses
import logging
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otelflow import Flow, Flow_Run__Config, Task, flow, task
from otelflow._core.process import provider as core_spans
from otelflow._core.runs.current import current_run

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@task
def leaf(value=1):
    return value


@task
async def async_leaf(value=1):
    await asyncio.sleep(0)
    return value


LEAF = ("task leaf", "success", [])
ASYNC_LEAF = ("task async_leaf", "success", [])


@pytest.fixture
def warnings_said(monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "otelflow")
    return caplog


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


def test_a_subclass_runs_its_main_and_is_called_by_its_class(spans):
    class Sync(Flow):
        def main(self, this_flow=None):
            return this_flow, leaf()

    class Async(Flow[int]):
        async def main(self):
            return await async_leaf()

    first, second = Sync().execute(), Async().execute()

    assert first.flow_return_value == (first, 1)
    assert second.flow_return_value == 1
    assert spans.tree() == [("flow Sync", "success", [LEAF]), ("flow Async", "success", [ASYNC_LEAF])]
    assert spans.one("flow Sync").attributes["code.function.name"].endswith("<locals>.Sync.main")


def test_main_takes_arguments_by_setup_and_a_name_by_keyword(spans):
    class Adds(Flow):
        def main(self, one, *, two):
            return one + two

    assert Adds(flow_name="sum").setup(None, 1, two=2).execute().flow_return_value == 3
    assert Flow(flow_name="pow").setup(pow, 2, 3).execute().flow_return_value == 8

    assert [span.name for span in spans.spans] == ["flow sum", "flow pow"]


def test_a_block_makes_its_flow_current_without_a_span(spans):
    with Flow(flow_name="ambient") as around:
        assert current_run().flow is around
        leaf()
        leaf()
    leaf()

    assert spans.tree() == [LEAF, LEAF, LEAF]
    inside = [span.attributes.get("otelflow.flow.name") for span in spans.spans]
    assert inside == ["ambient", "ambient", None]
    assert {span.attributes["otelflow.flow.run.id"] for span in spans.spans[:2]} == {around.flow_id}
    assert [task.task_name for task in around.executed_tasks] == ["leaf", "leaf"]
    assert around.status is None
    assert current_run() is None


def test_execute_inside_its_own_block_is_the_run(spans):
    class Own(Flow):
        def main(self):
            return leaf()

    with Own() as run:
        result = run.execute()

    assert result is run
    assert spans.tree() == [("flow Own", "success", [LEAF])]


def test_blocks_nest_and_an_exception_passes_through(spans):
    error = ValueError("out of the block")
    inner = Flow(flow_name="b")

    def blocks():
        with Flow(flow_name="a"), inner, inner:
            leaf()
            raise error

    with pytest.raises(ValueError, match="out of the block") as raised:
        blocks()

    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert spans.one("task leaf").attributes["otelflow.flow.name"] == "b"
    assert current_run() is None
    assert builtins.print.__module__ == "builtins"


def test_a_flow_executed_in_the_block_of_another_is_its_own_run(spans):
    @flow
    def inner():
        return leaf()

    with Flow(flow_name="around") as around:
        inner().execute()

    assert spans.tree() == [("flow inner", "success", [LEAF])]
    assert spans.one("task leaf").attributes["otelflow.flow.name"] == "inner"
    assert list(around.executed_tasks) == []


def test_each_execute_is_a_run_with_an_id_of_its_own(spans):
    @flow
    def again():
        return leaf()

    run = again()
    ids = [run.execute().flow_id for _ in range(3)]

    assert len(set(ids)) == 3
    assert [span.attributes["otelflow.flow.run.id"] for span in spans.named("flow again")] == ids
    assert [span.attributes["otelflow.flow.run.id"] for span in spans.named("task leaf")] == ids
    assert len(run.executed_tasks) == 1
    assert len({span.context.trace_id for span in spans.named("flow again")}) == 3


def test_an_id_that_the_user_gave_stays(spans):
    run = Flow(flow_id="mine").setup(leaf)
    run.execute()
    run.execute()

    assert [span.attributes["otelflow.flow.run.id"] for span in spans.named("flow leaf")] == ["mine", "mine"]


def test_a_run_that_follows_a_failure_starts_clean(spans):
    numbers = iter([0, 1])

    @flow
    def flaky():
        return 1 / next(numbers)

    run = flaky()
    with pytest.raises(ZeroDivisionError):
        run.execute()
    assert run.status == "failure"
    run.execute()

    assert (run.status, run.flow_error, run.flow_return_value) == ("success", None, 1.0)
    assert [root.result for root in spans.tree()] == ["failure", "success"]


def test_run_gives_the_data(spans):
    @flow(data={"given": 1})
    def collects(flow_data):
        flow_data["found"] = 2
        return "not this"

    assert collects().run() == {"given": 1, "found": 2}
    assert collects().run() == {"given": 1, "found": 2}, "each call of the flow begins with its own data"


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
    said = [record.getMessage() for record in warnings_said.records]
    assert len(said) == 1
    assert "await flow.execute_async()" in said[0]


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


def test_a_task_used_directly_runs_like_any_other(spans):
    with Task() as made:
        made.task_target = pow
        made.task_args = (2, 3)
        value = made.execute__sync()

    async def double(number):
        return number * 2

    later = Task(double, (4,))
    assert (value, made.task_return_value, made.task_name) == (8, 8, "pow")
    assert asyncio.run(later.execute__async()) == 8
    assert asyncio.run(Task(pow, (2, 2)).execute__async()) == 4

    assert [root.name for root in spans.tree()] == ["task pow", "task double", "task pow"]
    with pytest.raises(TypeError, match="A task needs a function"):
        Task().execute__sync()


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


@pytest.fixture
def first_flow(monkeypatch):
    """As if no flow had run in this process yet."""
    monkeypatch.setattr(core_spans._chosen, "is_first_flow", True)
    return monkeypatch


def test_traceparent_is_the_parent_of_the_first_flow_only(spans, first_flow):
    first_flow.setenv("TRACEPARENT", PARENT)
    first_flow.setenv("TRACESTATE", "vendor=1")
    leaf()
    flow(leaf)().execute()
    flow(leaf)().execute()

    first, second = spans.named("flow leaf")
    assert f"{first.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert first.context.trace_state == {"vendor": "1"}
    assert second.parent is None
    assert second.context.trace_id != first.context.trace_id
    assert spans.spans[0].parent is None, "a task outside a flow has no part in it"


@pytest.mark.parametrize("text", ["nonsense", "00-0-0-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_malformed_traceparent_is_one_warning_and_a_new_trace(spans, first_flow, warnings_said, text):
    first_flow.setenv("TRACEPARENT", text)
    flow(leaf)().execute()
    flow(leaf)().execute()

    assert [span.parent for span in spans.named("flow leaf")] == [None, None]
    said = [record.getMessage() for record in warnings_said.records]
    assert len(said) == 1
    assert "TRACEPARENT" in said[0]
    assert text in said[0]


def test_a_current_span_comes_before_traceparent(spans, first_flow):
    first_flow.setenv("TRACEPARENT", PARENT)
    host = TracerProvider(shutdown_on_exit=False).get_tracer("host")
    with host.start_as_current_span("request") as request:
        flow(leaf)().execute()

    assert spans.one("flow leaf").parent.span_id == request.get_span_context().span_id


def test_runs_need_nobody_who_makes_spans():
    error = KeyError("still mine")

    @task
    def breaks():
        raise error

    @flow
    def bare():
        assert leaf() == 1
        return breaks()

    run = bare()
    with pytest.raises(KeyError) as raised:
        run.execute()

    assert raised.value is error
    assert (run.status, run.flow_error) == ("failure", error)
    assert [task.status for task in run.executed_tasks] == ["success", "failure"]
    assert current_run() is None


def test_a_flow_does_not_keep_its_tasks_when_asked_not_to(spans):
    run = flow(flow_config=Flow_Run__Config(add_task_to_self=False))(leaf)()

    run.execute()

    assert list(run.executed_tasks) == []


@pytest.mark.parametrize("value", [0, False, [], "", 0.0])
def test_a_falsy_return_value_is_a_result_like_any_other(spans, value):
    flow(
        lambda: value,
    )().execute()

    (event,) = spans.events("flow Flow")
    assert event.name == "otelflow.result"
    assert dict(event.attributes) == {
        "otelflow.result.key": "flow-return-value",
        "otelflow.result.description": str(value),
    }


def test_a_subclass_with_an_init_of_its_own_is_a_flow_like_any_other(spans):
    @dataclasses.dataclass
    class Fetch(Flow):
        url: str
        data: dict = dataclasses.field(default_factory=lambda: {"its": "own"})

        def main(self, flow_data):
            leaf()
            return self.url, flow_data

    class Plain(Flow):
        def __init__(self):
            self.flow_name = "renamed"

        def main(self):
            return self.flow_name

    fetch = Fetch("http://localhost")

    assert fetch.execute().flow_return_value == ("http://localhost", {"its": "own"})
    assert Plain().setup().execute().flow_return_value == "renamed"
    with Fetch("x") as block:
        leaf()
    assert len(block.executed_tasks) == 1
    with pytest.raises(AttributeError, match="'Plain' object has no attribute 'nothing'"):
        _ = Plain().nothing
    assert [span.name for span in spans.spans if span.parent is None] == ["flow Fetch", "flow renamed", "task leaf"]


def test_a_flow_may_be_given_its_data(spans):
    given = {"one": 1}
    run = Flow(data=given).setup(lambda flow_data: flow_data.update(two=2))

    assert run.run() == {"one": 1, "two": 2}
    assert given == {"one": 1}


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
