"""Random programs of what is submitted, mapped, and called with futures, and a simple model of what each leaves."""

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import json
import os
import tempfile
import threading
import uuid
from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from otelflow import flow, semconv, task, testing
from otelflow._core.runs.observers import add_observer, remove_observer
from otelflow.errors import RunTimeout, UpstreamFailed
from otelflow.metrics._counts import Aggregator
from support.random_tries import NEVER, Fault, FinalFault, Model, Span, Step, finished, seen, trees


@dataclass
class Job:
    """A tree of steps that is submitted, as a map of some rows unless there are none, and the jobs it waits for.

    One that is called gets the futures of these as arguments; a flow may be called, too.
    """

    step: Step
    rows: int
    wait_for: list[int]
    is_called: bool

    def goes_well(self, outcome):
        return outcome == "return" or (self.step.is_lenient and outcome not in ("cancel", "skip"))


@st.composite
def submissions(draw):
    """Draw jobs; one step of all of them may never end by itself."""
    jobs, steps = [], []

    def prepare(step, *, is_async, may_be_flow, is_held=False):
        step.is_async = step.is_async and is_async
        # It is called with a future: who has the only place must not wait for a worker, which may all wait for that.
        step.is_flow = may_be_flow and not is_held and draw(st.booleans())
        step.is_lenient = step.is_lenient and not step.is_flow  # flows say it in another way
        step.is_cached = not step.is_flow and draw(st.booleans())
        step.is_limited, step.is_held = draw(st.integers(0, 2)) == 0, is_held
        step.deadline, step.name = 1.5, f"s{len(steps)}"
        steps.append(step)
        for child in step.children:
            prepare(child, is_async=step.is_async, may_be_flow=True, is_held=is_held or step.is_limited)

    for place in range(draw(st.integers(1, 4))):
        wait_for = draw(st.lists(st.integers(0, place - 1), max_size=2)) if place else []
        jobs.append(Job(draw(trees), draw(st.sampled_from([0, 0, 1, 3])), wait_for, draw(st.integers(0, 3)) == 0))
        jobs[-1].rows *= not jobs[-1].is_called
        prepare(jobs[-1].step, is_async=not jobs[-1].is_called, may_be_flow=jobs[-1].is_called)
    if draw(st.integers(0, 7)) == 0:
        hanging = draw(st.sampled_from(steps))
        hanging.retries = min(hanging.retries, 1)  # each takes a second and a half
        for job in jobs:
            job.rows = min(job.rows, 1)
        hanging.is_cached = False  # others would wait for its value, and for no longer than it takes
        hanging.outcomes[draw(st.integers(0, len(hanging.outcomes) - 1))] = "hang"
        for step in steps:
            step.is_limited = step.is_held = False  # what waits for a place, waits in the time of who calls it
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
    """Return the step that *text* is, and what it calls; made anew in each process."""
    step = step_of(json.loads(text))
    return step, [function_of(child, folder) for child in step.children]


def step_of(fields):
    return Step(**{**fields, "children": [step_of(child) for child in fields["children"]]})


@task
def passed_on(value):
    return value


def calls_of(step, children, call_id, attempt):
    """Call each of *children*, and yield what it returns."""
    origin = call_id.partition("/")[0]
    for child, function in zip(step.children, children, strict=True):
        values = f"{call_id}/{attempt}.{child.name}", f"{origin}: {child.name}"
        yield called(child, function, *values)


def called(step, function, call_id, key, needs=()):
    """Call the task or flow of *step*, a flow with a future in containers; a coroutine is to be awaited."""
    if not step.is_flow:
        return function(call_id, key, needs)
    run = function({"call_id": (passed_on.submit(call_id),)}, key, needs)
    return run.execute_async() if step.is_async else run.execute()


@contextlib.contextmanager
def alone(step, folder):
    """Fail if anything else of *folder* is in such a block, in whichever process, of what has taken the only place."""
    if not step.is_limited or step.is_held:
        yield
        return
    mark = Path(folder, "taken")
    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    try:
        threading.Event().wait(0.01)  # for others to meet it there
        yield
    finally:
        mark.unlink()


def limits_in(folder):
    """Return the names of the limit and the rate of the program in *folder*."""
    return [f"{word} {Path(folder).name}" for word in ("place", "rate")]


def function_of(step, folder):
    """Return the task or flow of *step*: it closes over texts alone, so that it is the same in every process."""
    text = json.dumps(dataclasses.asdict(step))

    def body(call_id, key, needs=()):
        step, children = parts_of(text, folder)
        call_id = call_id["call_id"][0] if step.is_flow else call_id
        with alone(step, folder):
            attempt, outcome = next_outcome(step, call_id)
            for _ in calls_of(step, children, call_id, attempt):
                pass
            if outcome == "hang":
                threading.Event().wait(4 * step.deadline)
            return finished(outcome)

    async def async_body(call_id, key, needs=()):
        step, children = parts_of(text, folder)
        call_id = call_id["call_id"][0] if step.is_flow else call_id
        with alone(step, folder):
            attempt, outcome = next_outcome(step, call_id)
            for value in calls_of(step, children, call_id, attempt):
                if inspect.isawaitable(value):
                    await value
            if outcome == "hang":
                await asyncio.sleep(NEVER)
            return finished(outcome)

    return decorator_of(step, folder)(async_body if step.is_async else body)


