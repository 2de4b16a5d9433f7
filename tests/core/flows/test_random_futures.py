"""Random graphs of submitted tasks, on every runner, against a simple model of what must come of them."""

import asyncio
import concurrent.futures
import multiprocessing
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otelflow import flow, task, testing, unmapped
from otelflow._core.runs.observers import Observer, add_observer, remove_observer
from otelflow.errors import UpstreamFailed
from otelflow.runners import InlineTaskRunner, ThreadPoolTaskRunner
from support.remote_tasks import Refused, add_up, add_up_later


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


@pytest.fixture
def ends():
    counter = Ends()
    add_observer(counter)
    yield counter
    remove_observer(counter)


def execute(steps, runner, function, ends):
    ends.results.clear()

    @flow(task_runner=runner)
    def graph():
        return [[outcome_of(future) for future in group] for group in submitted(steps, function)]

    with testing.flow_trace() as trace:
        run = graph().execute()
    check(steps, run.flow_return_value, trace, run, ends)


LOCAL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("runner", [InlineTaskRunner(), ThreadPoolTaskRunner(1), ThreadPoolTaskRunner(4)])
@LOCAL
@given(steps=graphs())
def test_a_graph_is_what_the_model_says(ends, runner, steps):
    execute(steps, runner, add_up, ends)


@LOCAL
@given(steps=graphs())
def test_a_graph_of_coroutines_is_what_the_model_says(ends, steps):
    ends.results.clear()

    @flow
    async def graph():
        groups = submitted(steps, add_up_later)
        await asyncio.gather(*map(awaited, [future for group in groups for future in group]))
        return [[outcome_of(future) for future in group] for group in groups]

    async def awaited(future):
        try:
            await future
        except (UpstreamFailed, Refused):
            return

    with testing.flow_trace() as trace:
        run = asyncio.run(graph())
    check(steps, run.flow_return_value, trace, run, ends)


@settings(LOCAL, max_examples=12)
@given(steps=graphs())
def test_a_graph_in_processes_is_what_the_model_says(ends, processes, steps):
    execute(steps, processes, add_up, ends)


@pytest.fixture(scope="module")
def processes():
    """A pool that all examples share: to begin one for each would take most of the time."""
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


PLACES = st.sets(st.integers(0, 6))


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


@LOCAL
@given(steps=graphs(), places=PLACES, fails=st.booleans())
def test_what_is_cancelled_or_left_when_the_flow_ends_is_accounted_for(steps, places, fails):
    execute_with_cancellations(steps, places, ThreadPoolTaskRunner(1), fails=fails)


@settings(LOCAL, max_examples=12)
@given(steps=graphs(), places=PLACES, fails=st.booleans())
def test_what_is_cancelled_or_left_in_processes_is_accounted_for(processes, steps, places, fails):
    execute_with_cancellations(steps, places, processes, fails=fails)


@LOCAL
@given(
    steps=graphs(),
    places=PLACES,
    turns=st.integers(0, 3),
    end=st.sampled_from(["returns", "fails", "is cancelled"]),
)
def test_what_is_cancelled_or_left_on_a_loop_is_accounted_for(steps, places, turns, end):
    @flow
    async def graph():
        futures = [future for group in submitted(steps, add_up_later) for future in group]
        for _ in range(turns):
            await asyncio.sleep(0)
        for place in places:
            if place < len(futures):
                futures[place].cancel()
        if end == "fails":
            raise RuntimeError("over")
        if end == "is cancelled":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        return futures

    async def run():
        return await graph()

    futures = None
    with testing.flow_trace() as trace:
        if end == "returns":
            futures = asyncio.run(run()).flow_return_value
        else:
            with pytest.raises(RuntimeError if end == "fails" else asyncio.CancelledError):
                asyncio.run(run())
    check_cancelled(steps, futures, trace, "add_up_later")
    expected = {"returns": "success", "fails": "failure", "is cancelled": "cancellation"}[end]
    assert trace.one("flow graph").attributes["otelflow.run.result"] == expected


def test_a_map_of_ten_thousand_is_one_span_around_them():
    @flow
    def maps():
        return len(task(abs).map(range(-10_000, 0)).result())

    with testing.flow_trace() as trace:
        assert maps().execute().flow_return_value == 10_000

    assert len(trace.spans) == 10_002
    assert trace.one("map abs").attributes["otelflow.task.map.size"] == 10_000
    ((_, _, (branch,)),) = trace.tree()
    assert len(branch.children) == 10_000
