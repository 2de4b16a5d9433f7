"""The smallest flows and tasks, and what they leave in a tree."""

import asyncio

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


def run_of(body, **keywords):
    """Execute *body* as the flow ``body`` and return the flow; *keywords* are those of ``@flow``."""
    return flow(**{"flow_name": "body", **keywords})(body)().execute()


def opened(name="bare", parent=None):
    """Return a run of nothing, which is open."""
    run = Run(parent, settings(), name)
    engine.open_run(run)
    return run
