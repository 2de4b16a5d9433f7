"""What decorators make of what they are given: refused twice, caches kept, ids and names of other types."""

import enum
import functools
import uuid

import pytest

from otelflow import Flow, Task, errors, flow, task


def number():
    return 1


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: task(flow(number)), "number(…).execute().flow_return_value"),
        (lambda: flow(flow(number)), "leave one @flow out"),
        (lambda: task(task(number)), "leave one @task out"),
        (lambda: task(raise_on_error=False)(flow(flow_name="x")(number)), "execute()"),
        (lambda: task(staticmethod(task(number))), "leave one @task out"),
        (lambda: task(functools.partial(flow(number))), "execute()"),
    ],
)
def test_a_function_is_decorated_once(make, cure):
    with pytest.raises(errors.DecoratedTwice) as raised:
        make()

    assert cure in str(raised.value)
    assert "'number'" in str(raised.value)


class Nightly(Flow):
    @flow
    def main(self):
        return 1


class Monthly(Flow):
    def main(self):
        return 1


@pytest.mark.parametrize(
    ("make", "error", "cure"),
    [
        (lambda: Flow().setup(flow(number)), errors.DecoratedTwice, "number(…).execute() runs it"),
        (lambda: Flow().setup(functools.partial(flow(number))), errors.DecoratedTwice, "number(…).execute() runs it"),
        (lambda: Flow().set_flow_target(flow(number)), errors.DecoratedTwice, "number(…).execute() runs it"),
        (lambda: Flow().setup(Monthly), errors.NotCallable, "Monthly().execute() runs it"),
        (lambda: task(property(len)), errors.NotCallable, "put @task on the function inside of it"),
        (lambda: flow(functools.cached_property(len)), errors.NotCallable, "put @flow on the function inside of it"),
        (lambda: task(functools.singledispatchmethod(len)), errors.NotCallable, "put @task on the function inside"),
        (lambda: task(functools.partialmethod(len)), errors.NotCallable, "put @task on the function inside of it"),
        (lambda: Nightly().execute(), errors.DecoratedTwice, "leave @flow out"),
        (lambda: Task(flow(number)).execute__sync(), errors.DecoratedTwice, "number(…).execute().flow_return_value"),
    ],
)
def test_what_would_only_set_a_flow_up_is_no_target(make, error, cure):
    with pytest.raises(error) as raised:
        make()

    assert cure in str(raised.value)


def test_a_flow_that_runs_when_it_is_called_is_a_target(spans):
    assert Flow().setup(flow(execute_on_call=True)(number)).execute().flow_return_value == 1


def test_a_decorator_between_two_tasks_or_a_flow_of_a_task_is_no_mistake(spans):
    inner = task(number)

    @task
    @functools.wraps(inner)
    def twice():
        return inner() + inner()

    assert twice() == 2
    assert flow(inner)().execute().flow_return_value == 1


def test_a_cache_keeps_its_methods(spans):
    cached = task(functools.lru_cache(number))

    assert (cached(), cached()) == (1, 1)
    assert cached.cache_info().hits == 1
    cached.cache_clear()
    assert cached.cache_info().hits == 0


def test_a_generic_function_keeps_register(spans):
    @task
    @functools.singledispatch
    def kind(value):
        return "object"

    kind.register(int, lambda value: "int")

    assert (kind(1), kind("x")) == ("int", "object")


class Name(enum.Enum):
    NIGHTLY = "nightly"


def test_an_id_or_a_name_of_another_type_is_taken_as_its_text(spans):
    id_of_run = uuid.uuid4()
    flow(flow_id=id_of_run, flow_name=Name.NIGHTLY)(number)().execute()
    run = Flow(flow_id=id_of_run, flow_name=Name.NIGHTLY).setup(number).execute()
    run.flow_name = Name.NIGHTLY
    run.execute()
    task(task_id=id_of_run, task_name=Name.NIGHTLY)(number)()
    Task(number, task_id=id_of_run, task_name=Name.NIGHTLY).execute__sync()

    assert [span.name for span in spans.spans] == ["flow nightly"] * 3 + ["task nightly"] * 2
    ids = {value for span in spans.spans for key, value in span.attributes.items() if key.endswith("run.id")}
    assert ids == {str(id_of_run)}


def test_a_template_names_each_run_after_its_arguments(spans):
    class Odd:
        def __format__(self, spec):
            raise ValueError(spec)

    class Panic(Odd):
        def __format__(self, spec):
            raise SystemExit(spec)

    @task(task_run_name="page {number:03} of {shop.value} {password}")
    def fetch(number, shop=Name.NIGHTLY, password="none"):
        return number

    @flow(flow_run_name="load {path}")
    def load(path, *more):
        return fetch(7, password="hunter2"), fetch(number=8)

    load("a.csv").execute()
    task(task_run_name="{value}")(lambda value: 1)(Odd())
    task(task_run_name="{value}")(lambda value: 1)(Panic())
    task(task_run_name="{value}")(lambda value: 1)("x" * 1_000_000)

    assert [span.attributes["otelflow.task.run.name"] for span in spans.named("task fetch")] == [
        "page 007 of nightly [redacted]",
        "page 008 of nightly [redacted]",
    ]
    assert spans.one("flow load").attributes["otelflow.flow.run.name"] == "load a.csv"
    odd, panic, huge = [span.attributes["otelflow.task.run.name"] for span in spans.named("task <lambda>")]
    assert (odd, panic) == ("{value}", "{value}")
    assert len(huge) <= 1_000


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("page {nmber}", "did you mean 'number'"),
        ("{", "is no template"),
        ("{}", "no parameter ''"),
        ("{number:{width}}", "no parameter 'width'"),
        ("{number!z}", "is no template"),
    ],
)
def test_a_template_that_names_no_parameter_is_refused_at_decoration(template, sentence):
    def page(number):
        return number

    with pytest.raises(errors.ConfigurationError, match=sentence):
        task(task_run_name=template)(page)
    with pytest.raises(errors.ConfigurationError, match=sentence):
        flow(flow_run_name=template)(page)


@pytest.mark.parametrize("option", [{"capture_parameters": ["first"]}, {"task_run_name": "{first}"}])
def test_of_a_function_that_names_no_parameters_none_can_be_named(option):
    with pytest.raises(errors.ConfigurationError, match="'max' has no parameter 'first'"):
        task(**option)(max)
