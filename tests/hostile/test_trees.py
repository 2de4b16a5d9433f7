"""Whatever a program does, its tree of spans, its messages, its events and its values are those of a simple model."""

import asyncio
import contextvars
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings

from otelflow import Listener, add_listener, flow, remove_listener, task, testing
from otelflow._core.process import losses
from otelflow._core.runs import open_runs
from otelflow._core.runs.current import current_run
from support import random_programs
from support.spans import texts


class Everything(Listener):
    """Keeps each event; appending to a list is atomic."""

    def __init__(self):
        self.events = []

    def on_event(self, event):
        self.events.append(event)


class Heard:
    """One run as a listener heard of it."""

    def __init__(self, event):
        self.parent = event.event_data.parent_run_id
        self.name = f"task {event.event_data.task_name}"
        if event.event_data.task_run_id is None:
            self.name = f"flow {event.event_data.flow_name}"
        self.results = []
        self.messages = []
        self.children = []

    def as_tuple(self):
        children = tuple(sorted(child.as_tuple() for child in self.children))
        return self.name, tuple(self.results), tuple(self.messages), children


def heard_tree(events):
    runs = {}
    roots = []
    for event in events:
        data = event.event_data
        run_id = data.task_run_id or data.flow_run_id
        kind = event.event_type.value
        if kind.endswith("_start"):
            assert run_id not in runs
            runs[run_id] = Heard(event)
            (runs[data.parent_run_id].children if data.parent_run_id else roots).append(runs[run_id])
        elif kind.endswith("_stop"):
            runs[run_id].results.append(data.result)
        elif kind == "flow_message" and data.data["message_data"]["log_level"] == 20:
            runs[run_id].messages.append(data.data["message_data"]["message"])
    return sorted(root.as_tuple() for root in roots)


def without_span_details(expected):
    name, result, _, _, _, messages, children = expected
    return name, (result,), messages, tuple(sorted(without_span_details(child) for child in children))


def span_tree(trace):
    nodes = {span.context.span_id: (span, []) for span in trace.spans}
    roots = []
    for span, _ in nodes.values():
        (nodes[span.parent.span_id][1] if span.parent is not None else roots).append(span)
    return sorted(_span_tuple(nodes, root) for root in roots)


def _span_tuple(nodes, span):
    attributes = span.attributes
    return (
        span.name,
        attributes["otelflow.run.result"],
        any(event.name == "exception" for event in span.events),
        attributes.get("otelflow.generator.closed_early", False),
        attributes.get("otelflow.flow.tasks.failed", 0),
        tuple(texts(span)),
        tuple(sorted(_span_tuple(nodes, child) for child in nodes[span.context.span_id][1])),
    )


def outcome_of(function):
    try:
        return function()
    except Exception as error:  # noqa: BLE001 whatever the program under test raises
        return type(error)


def modelled(node, roots):
    try:
        return random_programs.expect(node, roots, None)
    except random_programs._Raised as error:
        return random_programs.ENDINGS[error.result]


@pytest.mark.parametrize("run", ["from sync code", "from async code"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(node=random_programs.programs)
def test_any_program_leaves_the_tree_of_the_model(run, node):
    expected = []
    value = modelled(node, expected)
    listener = Everything()
    add_listener(listener)

    try:
        with testing.flow_trace() as trace:
            if run == "from sync code":
                seen = outcome_of(lambda: random_programs.call(node))
            else:
                seen = outcome_of(lambda: asyncio.run(random_programs.acall(node)))
    finally:
        remove_listener(listener)

    assert seen == value
    assert trace.open_spans == 0
    assert current_run() is None
    trees = sorted(root.as_tuple() for root in expected)
    assert span_tree(trace) == trees
    assert heard_tree(listener.events) == sorted(without_span_details(tree) for tree in trees)


def test_a_thousand_concurrent_flows_keep_apart(spans, capsys):
    @task
    async def step(number, place):
        print(f"{number} step {place}")
        await asyncio.sleep(0)
        return place

    @task
    def count(number):
        print(f"{number} counted")
        return number

    @flow
    async def one(number):
        print(f"{number} begins")
        places = await asyncio.gather(*(step(number, place) for place in range(3)))
        print(f"{number} ends")
        return count(number), places

    async def main():
        return await asyncio.gather(*(one(number).execute_async() for number in range(1_000)))

    flows = asyncio.run(main())

    assert [run.flow_return_value for run in flows] == [(number, [0, 1, 2]) for number in range(1_000)]
    assert Counter(span.name for span in spans.spans) == {"flow one": 1_000, "task step": 3_000, "task count": 1_000}
    traces = {}
    for span in spans.spans:
        traces.setdefault(span.context.trace_id, []).extend(texts(span))
    assert len(traces) == 1_000
    lines = ["{0} begins", "{0} counted", "{0} ends", *(f"{{0}} step {place}" for place in range(3))]
    for messages in traces.values():
        assert sorted(messages) == sorted(line.format(messages[0].split()[0]) for line in lines)
    assert len(capsys.readouterr().out.splitlines()) == 6_000


def test_what_is_printed_everywhere_at_once_lands_on_its_own_run(spans, capsys):
    @task
    def talk(number):
        for place in range(20):
            print(number, place)

    @flow
    def many(name):
        with ThreadPoolExecutor(4) as pool:
            for number in range(8):
                pool.submit(contextvars.copy_context().run, talk, f"{name}{number}")
        print(name)

    threads = [threading.Thread(target=many(name).execute) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    messages = [texts(span) for span in spans.named("task talk")]
    assert sorted(messages) == sorted([f"{name}{n} {place}" for place in range(20)] for name in "abc" for n in range(8))
    assert sorted(text for span in spans.named("flow many") for text in texts(span)) == ["a", "b", "c"]
    assert not open_runs.is_any()


def test_a_failing_task_group_cancels_its_siblings_and_each_says_so(spans):
    @task
    async def wait():
        await asyncio.Event().wait()

    @task
    async def fail():
        await asyncio.sleep(0)
        raise ValueError("first")

    @flow
    async def grouped():
        async with asyncio.TaskGroup() as tasks:
            for body in (wait, wait, fail):
                tasks.create_task(body())

    with pytest.raises(ExceptionGroup):
        grouped().execute()

    assert spans.tree() == [
        (
            "flow grouped",
            "failure",
            [("task wait", "cancellation", []), ("task wait", "cancellation", []), ("task fail", "failure", [])],
        )
    ]


def test_a_deadline_is_a_timeout_of_the_run_it_leaves_and_a_cancellation_of_what_it_stopped(spans):
    @task
    async def wait():
        await asyncio.Event().wait()

    @flow
    async def impatient():
        async with asyncio.timeout(0.01):
            await wait()

    with pytest.raises(TimeoutError):
        impatient().execute()

    assert spans.tree() == [("flow impatient", "timeout", [("task wait", "cancellation", [])])]


def test_recursion_up_to_the_limit_loses_nothing_without_counting_it(spans):
    calls = 0

    @task
    def deeper():
        nonlocal calls
        calls += 1
        deeper()

    before = sum(losses.dropped.values())
    limit = sys.getrecursionlimit()
    try:
        for frames in range(40):  # each time, the stack is full at another place
            sys.setrecursionlimit(400 + frames)
            with pytest.raises(RecursionError):
                deeper()
    finally:
        sys.setrecursionlimit(limit)

    assert calls > 50
    lost = sum(losses.dropped.values()) - before
    assert len(spans.spans) + lost >= calls
    assert current_run() is None
    assert not open_runs.is_any()
