"""What existing code reads of a task: when it ran, as which of its flow's tasks, and how it ended."""

import pytest

from otelflow import Flow_Run__Config, Task, flow, task


def test_a_task_knows_its_place_in_its_flow_and_how_it_ended():
    @task
    def works():
        return 1

    @task(raise_on_error=False)
    def fails():
        raise ValueError("boom")

    @flow
    def body():
        works()
        fails()

    run = body().execute()

    first, second = (call.task_stats.stats for call in run.executed_tasks)
    assert (first.execution_order, first.status, first.status.value) == (1, "completed", "completed")
    assert (second.execution_order, second.status, second.error_message) == (2, "failed", "boom")
    assert {first.parent_flow_id, second.parent_flow_id} == {run.flow_id}
    assert first.duration.timestamp_start <= first.duration.timestamp_end <= second.duration.timestamp_start


def test_a_task_outside_of_a_flow_has_its_statistics_too():
    call = Task(task_target=divmod, task_args=(1, 0), task_name="halve")
    before = call.task_stats.json()

    with pytest.raises(ZeroDivisionError):
        call.execute__sync()

    assert (before["status"], before["duration"]["duration_seconds"]) == (None, 0)
    after = call.task_stats.json()
    assert (after["status"], after["execution_order"], after["parent_flow_id"]) == ("failed", 1, "")
    assert after["duration"]["duration_seconds"] == call.duration
    assert (after["task_id"], after["task_name"]) == (call.task_id, "halve")


def test_a_task_that_its_flow_does_not_keep_is_the_first_that_is_known_of():
    @task
    def leaf(this_task):
        return this_task

    @flow(flow_config=Flow_Run__Config(add_task_to_self=False))
    def body():
        leaf()
        return leaf()

    run = body().execute()

    stats = run.flow_return_value.task_stats.stats
    assert (stats.execution_order, stats.parent_flow_id) == (1, run.flow_id)
    assert (run.flow_stats.stats.total_tasks, run.flow_stats.stats.tasks_stats) == (0, {})


def test_a_task_that_goes_on_says_so():
    @task
    def look(this_task):
        return this_task.task_stats.json()["status"]

    assert look() == "running"
