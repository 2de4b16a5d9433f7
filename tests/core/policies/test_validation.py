"""Arguments that are validated and converted: what fits, what does not, and what is left alone."""

import asyncio
import dataclasses
import functools
import sys
import typing

import pytest

from otelflow import INJECTED, Flow, Task, flow, semconv, task
from otelflow._core.flows.definition import Definition
from otelflow.errors import ConfigurationError, InvalidParameter, MissingExtra, UnfillableParameter

pydantic = pytest.importorskip("pydantic")


class Order(pydantic.BaseModel):
    """A model."""

    number: int
    items: list[str] = pydantic.Field(default_factory=list)


@dataclasses.dataclass
class Place:
    """A dataclass of the standard library."""

    city: str


class Connection:
    """A class that pydantic knows nothing of."""


validated = task(validate_parameters=True)


def test_arguments_are_what_their_annotations_say(spans):
    @validated
    def step(number: int, order: Order, place: Place, *rest: float, text: str = "x", anything=None, **more: int):
        return number, order, place, rest, text, anything, more

    result = step("3", {"number": "4"}, {"city": "Lisbon"}, "1.5", 2, text="y", anything="5", other="6")

    assert result == (3, Order(number=4), Place("Lisbon"), (1.5, 2.0), "y", "5", {"other": 6})
    assert spans.one("task step").attributes[semconv.RUN_RESULT] == "success"


def test_flows_generators_methods_and_async_functions_as_well():
    @flow(validate_parameters=True)
    def whole(number: int):
        return number

    @validated
    def numbers(limit: int):
        yield from range(limit)

    @validated
    async def step(number: int):
        return number

    class Shop:
        @validated
        def price(self, number: int):
            return number

        @staticmethod
        @validated
        def static(number: int):
            return number

    class Double(Flow):
        def main(self, number: int):
            return 2 * number

    assert whole("3").execute().flow_return_value == 3
    assert list(numbers("3")) == [0, 1, 2]
    assert asyncio.run(step("3")) == 3
    assert (Shop().price("3"), Shop.static("3")) == (3, 3)
    assert Double(validate_parameters=True).setup(number="3").execute().flow_return_value == 6


def test_what_does_not_fit_names_the_task_and_the_parameter_and_the_body_is_not_called(spans):
    calls = []

    @task(validate_parameters=True, retries=3)
    def step(number: int):
        calls.append(number)

    with pytest.raises(InvalidParameter, match=r"^task 'step' cannot be called: its parameter 'number' is 'x': input"):
        step("x")

    assert calls == []
    assert spans.tree() == [("task step", "error", [])]


def test_so_does_a_flow_and_says_where_inside_a_value_it_is():
    @flow(validate_parameters=True)
    def whole(order: Order):
        return order

    with pytest.raises(
        InvalidParameter, match=r"flow 'whole' cannot be called: its parameter 'order' .* at number, input"
    ):
        whole({"number": "x"}).execute()


def test_the_value_of_a_secret_is_not_shown():
    @validated
    def step(password: int):
        return password

    with pytest.raises(InvalidParameter, match="its parameter 'password' is") as caught:
        step("hunter2")

    assert "hunter2" not in str(caught.value)


def test_a_call_that_does_not_fit_is_said_as_ever():
    @validated
    def step(number: int):
        return number

    with pytest.raises(UnfillableParameter, match="missing a required argument: 'number'"):
        step()


def test_what_is_injected_is_left_as_it_is():
    data, connection = {"a": "1"}, Connection()

    class Asking(Flow):
        def task_dependencies(self):
            return {"database": connection, "rows": data}

        def main(self):
            return step("3")

    @validated
    def step(
        number: int,
        this_flow: Flow = INJECTED,
        this_task: Task = INJECTED,
        flow_data: dict[str, int] = INJECTED,
        rows: dict[str, int] = INJECTED,
        database: Connection = INJECTED,
    ):
        return number, this_flow, this_task.task_name, flow_data, rows, database

    asking = Asking(data=data)
    number, this_flow, name, flow_data, rows, database = asking.execute().flow_return_value

    assert (number, this_flow, name) == (3, asking, "step")
    assert flow_data is asking.data
    assert (rows is data, database is connection) == (True, True)


def test_an_object_of_a_class_of_the_program_must_be_one():
    @validated
    def step(connection: Connection):
        return connection

    connection = Connection()

    assert step(connection) is connection
    with pytest.raises(InvalidParameter, match="its parameter 'connection' is 3: input should be an instance of"):
        step(3)


def test_an_annotation_may_name_what_is_defined_later():
    @validated
    def step(order: "Later"):  # noqa: F821 it comes below
        return order

    globals()["Later"] = int
    try:
        assert step("3") == 3
    finally:
        del globals()["Later"]


def test_an_annotation_that_names_nothing_is_said_at_the_call(spans):
    @validated
    def step(order: "Nothing"):  # noqa: F821 that is the point
        return order

    with pytest.raises(ConfigurationError, match="'step': validate_parameters: name 'Nothing' is not defined"):
        step(1)


def test_a_partial_is_validated_as_its_function():
    def step(number: int, factor: int):
        return number * factor

    assert task(validate_parameters=True)(functools.partial(step, factor=2))("3") == 6


def test_without_pydantic_the_decorator_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)

    with pytest.raises(MissingExtra, match=r"pip install 'otelflow\[validate\]'"):
        validated(lambda: 1)


def test_without_the_keyword_nothing_is_converted():
    assert task(validate_parameters=False)(lambda number: number)("3") == "3"


def test_an_annotation_that_is_no_type_says_nothing_of_the_value():
    @validated
    def step(value: 3):
        return value

    assert step("x") == "x"


def test_annotations_that_cannot_be_used_are_said_at_decoration():
    def number(value: typing.Annotated[int, pydantic.Field(discriminator="kind")]):
        return value

    def syntax(value: "a b"):  # noqa: F722 that is the point
        return value

    with pytest.raises(ConfigurationError, match="'number': validate_parameters cannot use the annotation of 'value'"):
        validated(number)
    with pytest.raises(
        ConfigurationError, match="'syntax': validate_parameters cannot use its annotations: SyntaxError"
    ):
        validated(syntax)


def test_a_body_whose_run_could_not_be_opened_is_validated_all_the_same():
    def step(number: int):
        return number

    body = Definition("@task", step, {"validate_parameters": True}).body

    assert body("3") == 3
    with pytest.raises(InvalidParameter, match=r"^task 'step' cannot be called: its parameter 'number'"):
        body("x")