def decorator_of(step, folder):
    options = step.keywords
    if step.is_limited:
        place, rate = limits_in(folder)
        options |= {"concurrency": {place: 1}, "rate_limit": {rate: "10000/s"}}
    if step.is_flow:
        return flow(flow_name=step.name, **options)
    if step.is_cached:
        options |= {"cache_policy": key_of, "result_storage": folder}
    return task(raise_on_error=not step.is_lenient, task_name=step.name, **options)


class Ended:
    """Stands for the future of what was called."""

    def __init__(self, call):
        self.value = self.error = None
        try:
            self.value = call()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 what it is, is looked at later
            self.error = error

    def result(self, timeout):
        if self.error is not None:
            raise self.error
        return self.value


def submit_all(jobs, folder, run_id):
    """Submit *jobs*, or call them; return the futures of each."""
    groups = []
    for place, job in enumerate(jobs):
        function, name = function_of(job.step, folder), job.step.name
        wait_for = [groups[earlier] for earlier in job.wait_for]
        call_ids = [f"{run_id} {place} {row}" for row in range(max(job.rows, 1))]
        if job.is_called:
            call = functools.partial(called, job.step, function, call_ids[0], name, {"needs": tuple(wait_for)})
            groups.append([Ended(call)])
        elif job.rows:
            groups.append(function.map(call_ids, [name] * job.rows, wait_for=wait_for))
        else:
            groups.append([function.submit(call_ids[0], name, wait_for=wait_for)])
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
    return value if value is None or isinstance(value, str) else value.flow_return_value


def expected(jobs, model):
    """Return how the future of each call of *jobs* ends, and the spans below the flow."""
    outcomes, spans, bad = [], [], []
    for place, job in enumerate(jobs):
        rows, step = max(job.rows, 1), job.step
        if step.is_flow:
            spans.append(model.passed_on())
        if any(earlier in bad for earlier in job.wait_for):
            ended = [("skip", Span(f"{step.kind} {step.name}", "skip", False, 1, None, []))] * rows
            model.executed += [(step.name, "skip")] * rows
            model.counts[step.name, "skip"] += rows
        else:
            ended = [model.run(step, step.kind, False, f"{place} {row}", step.name) for row in range(rows)]
        outcome = ended[0][0]
        if not job.goes_well(outcome) and not job.is_called:
            bad.append(place)
        returns_nothing = outcome != "return" and job.goes_well(outcome)
        returns_nothing |= outcome == "skip" and job.is_called and step.is_lenient
        outcomes.append([None if returns_nothing else outcome] * rows)
        tasks = [span for _, span in ended]
        if job.rows:
            result = "failure" if tasks[-1].result in semconv.FAILED_RESULTS else tasks[-1].result
            tasks = [Span(f"map {step.name}", result, False, 0, None, tasks)]
        spans += tasks
    return outcomes, spans


def in_order(spans):
    """Return *spans* in one order, whichever of them came first."""
    return sorted((span._replace(children=in_order(span.children)) for span in spans), key=repr)


def check_submitted(jobs, outcomes, run, trace, snapshot, folder):
    """Compare what *jobs* have left with what the model says."""
    model = Model()
    expected_outcomes, spans = expected(jobs, model)
    assert outcomes == expected_outcomes
    (root,) = seen(trace)
    assert in_order(root.children) == in_order(spans)
    flows = {job.step.name for job in jobs if job.step.is_flow} | model.flows
    executed = [(name, result) for name, result in model.executed if name not in flows]
    assert sorted((call.task_name, call.status) for call in run.executed_tasks) == sorted(executed)
    counted, series_list = Counter(), [*snapshot.flows, *snapshot.tasks]
    for series in series_list:
        for result, durations in series.durations.items():
            counted[series.task or series.flow, result] += durations.count
    assert counted == model.counts + Counter({("submits", "success"): 1})
    assert {series.task or series.flow: series.retries for series in series_list if series.retries} == model.retries
    assert {series.task: series.reused for series in snapshot.tasks if series.reused} == model.reused
    makers = {span.context.span_id for span in trace.spans if span.attributes.get("otelflow.cache.hit") is False}
    hits = [span for span in trace.spans if span.attributes.get("otelflow.cache.hit")]
    assert all(makers.intersection(link.context.span_id for link in span.links) for span in hits)
    for name in limits_in(folder):
        assert snapshot.limit_waits.get(name, 0) == model.passes
        assert sum(semconv.LIMIT_WAITED.format(name=name) in span.attributes for span in trace.spans) == model.passes
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
    check_submitted(jobs, run.flow_return_value, run, trace, aggregator.snapshot(), folder)
