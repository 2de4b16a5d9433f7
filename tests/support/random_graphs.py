"""Random graphs of submitted tasks, and a simple model of what must come of them."""

import os
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from otelflow import flow, testing, unmapped
from otelflow._core.runs.observers import Observer
from otelflow.errors import UpstreamFailed
from otelflow.runners import InlineTaskRunner, ThreadPoolTaskRunner
from support.remote_tasks import Refused, add_up


def examples(number):
    """Return how many random programs are tried: *number*, or as many times that as ``RANDOM_TIMES`` says."""
    return number * int(os.environ.get("RANDOM_TIMES", "1"))


LOCAL_RUNNERS = [InlineTaskRunner(), ThreadPoolTaskRunner(1), ThreadPoolTaskRunner(4)]
LOCAL = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLACES = st.sets(st.integers(0, 6))


class Step(NamedTuple):
    """One task: what it waits for (places of earlier steps), as an argument or not, and whether it fails."""

    arguments: tuple[int, ...]
    wait_for: tuple[int, ...]
    fails: bool
    rows: int  # of a map; 0 for one that is submitted


@st.composite
def graphs(draw):
    steps = []
    for place in range(draw(st.integers(1, 7))):
        earlier = st.lists(st.integers(0, place - 1), max_size=3) if place else st.just([])
        arguments, wait_for = draw(earlier), draw(earlier)
        rows = draw(st.sampled_from([0, 0, 1, 3]))
        steps.append(Step(tuple(arguments), tuple(wait_for), draw(st.integers(0, 4)) == 0, rows))
    return steps


def model(steps):
    """Return for each step its value, or how it ends instead."""
    outcomes = []
    for place, step in enumerate(steps):
        needed = [outcomes[earlier] for earlier in (*step.arguments, *step.wait_for)]
        if any(isinstance(outcome, str) for outcome in needed):
            outcomes.append("skip")
        elif step.fails:
            outcomes.append("failure")
        else:
            outcomes.append(place + sum(outcomes[earlier] * max(steps[earlier].rows, 1) for earlier in step.arguments))
    return outcomes


def submitted(steps, function):
    """Submit *steps*, and return the futures of each."""
    futures = []
    for place, step in enumerate(steps):
        values = [place, step.fails, *(futures[earlier] for earlier in step.arguments)]
        wait_for = [futures[earlier] for earlier in step.wait_for]
        if step.rows:
            futures.append(function.map([values[0]] * step.rows, *map(unmapped, values[1:]), wait_for=wait_for))
        else:
            futures.append([function.submit(*values, wait_for=wait_for)])
    return futures


def outcome_of(future):
    error = future.exception()
    if error is None:
        return future.result()
    assert isinstance(error, UpstreamFailed | Refused)
    return "skip" if isinstance(error, UpstreamFailed) else "failure"


def check(steps, outcomes, trace, run, ends):
    expected = model(steps)
    assert outcomes == [[outcome] * max(step.rows, 1) for step, outcome in zip(steps, expected, strict=True)]
    results = ["success" if isinstance(outcome, int) else outcome for group in outcomes for outcome in group]
    spans = [span for span in trace.spans if span.name.startswith("task ")]
    assert sorted(span.attributes["otelflow.run.result"] for span in spans) == sorted(results)
    assert sum(len(span.links) for span in spans) == sum(
        max(step.rows, 1) * sum(max(steps[earlier].rows, 1) for earlier in (*step.arguments, *step.wait_for))
        for step in steps
    )
    maps = [span for span in trace.spans if span.name.startswith("map ")]
    assert len(maps) == sum(step.rows > 0 for step in steps)
    assert len({span.context.span_id for span in trace.spans}) == 1 + len(spans) + len(maps)
    assert trace.open_spans == 0
    root = trace.one("flow graph")
    assert root.attributes.get("otelflow.flow.tasks.failed", 0) == results.count("failure")
    assert root.attributes["otelflow.telemetry.spans"] == len(trace.spans)
    assert all(root.start_time <= span.start_time and span.end_time <= root.end_time for span in spans)
    assert {span.context.trace_id for span in trace.spans} == {root.context.trace_id}
    assert sorted(call.status for call in run.executed_tasks) == sorted(results)
    assert sorted(ends.results) == sorted(results)


class Ends(Observer):
    """Counts how tasks end, as metrics do."""

    def __init__(self):
        self.results = []

    def run_ended(self, run):
        if run.kind == "task":
            self.results.append(run.ending.result)


def execute(steps, runner, function, ends):
    ends.results.clear()

    @flow(task_runner=runner)
    def graph():
        return [[outcome_of(future) for future in group] for group in submitted(steps, function)]

    with testing.flow_trace() as trace:
        run = graph().execute()
    check(steps, run.flow_return_value, trace, run, ends)


def cancelled_at(places, steps, function):
    """Submit *steps*, cancel what stands at *places*, and return all futures."""
    futures = [future for group in submitted(steps, function) for future in group]
    for place in places:
        if place < len(futures):
            futures[place].cancel()
    return futures


def check_cancelled(steps, futures, trace, name="add_up"):
    spans = trace.named(f"task {name}")
    results = [span.attributes["otelflow.run.result"] for span in spans]
    assert len(spans) == sum(max(step.rows, 1) for step in steps)
    assert set(results) <= {"success", "failure", "skip", "cancellation"}
    if futures is not None:
        assert all(future.done() for future in futures)
        assert results.count("cancellation") == sum(future.cancelled() for future in futures)
    assert trace.open_spans == 0
    root = trace.one("flow graph")
    assert all(root.start_time <= span.start_time and span.end_time <= root.end_time for span in spans)
    assert {span.context.trace_id for span in trace.spans} == {root.context.trace_id}


def execute_with_cancellations(steps, places, runner, *, fails):
    @flow(task_runner=runner)
    def graph():
        futures = cancelled_at(places, steps, add_up)
        if fails:
            raise RuntimeError("over")
        return futures

    futures = None
    with testing.flow_trace() as trace:
        if fails:
            with pytest.raises(RuntimeError, match="over"):
                graph().execute()
        else:
            futures = graph().execute().flow_return_value
    check_cancelled(steps, futures, trace)
