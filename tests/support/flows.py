"""The smallest flows and tasks, and what they leave in a tree."""

import asyncio

import pytest

from otelflow import flow, task
from otelflow._core.process.settings import settings
from otelflow._core.runs import engine
from otelflow._core.runs.run import Run


@task
def leaf(value=1):
    return value


@task
async def async_leaf(value=1):
    await asyncio.sleep(0)
    return value


LEAF = ("task leaf", "success", [])
ASYNC_LEAF = ("task async_leaf", "success", [])


@task()
def add(a, b=1, this_task=None):
    print(f"{a} + {b}")
    return a + b


@flow()
def total(a):
    return add(a)


@task
def work(this_task=None):
    print("printed")
    this_task.log_error("told")
    this_task.log_debug("whispered")
    this_task.add_task_artifact("an artifact", "key", {"a": 1}, "json")
    this_task.add_task_result("answer", 42)


@flow
def job():
    """Leave something of each kind on the span of a task."""
    work()


def run_of(body, **keywords):
    """Execute *body* as the flow ``body`` and return the flow; *keywords* are those of ``@flow``."""
    return flow(**{"flow_name": "body", **keywords})(body)().execute()


class Part(Run):
    """A run that is neither a flow nor a task: a span of its own inside them, such as one attempt of a policy."""

    __slots__ = ("failed_tasks", "is_generator", "keeps_errors", "own_code_name", "own_span_name")

    def __init__(self, parent, span_name, settings=None):
        own = (None, None, None) if parent is None else (parent.task, parent.task_name, parent.task_run_id)
        super().__init__(parent, settings or parent.settings, *own)
        self.own_span_name = span_name
        self.own_code_name = None
        self.failed_tasks = 0
        self.is_generator = self.keeps_errors = False

    def span_name(self):
        return self.own_span_name

    def code_name(self):
        return self.own_code_name


def opened(name="bare", parent=None):
    """Return a run of nothing, which is open."""
    run = Part(parent, name, settings())
    engine.open_run(run)
    return run


class Shaky:
    """Raises until it is mended."""

    def __init__(self):
        self.is_mended = False
        self.calls = []

    def __call__(self, value):
        self.calls.append(value)
        if not self.is_mended:
            raise LookupError("not yet")
        return value


def stopped(run):
    """Execute *run*, which raises LookupError, and return its id."""
    with pytest.raises(LookupError):
        run.execute()
    return run.flow_id
