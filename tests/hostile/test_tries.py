"""Random programs of retries, time-outs, failures and cancellations do what a simple model says of them."""

import asyncio
import contextlib
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from otelflow import flow, semconv, task
from otelflow._core.process import process
from otelflow._core.runs.observers import add_observer
from otelflow.metrics._counts import Aggregator
from otelflow.testing import flow_trace

# So long that no machine takes it for what ends at once, and so short that a body that never ends is soon given up
DEADLINE = 0.3
NEVER = 60


class Fault(Exception):
    """A failure that is worth another attempt."""


class FinalFault(Exception):
    """One that is not, where the program looks."""


@dataclass
class Step:
    """A flow or task: what each of its attempts does, which steps it calls before, and its keywords."""

    outcomes: list[str]
    children: list["Step"]
    is_async: bool
    retries: int
    is_choosy: bool
    is_lenient: bool
    has_timeout: bool
    name: str = ""

    def outcome(self, attempt):
        return self.outcomes[min(attempt, len(self.outcomes) - 1)]

    @property
    def keywords(self):
        timeout = DEADLINE if "hang" in self.outcomes else NEVER if self.has_timeout else None
        condition = (lambda error: not isinstance(error, FinalFault)) if self.is_choosy else None
        if not self.retries:
            return {"timeout": timeout}
        return {
            "timeout": timeout,
            "retries": self.retries,
            "retry_delay": [0, 0.001],
            "retry_condition_fn": condition,
        }


_outcomes = st.lists(st.sampled_from(["return", "return", "fail", "fail", "final", "cancel"]), min_size=1, max_size=3)


def _steps(children):
    return st.builds(
        Step,
        _outcomes,
        children,
        st.booleans(),
        st.integers(0, 2),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    )


_trees = st.recursive(_steps(st.just([])), lambda inner: _steps(st.lists(inner, max_size=2)), max_leaves=5)


@st.composite
def programs(draw):
    """Draw a program; in some of them one step never ends by itself."""
    root = draw(_trees)
    steps = []

    def prepare(step, is_async):
        step.is_async = step.is_async and is_async  # nothing of a plain function awaits
        step.name = f"s{len(steps)}"
        steps.append(step)
        for child in step.children:
            prepare(child, step.is_async)

    prepare(root, True)
    root.is_lenient = False  # flows say it in another way
    if draw(st.integers(0, 4)) == 0:
        hanging = draw(st.sampled_from(steps))
        hanging.outcomes[draw(st.integers(0, len(hanging.outcomes) - 1))] = "hang"
    return root


# The program


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


def finished(outcome):
    if outcome in ("fail", "final"):
        raise (Fault if outcome == "fail" else FinalFault)(outcome)
    if outcome == "cancel":
        raise asyncio.CancelledError
    return outcome


# The model

RESULTS = {"return": "success", "fail": "failure", "final": "failure", "cancel": "cancellation", "hang": "timeout"}


class Span(NamedTuple):
    """What the model says of a span."""

    name: str
    result: str
    is_error: bool
    exceptions: int
    attempts: int | None
    children: list


@dataclass
class Model:
    """Says what a program leaves."""

    endings: list = field(default_factory=list)
    executed: list = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    retries: Counter = field(default_factory=Counter)

    def run(self, step, kind, goes_on):
        """Return how *step* ends, an outcome, and its span; *goes_on*: something around it may go on if it fails."""
        place = len(self.executed)
        self.executed.append((step.name, None))
        goes_on = goes_on or (step.is_lenient and kind == "task")
        attempts = []
        for attempt in range(step.retries + 1):
            if attempt:
                self.retries[step.name] += 1
            may_follow = attempt < step.retries
            outcome, is_own, children = self.attempt(step, attempt, goes_on or may_follow)
            is_failure = RESULTS[outcome] in ("failure", "timeout")
            follows = may_follow and is_failure and not (step.is_choosy and outcome == "final")
            is_error = is_failure and not (goes_on or follows)
            attempts.append(Span(f"attempt {step.name}", RESULTS[outcome], is_error, int(is_own), None, children))
            if not follows:
                break
        result = RESULTS[outcome]
        self.endings.append((step.name, result))
        self.executed[place] = (step.name, result)
        self.counts[step.name, result] += 1
        is_error = is_failure and not goes_on
        name = f"{kind} {step.name}"
        if step.retries:
            return outcome, Span(name, result, is_error, 0, len(attempts), attempts)
        return outcome, Span(name, result, is_error, int(is_own), None, children)

    def attempt(self, step, attempt, goes_on):
        """Return how one attempt ends, whether by an exception that it has raised itself, and the spans in it."""
        spans = []
        for child in step.children:
            outcome, span = self.run(child, "task", goes_on)
            spans.append(span)
            if outcome == "cancel" or (outcome != "return" and not child.is_lenient):
                return outcome, False, spans
        outcome = step.outcome(attempt)
        return outcome, outcome != "return", spans


def seen(trace):
    """Return the spans of *trace* as the model has them."""
    by_id = {span.context.span_id: span for span in trace.spans}
    children = {}
    for span in trace.spans:
        children.setdefault(span.parent and span.parent.span_id, []).append(span)

    def node(span):
        exceptions = sum(event.name == semconv.EXCEPTION_EVENT for event in span.events)
        return Span(
            span.name,
            span.attributes[semconv.RUN_RESULT],
            span.status.status_code is StatusCode.ERROR,
            exceptions,
            span.attributes.get(semconv.RUN_ATTEMPTS),
            [node(child) for child in children.get(span.context.span_id, [])],
        )

    roots = [span for span in trace.spans if span.parent is None]
    assert all(span.parent is None or span.parent.span_id in by_id for span in trace.spans)
    return [node(root) for root in roots]


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
