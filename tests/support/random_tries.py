"""Random programs of retries, time-outs, caches and failures, and a simple model of what each leaves."""

import asyncio
import dataclasses
import functools
import inspect
import json
import tempfile
import threading
import uuid
from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from otelflow import flow, semconv, task, testing
from otelflow._core.runs.observers import add_observer, remove_observer
from otelflow.errors import RunTimeout, UpstreamFailed
from otelflow.metrics._counts import Aggregator

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
    deadline: float = DEADLINE
    name: str = ""

    def outcome(self, attempt):
        return self.outcomes[min(attempt, len(self.outcomes) - 1)]

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

    def run(self, step, kind, goes_on, call_id="", key=""):
        """Return how *step* ends, an outcome, and its span; *goes_on*: something around it may go on if it fails."""
        place = len(self.executed)
        if step.is_cached and key in self.kept:
            self.executed.append((step.name, "success"))
            self.reused[step.name] += 1
            return "return", Span(f"{kind} {step.name}", "success", False, 0, None, [])
        self.executed.append((step.name, None))
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
            outcome, span = self.run(child, "task", goes_on, call_id, f"{call_id}: {child.name}")
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


# What is submitted


@dataclass
class Job:
    """A tree of steps that is submitted, as a map of some rows unless there are none, and the jobs it waits for."""

    step: Step
    rows: int
    wait_for: list[int]

    def goes_well(self, outcome):
        return outcome == "return" or (self.step.is_lenient and outcome not in ("cancel", "skip"))


@st.composite
def submissions(draw):
    """Draw jobs; one step of all of them may never end by itself."""
    jobs, steps = [], []

    def prepare(step, is_async):
        step.is_async = step.is_async and is_async
        step.is_cached, step.deadline, step.name = draw(st.booleans()), 1.5, f"s{len(steps)}"
        steps.append(step)
        for child in step.children:
            prepare(child, step.is_async)

    for place in range(draw(st.integers(1, 4))):
        wait_for = draw(st.lists(st.integers(0, place - 1), max_size=2)) if place else []
        jobs.append(Job(draw(_trees), draw(st.sampled_from([0, 0, 1, 3])), wait_for))
        prepare(jobs[-1].step, True)
    if draw(st.integers(0, 4)) == 0:
        hanging = draw(st.sampled_from(steps))
        hanging.is_cached = False  # others would wait for its value, and for no longer than it takes
        hanging.outcomes[draw(st.integers(0, len(hanging.outcomes) - 1))] = "hang"
    return jobs


_attempts = Counter()


def next_outcome(step, call_id):
    """Return what the next attempt of the call *call_id*, which is made in this process, does."""
    _attempts[call_id] += 1
    return _attempts[call_id], step.outcome(_attempts[call_id] - 1)


def key_of(task, arguments):
    return arguments["key"]


@functools.cache
def parts_of(text, folder):
    """Return the step that *text* is, and the tasks that it calls; made anew in each process."""
    step = step_of(json.loads(text))
    return step, [task_of(child, folder) for child in step.children]


def step_of(fields):
    return Step(**{**fields, "children": [step_of(child) for child in fields["children"]]})


def calls_of(step, children, call_id, attempt):
    """Return the arguments with which each of *children* is called."""
    origin = call_id.partition("/")[0]
    names = [child.name for child in step.children]
    return zip(children, [(f"{call_id}/{attempt}.{name}", f"{origin}: {name}") for name in names], strict=True)


def task_of(step, folder):
    """Return the task of *step*: it closes over texts alone, so that it is the same in every process."""
    text = json.dumps(dataclasses.asdict(step))

    def body(call_id, key):
        step, children = parts_of(text, folder)
        attempt, outcome = next_outcome(step, call_id)
        for child, values in calls_of(step, children, call_id, attempt):
            child(*values)
        if outcome == "hang":
            threading.Event().wait(4 * step.deadline)
        return finished(outcome)

    async def async_body(call_id, key):
        step, children = parts_of(text, folder)
        attempt, outcome = next_outcome(step, call_id)
        for child, values in calls_of(step, children, call_id, attempt):
            value = child(*values)
            if inspect.isawaitable(value):
                await value
        if outcome == "hang":
            await asyncio.sleep(NEVER)
        return finished(outcome)

    cache = {"cache_policy": key_of, "result_storage": folder} if step.is_cached else {}
    options = {**step.keywords, **cache, "raise_on_error": not step.is_lenient, "task_name": step.name}
    return task(**options)(async_body if step.is_async else body)


