"""What a flow or a task cannot use is one error where it is given, and everything that it can use is taken."""

import collections
import types

import pytest

from otelflow import Flow, Flow_Run__Config, Task, flow
from otelflow.errors import ConfigurationError


def add(a, b=1):
    return a + b


def test_whatever_a_flow_can_use_may_be_assigned():
    run = Flow().setup(add)
    run.flow_args = [1]
    run.flow_kwargs = types.MappingProxyType({"b": 2})
    run.flow_config = Flow_Run__Config(print_logs=False)
    run.data = collections.UserDict(shelf="tea")

    assert run.execute().flow_return_value == 3
    assert run.data == {"shelf": "tea"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("flow_config", None), ("flow_args", "text"), ("flow_kwargs", [1]), ("data", None), ("data", [("a", 1)])],
)
def test_what_a_flow_cannot_use_is_refused_at_the_line_that_assigns_it(name, value):
    run = Flow().setup(add, 1)
    before = getattr(run, name)

    with pytest.raises(ConfigurationError, match=f"^Flow: {name} must be "):
        setattr(run, name, value)

    assert getattr(run, name) is before
    assert run.execute().flow_return_value == 2


@pytest.mark.parametrize(
    "keyword",
    [{"data": 3}, {"capture_parameters": None}, {"capture_return_value": "yes"}, {"flow_config": print}],
    ids=str,
)
def test_a_flow_and_its_decorator_refuse_the_same(keyword):
    (name,) = keyword

    for owner, make in {"Flow": Flow, "@flow": flow}.items():
        with pytest.raises(ConfigurationError, match=f"^{owner}: {name} must be "):
            make(**keyword)


def test_a_task_that_is_used_directly_takes_what_a_call_takes():
    assert Task(task_target=add, task_args=[1], task_kwargs=types.MappingProxyType({"b": 2})).execute__sync() == 3

    call = Task(task_target=add)
    call.task_args = 3
    with pytest.raises(ConfigurationError, match=r"^Task: task_args must be a tuple or a list, not 3"):
        call.execute__sync()
