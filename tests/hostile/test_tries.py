"""Random programs of retries, time-outs, failures and cancellations do what a simple model says of them."""

import asyncio
import contextlib
import threading
from collections import Counter
from contextlib import ExitStack

from hypothesis import HealthCheck, given, settings

from otelflow import flow, task
from otelflow._core.process import process
from otelflow._core.runs.observers import add_observer
from otelflow.metrics._counts import Aggregator
from otelflow.testing import flow_trace
from support.random_tries import NEVER, Fault, FinalFault, Model, finished, programs, seen


class Program:
    """Makes flows and tasks of steps, and notes what their hooks hear."""

    def __init__(self):
        self.endings = []
        self.gate = threading.Event()

    def decorated(self, step, decorator, **keywords):
        def note(owner):
            self.endings.append((step.name, owner.status))

        hooks = dict.fromkeys(("on_completion", "on_failure", "on_cancellation"), note)
        children = [self.decorated(c, task, raise_on_error=not c.is_lenient, task_name=c.name) for c in step.children]
        attempts = Counter()

        def counted(run_id):
            attempts[run_id] += 1
            return step.outcome(attempts[run_id] - 1)

        def body(call_id):
            outcome = counted(call_id)
            for child in children:
                child(object())
            if outcome == "hang":
                self.gate.wait(NEVER)
            return finished(outcome)

        async def async_body(call_id):
            outcome = counted(call_id)
            for child, part in zip(children, step.children, strict=True):
                value = child(object())
                if part.is_async:
                    await value
            if outcome == "hang":
                await asyncio.sleep(NEVER)
            return finished(outcome)

        return decorator(**hooks, **step.keywords, **keywords)(async_body if step.is_async else body)

    def run(self, root):
        """Return how *root* ended as a flow: its status, and the tasks that it executed."""
        run = self.decorated(root, flow, flow_name=root.name)(object())
        with contextlib.suppress(Fault, FinalFault, TimeoutError, asyncio.CancelledError):
            run.execute()
        return run.status, [(executed.task_name, executed.status) for executed in run.executed_tasks]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_a_random_program_leaves_what_the_model_says(root):
    process.reset()
    program, model, aggregator = Program(), Model(), Aggregator()
    add_observer(aggregator)
    with ExitStack() as stack:
        stack.callback(program.gate.set)
        trace = stack.enter_context(flow_trace())
        status, executed = program.run(root)

    _, span = model.run(root, "flow", goes_on=False)
    assert seen(trace) == [span]
    assert (status, executed) == (span.result, model.executed[1:])
    assert program.endings == model.endings
    snapshot = aggregator.snapshot()
    counted = {
        (series.task or series.flow, result): durations.count
        for series in (*snapshot.flows, *snapshot.tasks)
        for result, durations in series.durations.items()
    }
    assert counted == model.counts
    series_list = [series for series in (*snapshot.flows, *snapshot.tasks) if series.retries]
    assert {series.task or series.flow: series.retries for series in series_list} == model.retries
