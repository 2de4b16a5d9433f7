"""Which provider makes the spans, and runs without one."""

import pytest

from otelflow import flow, task
from otelflow._core.runs.current import current_run
from support.flows import leaf


def test_runs_need_nobody_who_makes_spans():
    error = KeyError("still mine")

    @task
    def breaks():
        raise error

    @flow
    def bare():
        assert leaf() == 1
        return breaks()

    run = bare()
    with pytest.raises(KeyError) as raised:
        run.execute()

    assert raised.value is error
    assert (run.status, run.flow_error) == ("failure", error)
    assert [task.status for task in run.executed_tasks] == ["success", "failure"]
    assert current_run() is None
