"""Random programs of kept flows that fail and are resumed until they end well, and a model of what runs again."""

import contextlib
import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from otelflow import flow, semconv, task, testing, wait

#: No program fails as often
MOST_ATTEMPTS = 60


class Fault(Exception):
    """A failure of a step."""


@dataclass
class Step:
    """A task: which it calls, and how often each of its calls fails before it does not any more."""

    children: list["Step"]
    failures: int
    is_kept: bool
    retries: int
    rows: int  # of a map; 0: it is called
    repeats: int  # of a call with the same inputs
    name: str = ""


def _steps(children):
    return st.builds(
        Step,
        children,
        st.sampled_from([0, 0, 1, 2]),
        st.booleans(),
        st.sampled_from([0, 0, 1]),
        st.sampled_from([0, 0, 1, 2]),
        st.integers(1, 2),
    )


_trees = st.recursive(_steps(st.just([])), lambda inner: _steps(st.lists(inner, max_size=2)), max_leaves=4)


@st.composite
def programs(draw):
    """Draw the steps that a flow calls, each with a name of its own."""
    steps = draw(st.lists(_trees, min_size=1, max_size=3))
    names = iter(range(1_000))

    def prepare(step):
        step.name = f"s{next(names)}"
        for child in step.children:
            prepare(child)

    for step in steps:
        prepare(step)
    return steps


# The program


def called(children, call_id, folder):
    """Call or map *children*, in order, and return the sum of what they return."""
    total = 0
    for child in children:
        function = task_of(child, folder)
        if child.rows:
            futures = function.map([f"{call_id}/{child.name}.{row}" for row in range(child.rows)])
            wait(futures)  # else what has not begun is cancelled or not, as it comes
            total += sum(future.result() for future in futures)
        else:
            total += sum(function(f"{call_id}/{child.name}") for _ in range(child.repeats))
    return total


def task_of(step, folder):
    """Return the task of *step*, which is the same in every process."""
    text = json.dumps(asdict(step))

    def body(call_id):
        own = step_of(json.loads(text))
        total = 1 + called(own.children, call_id, folder)
        runs = Path(folder, call_id.replace("/", "_"))
        with runs.open("a+") as file:
            file.write("x")
            file.flush()
            if file.tell() <= own.failures:
                raise Fault(call_id)
        return total

    options = {"persist_result": True} if step.is_kept else {}
    return task(task_name=step.name, retries=step.retries, **options)(body)


def step_of(fields):
    """Return the step that was written as *fields*."""
    return Step(**{**fields, "children": [step_of(child) for child in fields["children"]]})


# The model


@dataclass
class Model:
    """Says what each attempt of the flow does."""

    runs: Counter = field(default_factory=Counter)
    kept: set = field(default_factory=set)
    replayed: int = 0

    def attempt(self, steps, path, call_id):
        """Call *steps*; return the sum of what they return, or None if one has failed."""
        total = 0
        for step in steps:
            rows = [f".{row}" for row in range(step.rows)]
            calls = [(f"{call_id}/{step.name}{row}", 0) for row in rows]
            calls = calls or [(f"{call_id}/{step.name}", number) for number in range(step.repeats)]
            values = []
            for own_id, number in calls:
                values.append(self.call(step, (*path, own_id, number), own_id))
                if values[-1] is None and not step.rows:
                    return None
            if None in values:
                return None
            total += sum(values)
        return total

    def call(self, step, path, call_id):
        """Return what a call of *step* returns, or None if it fails in the end."""
        if step.is_kept and path in self.kept:
            self.replayed += 1
            return size(step)
        for _ in range(step.retries + 1):
            total = self.attempt(step.children, path, call_id)
            if total is None:
                continue
            self.runs[call_id] += 1
            if self.runs[call_id] > step.failures:
                if step.is_kept:
                    self.kept.add(path)
                return total + 1
        return None


def size(step):
    """Return what a call of *step* returns that ends well."""
    return 1 + sum(size(child) * (child.rows or child.repeats) for child in step.children)


def execute(steps, runner):
    """Run a flow of *steps* on *runner*, resume it until it ends well, and compare each attempt with the model."""
    model, run_id, before = Model(), None, None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        counts = Path(folder, "counts")
        counts.mkdir()

        @flow(persist_result=True, result_storage=Path(folder, "kept"), task_runner=runner)
        def works():
            return called(steps, "", str(counts))

        for attempt in range(1, MOST_ATTEMPTS):
            model.replayed = 0
            value = model.attempt(steps, (), "")
            run = works() if run_id is None else works.resume(run_id)
            run_id = run.flow_id
            with testing.flow_trace() as trace, contextlib.suppress(Fault):
                run.execute()
            root = trace.one("flow works")
            assert run.flow_return_value == value
            assert root.attributes[semconv.RUN_RESULT] == ("failure" if value is None else "success")
            assert root.attributes[semconv.FLOW_RUN_ATTEMPT] == attempt
            assert [link.context.span_id for link in root.links] == ([] if before is None else [before])
            assert sum(span.attributes.get(semconv.RUN_REPLAYED, False) for span in trace.spans) == model.replayed
            runs = {file.name: len(file.read_text()) for file in counts.iterdir()}
            assert runs == {call_id.replace("/", "_"): count for call_id, count in model.runs.items()}
            assert trace.open_spans == 0
            before = root.context.span_id
            if value is not None:
                return
        raise AssertionError("it has not ended well")