def submit_all(jobs, folder, run_id):
    """Submit *jobs*; return the futures of each."""
    groups = []
    for place, job in enumerate(jobs):
        function = task_of(job.step, folder)
        wait_for = [groups[earlier] for earlier in job.wait_for]
        call_ids = [f"{run_id} {place} {row}" for row in range(max(job.rows, 1))]
        if job.rows:
            groups.append(function.map(call_ids, [job.step.name] * job.rows, wait_for=wait_for))
        else:
            groups.append([function.submit(call_ids[0], job.step.name, wait_for=wait_for)])
    return groups


def outcome_of(future):
    """Return the outcome of *future*, which waits for it."""
    try:
        value = future.result(NEVER)
    except (CancelledError, asyncio.CancelledError):
        return "cancel"
    except UpstreamFailed:
        return "skip"
    except Fault:
        return "fail"
    except FinalFault:
        return "final"
    except RunTimeout:
        return "hang"
    return value


def expected(jobs, model):
    """Return how the future of each call of *jobs* ends, and the spans below the flow."""
    outcomes, spans, bad = [], [], []
    for place, job in enumerate(jobs):
        rows, name = max(job.rows, 1), job.step.name
        if any(earlier in bad for earlier in job.wait_for):
            ended = [("skip", Span(f"task {name}", "skip", False, 1, None, []))] * rows
            model.executed += [(name, "skip")] * rows
            model.counts[name, "skip"] += rows
        else:
            ended = [model.run(job.step, "task", False, f"{place} {row}", name) for row in range(rows)]
        outcome = ended[0][0]
        if not job.goes_well(outcome):
            bad.append(place)
        outcomes.append([None if outcome != "return" and job.goes_well(outcome) else outcome] * rows)
        tasks = [span for _, span in ended]
        if job.rows:
            result = "failure" if tasks[-1].result in semconv.FAILED_RESULTS else tasks[-1].result
            tasks = [Span(f"map {name}", result, False, 0, None, tasks)]
        spans += tasks
    return outcomes, spans


def in_order(spans):
    """Return *spans* in one order, whichever of them came first."""
    return sorted((span._replace(children=in_order(span.children)) for span in spans), key=repr)


def check_submitted(jobs, outcomes, run, trace, aggregator):
    """Compare what *jobs* have left with what the model says."""
    model = Model()
    expected_outcomes, spans = expected(jobs, model)
    assert outcomes == expected_outcomes
    (root,) = seen(trace)
    assert in_order(root.children) == in_order(spans)
    assert sorted((call.task_name, call.status) for call in run.executed_tasks) == sorted(model.executed)
    tasks = aggregator.snapshot().tasks
    counted = {(series.task, word): times.count for series in tasks for word, times in series.durations.items()}
    assert counted == model.counts
    assert {series.task: series.retries for series in tasks if series.retries} == model.retries
    assert {series.task: series.reused for series in tasks if series.reused} == model.reused
    makers = {span.context.span_id for span in trace.spans if span.attributes.get("otelflow.cache.hit") is False}
    hits = [span for span in trace.spans if span.attributes.get("otelflow.cache.hit")]
    assert all(makers.intersection(link.context.span_id for link in span.links) for span in hits)
    assert trace.open_spans == 0


def execute(jobs, runner):
    """Run *jobs* in a flow on *runner*, and look at what they have left."""
    run_id = uuid.uuid4().hex

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        @flow(task_runner=runner)
        def submits():
            return [[outcome_of(future) for future in group] for group in submit_all(jobs, folder, run_id)]

        aggregator = Aggregator()
        add_observer(aggregator)
        try:
            with testing.flow_trace() as trace:
                run = submits().execute()
        finally:
            remove_observer(aggregator)
    check_submitted(jobs, run.flow_return_value, run, trace, aggregator)
