"""What may be decorated, what it looks like afterwards, and what is refused."""

import asyncio
import functools
import inspect
import pickle

import pydantic
import pytest
from osbot_utils.type_safe.Type_Safe import Type_Safe

from otelflow import Flow, Flow_Run__Config, OtelflowError, flow, task


@task
def module_task(number: int, *, by: int = 2) -> int:
    """Multiply."""
    return number * by


@flow
def module_flow(number: int) -> int:
    """Flow."""
    return module_task(number)


class Worker:
    factor = 10

    @task
    def method(self, number):
        return number * self.factor

    @task
    @classmethod
    def task_over_class(cls, number):
        return cls.factor, number

    @classmethod
    @task
    def class_over_task(cls, number):
        return cls.factor, number

    @task
    @staticmethod
    def task_over_static(number):
        return number

    @staticmethod
    @task
    def static_over_task(number):
        return number

    @flow
    def flow_method(self, number):
        return self.method(number)

    @flow()
    @classmethod
    def flow_over_class(cls, number):
        return cls.factor, number

    @classmethod
    @flow
    def class_over_flow(cls, number):
        return cls.factor, number

    @flow
    @staticmethod
    def flow_over_static(number):
        return number


class Callable:
    def __call__(self, number):
        return number + 1


class AsyncCallable:
    async def __call__(self, number):
        return number + 1


def test_bare_and_with_arguments_are_the_same(spans):
    def number():
        return 1

    for decorated in (task(number), task()(number), task(task_name="other")(number)):
        assert decorated() == 1
    for decorated in (flow(number), flow()(number), flow(flow_name="other")(number)):
        assert decorated().execute().flow_return_value == 1

    assert [span.name for span in spans.spans] == [
        "task number", "task number", "task other", "flow number", "flow number", "flow other",
    ]  # fmt: skip


def test_methods_of_every_kind_in_both_orders(spans):
    worker = Worker()

    assert worker.method(1) == 10
    assert Worker.task_over_class(1) == Worker.class_over_task(1) == worker.task_over_class(1) == (10, 1)
    assert Worker.task_over_static(1) == Worker.static_over_task(1) == worker.static_over_task(1) == 1
    assert worker.flow_method(2).execute().flow_return_value == 20
    assert Worker.flow_over_class(1).execute().flow_return_value == (10, 1)
    assert Worker.class_over_flow(1).execute().flow_return_value == (10, 1)
    assert Worker.flow_over_static(1).execute().flow_return_value == 1

    assert spans.named("task method")[0].attributes["code.function.name"] == f"{__name__}.Worker.method"
    assert spans.one("flow flow_method").attributes["code.function.name"] == f"{__name__}.Worker.flow_method"
    assert spans.one("flow class_over_flow").attributes["code.function.name"] == f"{__name__}.Worker.class_over_flow"


def test_partials_lambdas_builtins_and_callable_objects_run_too(spans):
    assert task(functools.partial(pow, 2))(3) == 8
    assert task(lambda: 1)() == 1
    assert task(len)([1, 2]) == 2
    assert task(Callable())(1) == 2
    assert asyncio.run(task(AsyncCallable())(1)) == 2
    assert task([1].append)(2) is None
    assert flow(functools.partial(pow, 2))(3).execute().flow_return_value == 8
    assert flow(lambda: 1)().execute().flow_return_value == 1

    assert [span.name for span in spans.spans] == [
        "task pow", "task <lambda>", "task len", "task Callable", "task AsyncCallable", "task append",
        "flow pow", "flow <lambda>",
    ]  # fmt: skip
    assert {span.attributes["otelflow.run.result"] for span in spans.spans} == {"success"}


def test_a_name_is_what_the_user_says(spans):
    task(task_name="named")(lambda: 1)()
    flow(flow_name="named")(lambda: 1)().execute()

    assert [span.name for span in spans.spans] == ["task named", "flow named"]


def test_a_decorated_function_looks_like_the_function():
    def plain(number: int, *, by: int = 2) -> int:
        """Multiply."""
        return number * by

    for decorated in (task(plain), flow(plain), task(raise_on_error=False)(plain)):
        assert inspect.isfunction(decorated)
        assert (decorated.__name__, decorated.__doc__, decorated.__module__) == ("plain", "Multiply.", __name__)
        assert decorated.__qualname__ == plain.__qualname__
        assert decorated.__annotations__ == plain.__annotations__
        assert inspect.signature(decorated) == inspect.signature(plain)
        assert decorated.__wrapped__ is plain


def test_a_task_is_of_the_kind_of_its_function():
    def function():
        return 1

    async def coroutine():
        return 1

    def generator():
        yield 1

    async def async_generator():
        yield 1

    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    for plain in (function, coroutine, generator, async_generator):
        assert [is_kind(task(plain)) for is_kind in kinds] == [is_kind(plain) for is_kind in kinds]


