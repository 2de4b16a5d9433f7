"""Whatever a value or an exception does when it is looked at, a run gives it back as it is, and reports it."""

import dataclasses
import json
from unittest import mock

import pytest

from otelflow import flow, task
from otelflow._core.text import classes
from otelflow.testing import flow_trace


def refuse(*_, **__):
    raise RuntimeError("it was looked at")


class RefusesHash(type):
    __hash__ = refuse


class RefusesComparison(type):
    __eq__ = refuse
    __hash__ = type.__hash__


class RefusesAttributes(type):
    __getattr__ = refuse


class RefusesNames(type):
    __name__ = __module__ = property(refuse)


class HidesClass:
    __class__ = property(refuse)


class RefusesAll:
    __getattribute__ = __format__ = __bool__ = __len__ = __iter__ = __reduce_ex__ = refuse


class IsAllItHas:
    def __getattribute__(self, name):
        return self

    def __call__(self, *_, **__):
        return self


class Gigantic(list):
    def __len__(self):
        return 2**70


class FutureByName:
    """Has what asyncio tells its futures by, and is none."""

    _asyncio_future_blocking = True
    done = refuse

    def __await__(self):
        yield


class Text(str):
    __slots__ = ()
    __str__ = __repr__ = __format__ = __eq__ = __hash__ = __len__ = __getitem__ = refuse


class Number(int):
    __str__ = __repr__ = __format__ = __eq__ = __hash__ = __bool__ = __int__ = __index__ = refuse


VALUES = {
    "hash of its class": lambda: RefusesHash("Value", (), {})(),
    "comparison of its class": lambda: RefusesComparison("Value", (), {})(),
    "attributes of its class": lambda: RefusesAttributes("Value", (), {})(),
    "names of its class": lambda: RefusesNames("Value", (), {})(),
    "its class": HidesClass,
    "everything": RefusesAll,
    "nothing": IsAllItHas,
    "a length": Gigantic,
    "a future": FutureByName,
    "a text": lambda: Text("text"),
    "a number": lambda: Number(3),
}


@pytest.fixture(params=VALUES)
def value(request):
    """Return what does not answer when it is asked for what the name says; pytest itself would ask it."""
    return lambda: VALUES[request.param]()


@task(capture_parameters=True, capture_return_value=True, task_run_name="{value}")
def pass_on(value):
    return value


@task
def echo(value):
    sent = yield value
    return sent


@flow(capture_parameters=True, capture_return_value=True)
def record(value, this_flow):
    this_flow.log_info(value)
    for artifact_type in (None, "json", "text", "own"):
        this_flow.add_flow_artifact(key="as-is", data=value, artifact_type=artifact_type)
    this_flow.add_flow_artifact(key="table", data=[{"cell": value}], artifact_type="table")
    this_flow.add_flow_result("result", value)
    return pass_on(value)


def test_a_value_of_any_class_comes_through_a_flow_and_is_recorded(value):
    value = value()

    with flow_trace() as trace:
        run = record(value).execute()

    is_same = run.flow_return_value is value  # pytest would show both if this were asserted as it is
    assert is_same
    assert [span.attributes["otelflow.run.result"] for span in trace.spans] == ["success", "success"]
    assert len(list(run.artifacts)) == 5
    assert json.dumps(run.json())


class Remote:
    """Stands for something far away, as ``xmlrpc.client.ServerProxy``: it answers whatever it is asked for."""

    def __init__(self, path=""):
        self.path = path

    def __getattr__(self, name):
        return Remote(f"{self.path}.{name}")

    def __call__(self, number):
        return self.path, number


