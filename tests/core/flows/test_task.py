"""A task that is used without its decorator, and its log."""

import asyncio
import contextlib
import copy
import pickle

import pytest

from otelflow import Flow, Task, flow, task
from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from support.flows import add
from support.spans import texts


def test_a_task_can_be_used_directly():
    with Task() as made_by_hand:
        made_by_hand.task_target = add.__wrapped__
        made_by_hand.task_args = (1,)
        made_by_hand.task_kwargs = {"b": 5}
        value = made_by_hand.execute__sync()

    assert value == made_by_hand.task_return_value == 6
    assert made_by_hand.task_name == "add"
    assert made_by_hand.task_id.startswith("task_id__")
    assert (made_by_hand.task_error, made_by_hand.raise_on_error, made_by_hand.data) == (None, True, {})


def test_a_task_can_be_awaited_directly():
    async def target():
        return 7

    made_by_hand = Task()
    made_by_hand.task_target = target

    assert asyncio.run(made_by_hand.execute__async()) == made_by_hand.task_return_value == 7


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_a_task_has_its_log(level):
    @task()
    def talks(this_task=None):
        getattr(this_task, f"log_{level}")("said")

    run = flow()(lambda: talks())().execute()

    (line,) = [line for line in run.log if line.text == "said"]
    assert line.level == {"debug": 10, "info": 20, "error": 40}[level]
    assert line.task_run_id == next(iter(run.executed_tasks)).task_id


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))])
def test_a_task_that_has_yet_to_run_can_be_copied_and_run(spans, copied):
    assert copied(Task(pow, (2, 3))).execute__sync() == 8


def test_a_class_of_tasks_has_names_of_its_own(spans):
    class Fetch(Task):
        def status(self):
            return "mine"

        @property
        def duration(self):
            return 7

        started_ns = 1

    fetch = Fetch(pow, (2, 3))

    assert fetch.execute__sync() == 8
    assert (fetch.status(), fetch.duration) == ("mine", 7)
    assert fetch.started_ns > 1
    assert repr(fetch).endswith(" success>")
    assert spans.tree() == [("task pow", "success", [])]
    assert not losses.dropped


def test_a_task_knows_its_flow_whatever_counts_as_false(spans):
    class Empty(Flow):
        def __len__(self):
            return 0

        def main(self):
            return flow_here()

    @task
    def flow_here(this_task):
        return this_task.find_flow()

    run = Empty().execute()

    assert run.flow_return_value is run


def test_a_task_used_directly_runs_like_any_other(spans):
    with Task() as direct:
        direct.task_target = pow
        direct.task_args = (2, 3)
        value = direct.execute__sync()

    async def double(number):
        return number * 2

    later = Task(double, (4,))
    assert (value, direct.task_return_value, direct.task_name) == (8, 8, "pow")
    assert asyncio.run(later.execute__async()) == 8
    assert asyncio.run(Task(pow, (2, 2)).execute__async()) == 4

    assert [root.name for root in spans.tree()] == ["task pow", "task double", "task pow"]
    with pytest.raises(TypeError, match="A task needs a function"):
        Task().execute__sync()


def test_a_task_that_was_cancelled_is_no_failed_task_of_its_flow(spans):
    @task
    def stops():
        raise asyncio.CancelledError

    @task
    def breaks():
        raise ValueError

    @flow
    def order():
        for step in (stops, breaks):
            with contextlib.suppress(asyncio.CancelledError, ValueError):
                step()

    order().execute()

    assert spans.one("flow order").attributes["otelflow.flow.tasks.failed"] == 1


def test_what_a_task_logs_goes_to_its_own_run_also_when_another_is_current(spans):
    @task
    def inner(outer_task):
        outer_task.log_info("from inside")

    @task
    def outer(this_task=None):
        inner(this_task)

    flow(lambda: outer())().execute()

    assert texts(spans.one("task outer")) == ["from inside"]
    assert texts(spans.one("task inner")) == []


def test_a_task_runs_in_the_flow_that_it_was_given_where_none_is_current(spans):
    @flow
    def other():
        return call.execute__sync()

    async def later(this_flow):
        return this_flow.flow_name

    own = Flow(flow_name="own")
    call = Task(task_target=lambda this_flow: this_flow.flow_name)
    call.task_flow = own

    assert call.execute__sync() == "own"
    waiting = Task(task_target=later)
    waiting.task_flow = own
    assert asyncio.run(waiting.execute__async()) == "own"
    assert [task.task_id for task in own.executed_tasks] == [call.task_id, waiting.task_id]
    assert other().execute().flow_return_value == "other"
    assert len(own.executed_tasks) == 2


def test_a_task_takes_its_flow_as_a_keyword_and_keeps_it(spans):
    call = Task(task_target=lambda this_flow: this_flow.flow_name, task_flow=Flow(flow_name="own"))

    assert call.task_flow.flow_name == "own"
    assert call.execute__sync() == "own"
    assert [task.task_id for task in call.task_flow.executed_tasks] == [call.task_id]
    assert spans.one("task Task").attributes["otelflow.flow.name"] == "own"
    call.task_flow = None
    assert call.task_flow is None


@pytest.mark.parametrize("odd", ["own", 5, Flow, object()], ids=["text", "number", "class", "object"])
def test_what_is_no_flow_is_refused_as_the_flow_of_a_task(odd):
    with pytest.raises(ConfigurationError, match="task_flow must be a Flow, not"):
        Task(task_target=pow, task_flow=odd)


def test_what_a_task_says_before_and_after_its_call_stands_in_the_log_of_its_flow():
    own = Flow(flow_name="own")
    call = Task(task_target=pow, task_args=(2, 3))
    call.task_flow = own

    call.log_info("before")
    call.execute__sync()
    call.log_error("after")
    call.add_task_result("rows", 1)

    assert own.log_messages() == ["before", "Executing task 'pow'", "Task return value: 8", "after"]
    assert {line.task_run_id for line in own.log} == {call.task_id}
    assert [result.key for result in own.results] == ["rows"]
