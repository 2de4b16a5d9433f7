"""A flow: its names, ids, data and values, its subclasses, and the names that existing code calls."""

import asyncio
import dataclasses
import functools
import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from otelflow import Flow, Flow_Run__Config, flow, task
from otelflow._core.process import clock, losses
from support.flows import ASYNC_LEAF, LEAF, add, async_leaf, leaf, total
from support.spans import texts


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


def test_a_flow_does_not_keep_its_tasks_when_asked_not_to(spans):
    run = flow(flow_config=Flow_Run__Config(add_task_to_self=False))(leaf)()

    run.execute()

    assert list(run.executed_tasks) == []


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
    data = {"one": 1}
    run = Flow(data=data).setup(lambda flow_data: flow_data.update(two=2))

    assert run.run() == {"one": 1, "two": 2}
    assert data == {"one": 1}


def test_a_decorated_function_returns_a_flow_that_is_set_up_and_not_executed():
    run = total(1)

    assert isinstance(run, Flow)
    assert (run.flow_name, run.flow_args, run.flow_kwargs) == ("total", (1,), {})
    assert run.flow_target.__name__ == "total"
    assert run.flow_id.startswith("flow_id__")
    assert (run.status, run.flow_error, list(run.executed_tasks)) == (None, None, [])
    run.execute()


@pytest.mark.parametrize(
    "keyword", [{"flow_name": "x"}, {"flow_id": "flow_id__x"}, {"flow_config": Flow_Run__Config()}]
)
def test_the_decorator_takes_attributes_of_a_flow(keyword):
    run = flow(**keyword)(lambda: 1)().execute()

    ((name, value),) = keyword.items()
    assert getattr(run, name) is value


def test_setup_and_both_ways_to_execute_return_the_flow():
    run = Flow()

    assert run.setup(lambda a, b=0: a + b, 1, b=2) is run
    assert run.execute() is run
    assert (run.flow_return_value, run.flow_run_params) == (3, {})
    assert run.execute_flow({"x": 1}) is run
    assert run.flow_run_params == run.execute_flow().flow_run_params == {"x": 1}


def test_a_flow_knows_whether_it_is_set_up():
    run = Flow()

    before, after = run.setup_completed, run.setup(pow, 2, 3).setup_completed
    assert (before, after) == (False, True)
    run.execute()


def test_setup_without_a_target_runs_main_and_a_subclass_sets_itself_up():
    class Mine(Flow):
        def main(self):
            return "main"

    assert Mine().setup().execute().flow_return_value == "main"
    assert Mine().execute().flow_return_value == "main"


def test_execute_before_setup_says_so():
    with pytest.raises(ValueError, match=r"call setup\(target, \*args, \*\*kwargs\) before execute\(\)"):
        Flow().execute()


def test_names_and_ids_can_be_set():
    run = Flow().set_flow_target(add, 1)
    assert run.flow_name == "add"
    assert run.set_flow_name("mine").flow_name == "mine"
    assert run.set_flow_name().flow_name == "add"

    run.set_flow_id__time_now().execute()

    assert re.fullmatch(r"flow_id__\d{4}-\d\d-\d\d__\d\d-\d\d-\d\d__\d{9}", run.flow_id)


def test_a_class_with_main_gets_its_name_and_no_function_gets_one_too():
    class Named(Flow):
        def main(self):
            pass

    assert Named().execute().flow_name == "Named"
    assert flow()(lambda: 1)().execute().flow_name


def test_each_execute_is_a_run_of_its_own():
    run = total(1)

    ids = [run.execute().flow_id for _ in range(3)]

    assert len(set(ids)) == 3
    assert len(run.executed_tasks) == 1


def test_a_property_that_raises_attribute_error_keeps_its_own_words(spans):
    class Import(Flow):
        @property
        def connection(self):
            return None.cursor

        def main(self):
            return self.connection

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'cursor'"):
        Import().execute()