@pytest.mark.parametrize(
    ("remote", "name"),
    [(Remote(), "Remote"), (Remote().shop.price, "Remote"), (mock.call, "_Call")],
    ids=["root", "method", "mock"],
)
def test_what_answers_whatever_it_is_asked_for_can_be_a_task_and_a_flow(remote, name):
    with flow_trace() as trace:
        values = task(remote)(3), flow(remote)(3).execute().flow_return_value

    assert values == (remote(3), remote(3))
    assert [(span.name, span.attributes["otelflow.run.result"]) for span in trace.spans] == [
        (f"task {name}", "success"),
        (f"flow {name}", "success"),
    ]


@task
def take(value):
    return value


@flow
def hand_on(value):
    return [future.result() for future in (take.submit(value), take.submit({"in": [value]}), *take.map([value]))]


def test_a_value_of_any_class_comes_through_submit_and_map(value):
    value = value()

    first, second, third = hand_on(value).execute().flow_return_value

    is_same = first is value and second["in"][0] is value and third is value
    assert is_same


class Rows(list):
    __iter__ = __len__ = __getitem__ = refuse


class Row(tuple):
    __slots__ = ()
    __iter__ = __len__ = __getitem__ = refuse


class Cells(dict):
    __iter__ = __len__ = __getitem__ = values = items = keys = refuse


class Lazy:
    """Says that it is a list, as what a framework makes of a query does, and asks the database for it."""

    __class__ = property(refuse)
    __iter__ = refuse


@dataclasses.dataclass
class LateField:
    rows: int = 0

    def __getattribute__(self, name):
        return refuse() if name == "rows" else super().__getattribute__(name)


@dataclasses.dataclass
class Computed:
    rows: int = dataclasses.field(init=False)


Computed.rows = property(refuse)


class AskedForFields:
    __dataclass_fields__ = property(refuse)


@pytest.mark.parametrize("kind", [Rows, Row, Cells, Lazy, LateField, Computed, AskedForFields])
def test_nothing_of_what_is_submitted_is_called_to_find_futures_in_it(kind):
    value = kind()

    first, second, third = hand_on(value).execute().flow_return_value

    is_same = first is value and second["in"][0] is value and third is value
    assert is_same


def test_a_value_of_any_class_can_be_sent_into_a_generator(value):
    value = value()

    with flow_trace() as trace:
        steps = echo(value)
        first = next(steps)
        with pytest.raises(StopIteration) as end:
            steps.send(value)

    is_same = first is value and end.value.value is value
    assert is_same
    assert trace.one("task echo").attributes["otelflow.run.result"] == "success"


class RefusesAllOfAnError(Exception):
    __str__ = __repr__ = __eq__ = __hash__ = refuse
    code = reason = property(refuse)


class HidesClassOfAnError(Exception):
    __class__ = property(refuse)


class RefusesMembers(ExceptionGroup):
    exceptions = property(refuse)


ERRORS = {
    "hash of its class": lambda: RefusesHash("Error", (Exception,), {})("text"),
    "comparison of its class": lambda: RefusesComparison("Error", (Exception,), {})("text"),
    "names of its class": lambda: RefusesNames("Error", (Exception,), {})("text"),
    "everything": lambda: RefusesAllOfAnError("text"),
    "its class": lambda: HidesClassOfAnError("text"),
    "its members": lambda: RefusesMembers("text", [ValueError()]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_exception_of_any_class_comes_out_and_is_recorded_and_logged(name, caplog):
    error = ERRORS[name]()
    error_type = classes.qualified_name(type(error))

    @task(task_name="lenient", raise_on_error=False)
    def fail():
        raise error

    @flow
    def fails():
        raise error

    with flow_trace() as trace:
        value = fail()
        try:
            fails().execute()
        except BaseException as raised:  # noqa: BLE001 to compare it, pytest.raises() would ask its class
            came_out = raised

    is_same = value is None and came_out is error
    assert is_same
    assert [span.attributes["error.type"] for span in trace.spans] == [error_type] * 2
    assert {span.attributes["otelflow.run.result"] for span in trace.spans} == {"failure"}
    assert f"Error executing task 'lenient': {error_type}: " in caplog.text
