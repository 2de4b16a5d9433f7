"""What a flow and a task have in common: how they log stands in test_messages.py; here, how pydantic takes them."""

import json
import logging

import pytest

from otelflow import INJECTED, Flow, Task, flow, task
from otelflow._core.inside.log_methods import LogMethods
from otelflow.errors import ConfigurationError

pydantic = pytest.importorskip("pydantic")


class Report(pydantic.BaseModel):
    run: Flow[int]
    last_task: Task | None = None
    any_run: Flow | None = None


def test_a_model_may_have_flows_and_tasks_as_fields():
    run = Flow().setup(lambda: 3).execute()
    tasks = []

    @flow
    def parent():
        tasks.append(child())

    @task
    def child(this_task=None):
        return this_task

    parent().execute()
    report = Report(run=run, last_task=tasks[0])

    assert (report.run, report.last_task, report.any_run) == (run, tasks[0], None)
    assert report.model_dump() == {"run": run, "last_task": tasks[0], "any_run": None}
    assert json.loads(report.model_dump_json()) == {"run": repr(run), "last_task": repr(tasks[0]), "any_run": None}
    assert Report.model_json_schema()["properties"]["run"]["type"] == "string"
    with pytest.raises(pydantic.ValidationError, match="Input should be an instance of Flow"):
        Report(run=3)


def test_pydantic_may_check_the_call_of_a_task_that_asks_for_its_flow():
    @task
    @pydantic.validate_call
    def double(number: int, this_flow: Flow | None = None):
        return number * 2, this_flow

    def main(this_flow=INJECTED):
        return double("4") == (8, this_flow)

    assert Flow().setup(main).execute().flow_return_value is True


def test_a_dataclass_of_pydantic_may_be_a_flow():
    @pydantic.dataclasses.dataclass
    class Double(Flow):
        number: int

        def main(self):
            return self.number * 2

    double = Double("4")

    assert double.status is None
    assert double.execute().flow_return_value == 8
    with pytest.raises(pydantic.ValidationError, match="valid integer"):
        Double("four")


@pytest.mark.filterwarnings("ignore::pydantic.warnings.GenericBeforeBaseModelWarning")
@pytest.mark.parametrize("bases", [(pydantic.BaseModel, Flow), (Flow, pydantic.BaseModel)], ids=["first", "last"])
def test_a_class_that_is_a_model_and_a_flow_says_what_to_do(bases):
    with pytest.raises(ConfigurationError, match=r"^Both cannot be .*@pydantic.dataclasses.dataclass over class Both"):
        type(pydantic.BaseModel)("Both", bases, {"__module__": __name__, "__annotations__": {"number": int}})


class Noted(LogMethods):
    def __init__(self):
        self.calls = []

    def __otelflow_write__(self, level, message, task_run_id):
        self.calls.append((level, message, task_run_id))


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_each_level_has_a_method(level):
    noted, message = Noted(), object()
    log = getattr(noted, f"log_{level.lower()}")
    log(message)
    log(message, task_run_id="7")

    assert noted.calls == [(getattr(logging, level), message, None), (getattr(logging, level), message, "7")]


def test_whoever_speaks_says_where_it_goes():
    with pytest.raises(NotImplementedError):
        LogMethods().log_info("nowhere")
