"""Whose session takes what is submitted: also when its flow, or the attempt in which it is submitted, is over."""

import concurrent.futures
import threading

import pytest

from otelflow import flow, task
from otelflow.errors import RunTimeout
from support.spans import result


@pytest.mark.parametrize("kind", ["flow", "task", "flow that is not tried again", "task that is not tried again"])
def test_what_a_body_submits_that_its_time_out_has_left_behind_is_nobodys(spans, kind):
    gate, left, runs, left_alone = threading.Event(), threading.Event(), [], []

    @task
    def work(number):
        return number

    def body():
        runs.append(len(runs))
        if len(runs) == 1:
            gate.wait(30)
            for future in [work.submit(0), *work.map([0, 0])]:
                with pytest.raises(concurrent.futures.CancelledError):
                    future.result(30)
                left_alone.append(future)
            left.set()
            return 0
        gate.set()
        assert left.wait(30)
        return work.submit(1).result()

    options = {"timeout": 0.2, "retries": 0 if "not" in kind else 1}

    @flow
    def around():
        decorated = (task if kind.startswith("task") else flow)(**options)(body)
        try:
            return decorated() if kind.startswith("task") else decorated().execute().flow_return_value
        except RunTimeout:
            gate.set()
            assert left.wait(30)
            return 1

    assert around().execute().flow_return_value == 1
    assert len(left_alone) == 3
    assert sorted(map(result, spans.named("task work"))) == ["cancellation"] * 3 + ["success"] * (len(runs) - 1)
