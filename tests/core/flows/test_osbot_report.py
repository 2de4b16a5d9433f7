"""A flow's run as plain data, in the shapes and words that existing code reads."""

import datetime as dt
import decimal
import json
import math

import pytest

from otelflow import flow, task
from support.flows import total


def test_durations_have_their_shapes():
    run = total(1).execute()

    short, long, output = run.durations(), run.durations__with_tasks_status(), run.flow_output()
    assert list(short) == ["flow_name", "flow_duration", "flow_status", "flow_tasks"]
    assert (short["flow_name"], short["flow_status"], list(short["flow_tasks"])) == ("total", "completed", ["add"])
    assert short["flow_duration"] >= short["flow_tasks"]["add"] > 0
    assert long["flow_tasks"] == {
        1: {"task_name": "add", "task_duration": short["flow_tasks"]["add"], "task_status": "completed"}
    }
    assert output == {"output": 2, "durations": short}


@pytest.mark.parametrize(
    ("error", "words"),
    [(ValueError, ("failed", "failed")), (KeyboardInterrupt, ("stopped", "stopped")), (None, ("completed",) * 2)],
)
def test_the_status_words_are_the_known_ones(error, words):
    @task()
    def may_fail():
        if error is not None:
            raise error("x")

    run = flow()(lambda: may_fail())()
    if error is None:
        run.execute()
    else:
        with pytest.raises(error):
            run.execute()

    durations = run.durations__with_tasks_status()
    assert (durations["flow_status"], durations["flow_tasks"][1]["task_status"]) == words


def test_a_flow_with_a_failed_task_counts_as_failed_in_its_report():
    @task(raise_on_error=False)
    def fails():
        raise ValueError("x")

    run = flow()(lambda: fails())().execute()

    assert (run.status, run.durations()["flow_status"], run.flow_stats.error) == (
        "success",
        "failed",
        "At least one task failed",
    )
    assert run.flow_stats.json()["failed_tasks"] == 1


def test_a_running_flow_says_so():
    run = flow()(lambda this_flow: this_flow.durations()["flow_status"])().execute()

    assert run.flow_return_value == "running"


def test_the_report_is_json_whatever_arguments_and_values_are():
    class Odd:
        def __repr__(self):
            raise SystemExit(1)

    @task
    def step(*_, **__):
        return {1, Odd()}

    @flow
    def body(*values, this_flow=None):
        step(*values, at=dt.date(2024, 1, 2))
        this_flow.add_flow_result("odd", Odd())
        return math.nan

    run = body(decimal.Decimal("1.10"), Odd(), 10**5_000, {(1, 2): b"x"}).execute()

    report = json.loads(json.dumps(run.json(), allow_nan=False))
    (only,) = report["flow_data"]["tasks"].values()
    assert only["input_args"][0] == "1.10"
    assert only["input_kwargs"] == {"at": "2024-01-02"}
    assert report["flow_data"]["return_value"] == "NaN"
