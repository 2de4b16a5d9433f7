"""Random graphs of submitted tasks, on every runner, against a simple model of what must come of them."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelflow import flow, task, testing
from otelflow._core.runs.observers import add_observer, remove_observer
from otelflow.errors import UpstreamFailed
from otelflow.runners import ThreadPoolTaskRunner
from support.random_graphs import (
    LOCAL,
    LOCAL_RUNNERS,
    PLACES,
    Ends,
    check,
    check_cancelled,
    examples,
    execute,
    execute_with_cancellations,
    graphs,
    outcome_of,
    submitted,
)
from support.remote_tasks import Refused, add_up, add_up_later

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # which is asked for


@pytest.fixture
def ends():
    counter = Ends()
    add_observer(counter)
    yield counter
    remove_observer(counter)


@pytest.mark.parametrize("runner", LOCAL_RUNNERS)
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


@settings(LOCAL, max_examples=examples(12))
@given(steps=graphs())
def test_a_graph_in_processes_is_what_the_model_says(ends, processes, steps):
    execute(steps, processes, add_up, ends)


@LOCAL
@given(steps=graphs(), places=PLACES, fails=st.booleans())
def test_what_is_cancelled_or_left_when_the_flow_ends_is_accounted_for(steps, places, fails):
    execute_with_cancellations(steps, places, ThreadPoolTaskRunner(1), fails=fails)


@settings(LOCAL, max_examples=examples(12))
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
