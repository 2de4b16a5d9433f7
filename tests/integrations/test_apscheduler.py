import asyncio
import datetime as dt
import functools

import pytest

from otelflow import flow, task
from otelflow.errors import ConfigurationError
from otelflow.integrations.apscheduler import flow_executor
from otelflow_exporters import StoredTraces
from support.programs import run_python
from support.servers import wait_until

apscheduler = pytest.importorskip("apscheduler.schedulers", reason="not installed: pip install 'otelflow[apscheduler]'")
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED  # noqa: E402 see above
from apscheduler.executors.asyncio import AsyncIOExecutor  # noqa: E402
from apscheduler.executors.pool import ThreadPoolExecutor  # noqa: E402
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # noqa: E402
from apscheduler.schedulers.background import BackgroundScheduler  # noqa: E402


@task
def price(fruit):
    return {"apple": 0.5}[fruit]


def charge(fruit):
    return price(fruit)


async def charge_async(fruit):
    await asyncio.sleep(0)
    return price(fruit)


@flow
def nightly(fruit):
    return price(fruit)


@flow(execute_on_call=True)
def hourly(fruit):
    return price(fruit)


def done(*jobs, **options):
    """Let a scheduler do *jobs* once each, and return what it says of them, by the job's id."""
    options.setdefault("misfire_grace_time", None)  # a busy machine is no reason to leave a job out
    scheduler = BackgroundScheduler(executors={"default": flow_executor(ThreadPoolExecutor(2))}, timezone="UTC")
    events = {}
    scheduler.add_listener(
        lambda event: events.setdefault(event.job_id, event), EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED
    )
    scheduler.start()
    try:
        for function, fruit in jobs:
            scheduler.add_job(function, "date", args=[fruit], id=f"{fruit} of {function.__name__}", **options)
        wait_until(lambda: len(events) == len(jobs))
    finally:
        scheduler.shutdown()
    return events


def test_each_run_of_a_job_is_a_flow_that_bears_the_name_of_its_function(spans):
    events = done((charge, "apple"))

    assert events["apple of charge"].retval == 0.5
    spans.assert_tree("charge > price")
    assert spans.one("flow charge").attributes["otelflow.job.id"] == "apple of charge"


def test_a_job_whose_function_has_no_name_of_its_own_is_not_called_by_the_name_of_the_job(spans):
    scheduler = BackgroundScheduler(executors={"default": flow_executor(ThreadPoolExecutor(2))}, timezone="UTC")
    scheduler.start()
    try:
        scheduler.add_job(functools.partial(functools.partial(charge), "apple"), name="charge shop.example")
        scheduler.add_job(lambda: None, name="nothing at 3.30")
        wait_until(lambda: len(spans.spans) == 3)
    finally:
        scheduler.shutdown()

    assert sorted(name for name, *_ in spans.tree()) == ["flow <lambda>", "flow charge"]


def test_a_job_that_fails_is_a_failed_run_and_reported_as_ever(spans):
    events = done((charge, "melon"))

    assert type(events["melon of charge"].exception) is KeyError
    assert spans.one("flow charge").attributes["otelflow.run.result"] == "failure"


@pytest.mark.parametrize("function", [nightly, hourly])
def test_a_job_that_is_a_flow_already_is_run_once_and_is_that_flow(spans, function):
    events = done((function, "apple"))

    assert events[f"apple of {function.__name__}"].retval == 0.5
    spans.assert_tree(f"{function.__name__} > price")


def test_a_run_that_was_missed_is_none(spans):
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    events = done((charge, "apple"), run_date=yesterday, misfire_grace_time=1)

    assert events["apple of charge"].code == EVENT_JOB_MISSED
    assert spans.spans == []


def test_a_coroutine_runs_on_the_loop_of_its_scheduler_and_a_function_in_a_thread(spans):
    async def serve():
        scheduler = AsyncIOScheduler(executors={"default": flow_executor(AsyncIOExecutor())}, timezone="UTC")
        scheduler.start()
        for function in (charge_async, nightly):
            scheduler.add_job(function, "date", args=["apple"], misfire_grace_time=None)
        for _ in range(1_000):
            await asyncio.sleep(0.01)
            if len(spans.named("task price")) == 2 and spans.open_spans == 0:
                break
        scheduler.shutdown()

    asyncio.run(serve())

    assert {node.name for node in spans.tree()} == {"flow charge_async", "flow nightly"}


JOBS = """
from otelflow import configure, task

configure(service_name="shop", store="store")

@task
def charge(fruit):
    return fruit + "!"
"""
PROGRAM = """
import time
from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from jobs import charge
from otelflow.integrations.apscheduler import flow_executor

if __name__ == "__main__":
    scheduler = BackgroundScheduler(executors={"default": flow_executor(ProcessPoolExecutor(1))}, timezone="UTC")
    events = []
    scheduler.add_listener(events.append, EVENT_JOB_EXECUTED)
    scheduler.add_job(charge, "date", args=["apple"], misfire_grace_time=None)
    scheduler.start()
    latest = time.monotonic() + 30
    while not events and time.monotonic() < latest:
        time.sleep(0.05)
    scheduler.shutdown()
    print(events[0].retval)
"""


def test_a_job_in_a_process_of_a_pool_is_a_flow_too(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "shop.py").write_text(PROGRAM)

    ended = run_python("shop.py", cwd=tmp_path)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "apple!\n", "")
    [summary] = StoredTraces(tmp_path / "store").summaries()
    assert (summary.name, summary.span_count, summary.result) == ("flow charge", 2, "success")


@pytest.mark.parametrize("executor", ["threads", None, ThreadPoolExecutor])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises(ConfigurationError, match="flow_executor needs an executor of APScheduler 3"):
        flow_executor(executor)
