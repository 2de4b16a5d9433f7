"""Random programs of retries, time-outs, caches, limits and failures, and a simple model of what each leaves."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from otelflow import semconv

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
    is_cached: bool = False
    is_limited: bool = False
    is_held: bool = False  # the place of the limit, by a step around it
    is_flow: bool = False  # that is called with futures
    deadline: float = DEADLINE
    name: str = ""

    def outcome(self, attempt):
        return self.outcomes[min(attempt, len(self.outcomes) - 1)]

    @property
    def kind(self):
        return "flow" if self.is_flow else "task"

    @property
    def keywords(self):
        timeout = self.deadline if "hang" in self.outcomes else NEVER if self.has_timeout else None
        condition = (lambda error: not isinstance(error, FinalFault)) if self.is_choosy else None
        retries = {"retries": self.retries, "retry_delay": [0, 0.001], "retry_condition_fn": condition}
        return {"timeout": timeout, **(retries if self.retries else {})}


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


trees = st.recursive(_steps(st.just([])), lambda inner: _steps(st.lists(inner, max_size=2)), max_leaves=5)


@st.composite
def programs(draw):
    """Draw a program; in some of them one step never ends by itself."""
    root = draw(trees)
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


# What a step does in the end


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
    reused: Counter = field(default_factory=Counter)
    kept: set = field(default_factory=set)
    flows: set = field(default_factory=set)
    passes: int = 0

    def run(self, step, kind, goes_on, call_id="", key=""):
        """Return how *step* ends, an outcome, and its span; *goes_on*: something around it may go on if it fails."""
        place = len(self.executed)
        if step.is_cached and key in self.kept:
            self.executed.append((step.name, "success"))
            self.reused[step.name] += 1
            return "return", Span(f"{kind} {step.name}", "success", False, 0, None, [])
        self.executed.append((step.name, None))
        self.passes += step.is_limited
        goes_on = goes_on or (step.is_lenient and kind == "task")
        attempts = []
        for attempt in range(step.retries + 1):
            if attempt:
                self.retries[step.name] += 1
            may_follow = attempt < step.retries
            outcome, is_own, children = self.attempt(step, attempt, goes_on or may_follow, call_id)
            is_failure = RESULTS[outcome] in ("failure", "timeout")
            follows = may_follow and is_failure and not (step.is_choosy and outcome == "final")
            is_error = is_failure and not (goes_on or follows)
            attempts.append(Span(f"attempt {step.name}", RESULTS[outcome], is_error, int(is_own), None, children))
            if not follows:
                break
        if step.is_cached and outcome == "return":
            self.kept.add(key)
        result = RESULTS[outcome]
        if step.is_flow:  # it has those of its tasks itself
            self.flows.add(step.name)
            del self.executed[place + 1 :]
        self.endings.append((step.name, result))
        self.executed[place] = (step.name, result)
        self.counts[step.name, result] += 1
        is_error = is_failure and not goes_on
        name = f"{kind} {step.name}"
        if step.retries:
            return outcome, Span(name, result, is_error, 0, len(attempts), attempts)
        return outcome, Span(name, result, is_error, int(is_own), None, children)

    def attempt(self, step, attempt, goes_on, call_id):
        """Return how one attempt ends, whether by an exception that it has raised itself, and the spans in it."""
        spans = []
        for child in step.children:
            if child.is_flow:
                spans.append(self.passed_on())
            outcome, span = self.run(child, child.kind, goes_on, call_id, f"{call_id}: {child.name}")
            spans.append(span)
            if outcome == "cancel" or (outcome != "return" and not child.is_lenient):
                return outcome, False, spans
        outcome = step.outcome(attempt)
        return outcome, outcome != "return", spans

    def passed_on(self):
        """Return the span of a task whose future a flow is called with."""
        self.executed.append(("passed_on", "success"))
        self.counts["passed_on", "success"] += 1
        return Span("task passed_on", "success", False, 0, None, [])


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
