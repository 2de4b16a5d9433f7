"""Functions, classes and contexts that a decorator might take for something else."""

import asyncio
import contextlib
import contextvars
import functools
import threading
import types
from collections.abc import Hashable
from typing import Any, Protocol

import pytest

from otelflow import Flow, flow, task
from otelflow._core.runs.current import current_run


class Repository(Protocol):
    def load(self): ...


@pytest.mark.parametrize(
    "annotation", [Any, Repository, Repository | None, Hashable | None, contextlib.AbstractContextManager | None]
)
def test_a_parameter_that_anything_would_fit_is_left_alone(spans, annotation):
    def load(path, cache=None):
        return path, cache

    load.__annotations__ = {"cache": annotation}

    @flow
    def both():
        return task(load)("x")

    assert task(load)("x") == ("x", None)
    assert both().execute().flow_return_value == ("x", None)


def test_a_class_of_the_flow_itself_is_still_injected(spans):
    class Import(Flow):
        def main(self):
            return needs_it()

    @task
    def needs_it(found: Import | None = None):
        return found

    made = Import()

    assert made.execute().flow_return_value is made


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


def test_threads_that_share_a_flow_each_leave_their_own_block():
    shared, inside, left = Flow(flow_name="shared"), threading.Barrier(2), threading.Event()
    found = {}

    def first():
        with shared:
            inside.wait(10)
        found["first after"] = current_run()
        left.set()

    def second():
        with shared:
            inside.wait(10)
            left.wait(10)
            found["second inside"] = current_run()
        found["second after"] = current_run()

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert found.pop("second inside").flow is shared
    assert found == {"first after": None, "second after": None}


def test_a_block_in_a_plain_generator_is_no_run_that_a_task_left_behind(spans):
    def numbers():
        with Flow(flow_name="around"):
            yield 1

    @task
    def opens():
        made = numbers()
        next(made)
        return made

    made = opens()
    made.close()

    assert current_run() is None
    assert spans.one("task opens").attributes["otelflow.run.result"] == "success"


def test_a_return_value_is_made_text_only_for_who_reads_it():
    class Query:
        asked = 0

        def __str__(self):
            Query.asked += 1
            return "rows"

    @flow
    def lazy():
        return Query()

    made = lazy().execute()

    assert Query.asked == 0
    assert made.results[0].description == "rows"