def test_decorated_functions_are_pickled_by_name():
    submitting = (module_task.submit, module_task.map, module_flow.resume)
    for decorated in (module_task, module_flow, *submitting):
        assert pickle.loads(pickle.dumps(decorated)) is decorated


def test_a_pydantic_model_takes_decorated_methods(spans):
    class Model(pydantic.BaseModel):
        factor: int = 3

        @task
        def times(self, number: int) -> int:
            return number * self.factor

        @flow()
        def run_it(self, number: int) -> int:
            return self.times(number)

    model = Model()

    assert model.run_it(2).execute().flow_return_value == 6
    assert model.model_dump() == {"factor": 3}
    assert set(Model.model_fields) == {"factor"}


def test_a_type_safe_class_takes_decorated_methods(spans):
    class Safe(Type_Safe):
        factor: int = 3

        @task()
        async def times(self, number: int) -> int:
            return number * self.factor

        @flow()
        async def run_it(self, number: int) -> int:
            return await self.times(number)

    safe = Safe()

    assert safe.run_it(2).execute().flow_return_value == 6
    assert safe.json() == {"factor": 3}
    assert spans.tree() == [("flow run_it", "success", [("task times", "success", [])])]


def test_values_are_recorded_only_when_asked_and_secrets_never(spans):
    @task
    def silent(number, password="x"):
        return number

    @task(capture_parameters=True, capture_return_value=True)
    def open_book(number, password="x"):
        return [number]

    @task(capture_parameters=["number"])
    def chosen(number, other):
        return number

    @flow(capture_parameters=True, capture_return_value=True)
    def open_flow(number):
        return number

    silent(1)
    open_book(7, password="hunter2")
    chosen(1, 2)
    open_flow(5).execute()

    def captured(name):
        attributes = spans.one(name).attributes.items()
        return {key: value for key, value in attributes if "parameter" in key or "return" in key}

    assert captured("task silent") == {}
    assert captured("task open_book") == {
        "otelflow.run.parameter.number": "7",
        "otelflow.run.parameter.password": "[redacted]",
        "otelflow.run.return_value": "[7]",
    }
    assert captured("task chosen") == {"otelflow.run.parameter.number": "1"}
    assert captured("flow open_flow") == {"otelflow.run.parameter.number": "5", "otelflow.run.return_value": "5"}


REFUSED = {
    "task keyword": (lambda: task(tsk_name="x"), TypeError, ["@task", "'tsk_name'", "did you mean 'task_name'?"]),
    "flow keyword": (lambda: flow(flow_nam="x"), TypeError, ["@flow", "'flow_nam'", "did you mean 'flow_name'?"]),
    "a keyword like no other": (lambda: task(qqq=1), TypeError, ["'qqq'", "known:", "raise_on_error"]),
    "no function": (lambda: task(3), TypeError, ["@task", "function or method", "int", "3"]),
    "a text": (lambda: flow("name"), TypeError, ["@flow", "'name'"]),
    "a class": (lambda: task(Worker), TypeError, ["@task", "Worker"]),
    "a class as flow": (lambda: flow(Worker), TypeError, ["@flow", "Worker"]),
    "a property": (lambda: task(property(len)), TypeError, ["@task", "property"]),
    "no config": (lambda: flow(flow_config={"print_logs": True})(len), ValueError, ["flow_config", "Flow_Run__Config"]),
    "config field": (lambda: Flow_Run__Config(print_log=True), ValueError, ["'print_log'", "mean 'print_logs'?"]),
    "config type": (lambda: Flow_Run__Config(print_logs="yes"), ValueError, ["print_logs", "True or False", "'yes'"]),
    "captured parameter": (
        lambda: task(capture_parameters=["nmber"])(module_task),
        ValueError,
        ["capture_parameters", "'nmber'", "module_task"],
    ),
    "flow setup": (lambda: Flow().setup(7), TypeError, ["A flow", "int"]),
    "not set up": (lambda: Flow().execute(), ValueError, ["nothing to run", "setup(target"]),
    "set up with nothing": (lambda: Flow().setup(), ValueError, ["nothing to run", "setup(target"]),
    "flow attribute": (lambda: Flow(flow_nme="x"), TypeError, ["'flow_nme'", "did you mean 'flow_name'?"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_clear_error_at_the_call(spans, case):
    make, kind, texts = REFUSED[case]
    with pytest.raises(kind) as raised:
        make()

    assert isinstance(raised.value, OtelflowError)
    assert "\n" not in str(raised.value)
    for words in texts:
        assert words in str(raised.value)
    assert spans.tree() == []