@pytest.mark.parametrize("kind", [staticmethod, classmethod, functools.partialmethod])
def test_a_flow_is_called_by_its_class_whatever_kind_of_method_main_is(spans, kind):
    class Nightly(Flow):
        main = kind(lambda *_: 1)

    Nightly().execute()

    assert [span.name for span in spans.spans] == ["flow Nightly"]


def test_what_a_flow_logs_goes_to_its_own_run_and_not_to_that_of_another_flow_inside(spans):
    @task
    def step(this_flow=None, outer_flow=None):
        this_flow.log_info("of inner")
        outer_flow.log_info("of outer")

    @flow
    def inner(outer_flow):
        step(outer_flow=outer_flow)

    @flow
    def outer(this_flow=None):
        inner(this_flow).execute()

    outer().execute()

    assert texts(spans.one("task step")) == ["of inner"]
    assert texts(spans.one("flow outer")) == ["of outer"]
    assert texts(spans.one("flow inner")) == []


def test_a_flow_that_executes_on_call_returns_and_raises_what_its_function_does(spans):
    @flow(execute_on_call=True, data={"offset": 1})
    def add(number, flow_data):
        if number < 0:
            raise ValueError("negative")
        return number + flow_data["offset"]

    @flow(execute_on_call=True)
    async def outer():
        return [add(1), add(2)]

    assert asyncio.run(outer()) == [2, 3]
    with pytest.raises(ValueError, match="negative"):
        add(-1)
    assert spans.tree() == [
        ("flow outer", "success", [("flow add", "success", []), ("flow add", "success", [])]),
        ("flow add", "failure", []),
    ]


def test_each_call_of_a_flow_that_executes_on_call_is_a_run_of_its_own(spans):
    @flow(execute_on_call=True)
    def count(number):
        return number and count(number - 1)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, [2] * 8)) == [0] * 8
    assert len({span.attributes["otelflow.flow.run.id"] for span in spans.named("flow count")}) == 24


def test_a_generator_flow_that_executes_on_call_is_its_steps(spans):
    @flow(execute_on_call=True)
    def steps():
        yield 1
        yield 2

    assert list(steps()) == [1, 2]
    assert [span.attributes["otelflow.run.result"] for span in spans.named("flow steps")] == ["success"]


def test_a_flow_is_awaited_once_at_a_time():
    started = asyncio.Event()

    @flow
    async def slow():
        started.set()
        await asyncio.sleep(0.01)
        return 42

    async def both():
        run = slow()
        first = asyncio.create_task(asyncio.wait_for(run, 10))
        await started.wait()
        with pytest.raises(
            RuntimeError, match=r"^flow 'slow' is being awaited already: await it once, or call slow\(\)"
        ):
            await run
        return await first, await run

    first, second = asyncio.run(both())
    assert first is second
    assert first.flow_return_value == 42


def test_what_one_run_adds_to_its_data_is_not_there_for_the_next():
    held = object()

    @flow(data={"rows": [], "by_day": {"monday": [1]}, "names": {"a"}, "held": held})
    def collect(flow_data):
        flow_data["rows"].append(1)
        flow_data["by_day"]["monday"].append(2)
        flow_data["names"].add("b")
        return len(flow_data["rows"]), flow_data["by_day"], flow_data["names"], flow_data["held"] is held

    runs = [collect().execute().flow_return_value for _ in range(2)]

    assert runs == [(1, {"monday": [1, 2]}, {"a", "b"}, True)] * 2


def test_an_id_of_the_time_is_not_ahead_of_it(monkeypatch):
    monkeypatch.setattr(clock, "time_ns", lambda: 1_700_000_028_999_999_999)

    assert Flow().set_flow_id__time_now().flow_id == "flow_id__2023-11-14__22-13-48__999999999"


def test_lines_are_printed_also_where_stdout_takes_ascii_only(spans, monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))

    @flow(flow_config=Flow_Run__Config(print_logs=True))
    def menu(this_flow):
        this_flow.log_info("café")

    menu().execute()
    sys.stdout.flush()

    assert "caf\\xe9" in content.getvalue().decode()
    assert losses.dropped == {}
