"""One run of a schedule: each kind of flow is run to its end on a thread of its own, and can be cancelled there."""

import asyncio
import threading
import time

import pytest

from otelflow import flow
from otelflow.serve._job import Cancelled, Job
from otelflow.serve._occasion import Occasion

_WAIT = 30


def job_of(make, ended=None):
    return Job(make, Occasion("pulse", 60.0, 0), ended or (lambda job: None))


@flow
def plain(note):
    note("plain")


@flow
async def waits(note):
    await asyncio.sleep(0)
    note("async")


@flow
def steps(note):
    yield 1
    note("generator")


@flow
async def steps_async(note):
    yield 1
    note("async generator")


@flow(execute_on_call=True)
def at_once(note):
    note("at once")


@flow(execute_on_call=True)
def steps_at_once(note):
    yield 1
    note("generator at once")


@flow(execute_on_call=True)
async def waits_at_once(note):
    note("async at once")


@flow(execute_on_call=True)
async def steps_async_at_once(note):
    yield 1
    note("async generator at once")


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (plain, "plain"),
        (waits, "async"),
        (steps, "generator"),
        (steps_async, "async generator"),
        (at_once, "at once"),
        (steps_at_once, "generator at once"),
        (waits_at_once, "async at once"),
        (steps_async_at_once, "async generator at once"),
    ],
    ids=lambda value: value if isinstance(value, str) else "flow",
)
def test_each_kind_of_flow_runs_to_its_end_on_another_thread(made, word):
    notes, ended = [], []
    job = job_of(lambda: made(lambda text: notes.append((text, threading.current_thread()))), ended.append)
    job.start()

    assert job.join(_WAIT)
    ((text, thread),) = notes
    assert (text, thread is threading.current_thread()) == (word, False)
    assert (job.result, job.error, job.seconds > 0, ended) == ("success", None, True, [job])


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_what_a_flow_raises_stays_in_its_job(kind):
    @flow
    def fails():
        raise kind("no")

    ended = []
    job = job_of(fails, ended.append)
    job.start()

    assert job.join(_WAIT)
    assert (job.result, type(job.error), str(job.error), ended) == ("failure", kind, "no", [job])


def test_a_flow_that_cannot_be_made_is_a_failure_of_its_job():
    job = job_of(lambda: plain(1, 2, 3, of="them"))
    job.start()

    assert job.join(_WAIT)
    assert job.result != "success"
    assert isinstance(job.error, Exception)


def test_a_flow_of_python_is_cancelled_at_its_next_step():
    begun = threading.Event()

    @flow
    def busy():
        begun.set()
        while True:
            time.sleep(0.01)

    job = job_of(busy)
    job.start()
    assert begun.wait(_WAIT)
    job.cancel()

    assert job.join(_WAIT)
    assert (job.result, type(job.error)) == ("cancellation", Cancelled)


def test_a_coroutine_is_cancelled_where_it_waits():
    begun = threading.Event()

    @flow
    async def idle():
        begun.set()
        await asyncio.sleep(_WAIT * 10)

    job = job_of(idle)
    job.start()
    assert begun.wait(_WAIT)
    job.cancel()

    assert job.join(_WAIT)
    assert (job.result, type(job.error)) == ("cancellation", asyncio.CancelledError)


def test_one_that_has_ended_is_cancelled_by_nobody():
    job = job_of(lambda: plain(lambda _: None))
    job.start()
    assert job.join(_WAIT)
    job.cancel()

    assert (job.result, job.error) == ("success", None)


def test_who_waits_no_longer_is_told_that_it_goes_on():
    may_end = threading.Event()

    @flow
    def slow():
        assert may_end.wait(_WAIT)

    job = job_of(slow)
    job.start()
    goes_on = not job.join(0)
    may_end.set()

    assert goes_on
    assert job.join(_WAIT)
