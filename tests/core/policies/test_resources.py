"""What a body takes of processor and memory, as far as the platform tells."""

import asyncio
import sys
import threading
import time

import pytest

from otelflow import flow, semconv, task

_WAIT = 30
_MEGABYTE = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="what the kernel of Linux tells")


def burn(seconds):
    """Use so many seconds of this thread's processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def cpu(span):
    return span.attributes[semconv.RUN_CPU]


def test_it_is_the_processor_s_time_of_the_body_and_not_the_time_that_passed(spans):
    @task(measure_resources=True)
    def works():
        burn(0.05)
        time.sleep(0.1)

    works()

    span = spans.one("task works")
    assert 0.05 <= cpu(span) < (span.end_time - span.start_time) / 1e9 - 0.05


def test_of_coroutines_that_share_a_loop_each_has_its_own(spans):
    @task(measure_resources=True)
    async def works(seconds):
        for _ in range(5):
            burn(seconds / 5)
            await asyncio.sleep(0)

    async def both():
        await asyncio.gather(works(0.02), works(0.1))

    asyncio.run(both())

    less, more = sorted(cpu(span) for span in spans.named("task works"))
    assert less >= 0.02
    assert more >= 0.1
    assert less < 0.1


def test_all_attempts_are_added_up(spans):
    attempts = []

    @task(measure_resources=True, retries=2)
    def fails_twice():
        attempts.append(1)
        burn(0.02)
        if len(attempts) < 3:
            raise ValueError("again")

    fails_twice()

    assert cpu(spans.one("task fails_twice")) >= 0.06


@linux
def test_alone_the_peak_is_exact_also_of_what_is_there_for_a_moment_only(program):
    program.run(
        """
        from otelflow import task
        provide()

        @task(measure_resources=True)
        def takes(size):
            bytes(size)  # filled with zeros, page by page, and given back at once

        @task(measure_resources=True)
        def touches(size):
            block = bytearray(size)
            block[::4096] = b"x" * len(block[::4096])

        takes(10)
        touches(200_000_000)
        takes(20)
        """
    )

    first, big, last = program.spans
    assert [span.attributes["otelflow.run.memory.method"] for span in program.spans] == ["exact"] * 3
    assert big.attributes["otelflow.run.memory.peak"] > first.attributes["otelflow.run.memory.peak"] + 190 * _MEGABYTE
    assert last.attributes["otelflow.run.memory.peak"] < big.attributes["otelflow.run.memory.peak"] - 100 * _MEGABYTE


@linux
def test_beside_another_run_it_is_sampled_and_says_so(spans):
    begun, done = threading.Event(), threading.Event()

    @task
    def beside():
        begun.set()
        done.wait(_WAIT)

    @task(measure_resources=True)
    def works():
        return 42

    thread = threading.Thread(target=beside)
    thread.start()
    assert begun.wait(_WAIT)
    works()
    done.set()
    thread.join(_WAIT)

    attributes = spans.one("task works").attributes
    assert attributes[semconv.RUN_MEMORY_METHOD] == "sampled"
    assert attributes[semconv.RUN_MEMORY] > _MEGABYTE


@linux
def test_two_that_are_measured_at_once_are_sampled_and_what_runs_inside_is_no_other(spans):
    barrier = threading.Barrier(2)

    @task(measure_resources=True)
    def works():
        barrier.wait(_WAIT)
        time.sleep(0.03)

    @flow(measure_resources=True)
    def around():
        @task
        def inner():
            time.sleep(0.05)  # as long as the memory is looked at a few times

        inner()

    threads = [threading.Thread(target=works) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)
    around().execute()

    methods = {span.name: span.attributes.get(semconv.RUN_MEMORY_METHOD) for span in spans.spans}
    assert methods == {"task works": "sampled", "task inner": None, "flow around": "exact"}


@linux
def test_nobody_looks_at_the_memory_when_nothing_is_measured_any_more(spans):
    @task(measure_resources=True)
    def works():
        time.sleep(0.02)

    works()
    works()
    lookers = [thread for thread in threading.enumerate() if thread.name == "otelflow-memory"]
    for thread in lookers:
        thread.join(_WAIT)

    assert len(lookers) <= 1
    assert not any(thread.is_alive() for thread in lookers)
    works()
    assert [span.attributes[semconv.RUN_MEMORY_METHOD] for span in spans.named("task works")] == ["exact"] * 3


def test_what_is_thrown_into_a_coroutine_reaches_it(spans):
    caught = []

    @task(measure_resources=True)
    async def waits():
        try:
            await asyncio.sleep(_WAIT)
        except asyncio.CancelledError:
            caught.append("cancelled")
            raise

    async def cancel():
        running = asyncio.create_task(waits())
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel())

    assert caught == ["cancelled"]
    assert spans.one("task waits").attributes["otelflow.run.result"] == "cancellation"
    assert cpu(spans.one("task waits")) < 1


def test_without_the_keyword_nothing_is_measured(spans):
    @task(measure_resources=False)
    def plain(): ...

    plain()

    assert semconv.RUN_CPU not in spans.one("task plain").attributes
