"""Memory is flat: nothing of a run that has ended stays, and one endless flow keeps a bounded part of what it did."""

import asyncio
import contextlib
import gc
import logging
import os
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

from otelflow import Artifact, Flow, Listener, Result, Task, add_listener, flow, remove_listener, task
from otelflow._core.inside.messages import Line
from otelflow._core.process.provider import use_provider
from otelflow._core.runs.bounded import BoundedLog
from otelflow._core.runs.run import Run
from support.garbage import no_collector

KINDS = (Flow, Task, Run, ReadableSpan, SpanContext, Context, BoundedLog, Line, Artifact, Result)
TASKS = 10


class Nowhere(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS


class Deaf(Listener):
    def on_event(self, event):
        """Keep nothing."""


@pytest.fixture(autouse=True)
def exported():
    """Spans are made, ended and exported, and kept by nobody; a listener hears it all."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Nowhere()))
    previous = use_provider(provider)
    listener = Deaf()
    add_listener(listener)
    yield
    remove_listener(listener)
    use_provider(previous)


def live():
    """Count the living objects of each kind."""
    counts = Counter()
    for thing in gc.get_objects():
        for kind in KINDS:
            if issubclass(type(thing), kind):  # other tests have objects whose __class__ raises
                counts[kind.__name__] += 1
    return counts


@task
def step(number):
    return number


@task
async def step_async(number):
    await asyncio.sleep(0)
    return number


@task
def talk(number, this_task):
    print(number)
    this_task.add_task_result(key="number", description=str(number))
    this_task.add_task_artifact(key="number", data={"number": number})


@task(raise_on_error=False)
def fail(number):
    raise ValueError(number)


@task
def numbers():
    yield from range(TASKS)


@flow
def plain():
    for number in range(TASKS):
        step(number)


@flow
def talking():
    for number in range(TASKS):
        talk(number)


@flow
async def concurrent():
    await asyncio.gather(*(step_async(number) for number in range(TASKS)))


@flow
def nested():
    plain().execute()
    return list(numbers())


@flow
def produce():
    for number in range(TASKS):
        yield step(number)


@flow
def failing():
    for number in range(TASKS):
        fail(number)
    raise KeyError("the end")


def in_a_block():
    with plain() as block:
        step(1)
        block.execute()


def failed():
    with contextlib.suppress(KeyError):
        failing().execute()


def repeat(run, times):
    for _ in range(times):
        run()


@pytest.mark.slow
def test_after_10000_flows_of_10_tasks_no_more_is_alive_than_after_500():
    repeat(lambda: plain().execute(), 500)
    with no_collector():
        before = live()
        repeat(lambda: plain().execute(), 9_500)
        after = live()

    assert after == before


@pytest.mark.parametrize(
    "run",
    [
        lambda: talking().execute(),
        lambda: concurrent().execute(),
        lambda: nested().execute(),
        lambda: list(produce().execute().flow_return_value),
        in_a_block,
    ],
    ids=["talking", "concurrent", "nested", "generator", "block"],
)
def test_a_success_is_gone_at_once_without_the_garbage_collector(run, capsys):
    repeat(run, 20)
    with no_collector():
        before = live()
        repeat(run, 300)
        after = live()

    assert after == before


def test_a_flow_that_is_executed_again_keeps_its_last_run_only():
    again = talking()
    repeat(again.execute, 20)
    with no_collector():
        before = live()
        repeat(again.execute, 200)
        after = live()

    assert after == before


@pytest.mark.slow
def test_a_failure_is_gone_when_the_garbage_collector_was_there():
    """An exception keeps the frames it passed, as anywhere in Python."""
    repeat(failed, 20)
    gc.collect()
    before = live()
    repeat(failed, 300)
    gc.collect()

    assert live() == before


def test_flows_that_start_each_other_after_their_end_do_not_keep_each_other():
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        @flow
        def again(left):
            step(left)
            if left % 100 == 0:
                gc.collect()
                seen.append(live())
            if left:
                loop.call_soon(lambda: again(left - 1).execute())
            else:
                over.set_result(None)

        again(400).execute()
        await over

    asyncio.run(main())

    assert seen[-1] == seen[1]


def test_what_outlives_its_flow_keeps_that_flow_and_no_other():
    async def main():
        @flow
        def spawns():
            return asyncio.get_running_loop().create_task(waiting())

        async def waiting():
            await asyncio.Event().wait()

        async def outer(depth):
            pending = spawns().execute().flow_return_value
            for _ in range(depth):
                plain().execute()
            return pending

        pending = [await outer(3) for _ in range(5)]
        gc.collect()
        flows = live()["Flow"]
        for task_of_loop in pending:
            task_of_loop.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return flows

    before = live()["Flow"]
    flows = asyncio.run(main())

    assert flows - before <= 5


STATM = Path("/proc/self/statm")


def resident():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not STATM.exists(), reason="memory is read where Linux tells it")
@pytest.mark.parametrize("kind", ["plain", "talking", "failing"])
@pytest.mark.slow
def test_one_flow_of_50000_tasks_takes_8_megabytes_more_at_most_than_one_of_25000(kind, capfd, caplog):
    """If each task stayed, it would be forty or more."""
    caplog.set_level(logging.CRITICAL, logger="otelflow")  # pytest keeps every line that is logged
    resident_then = []

    def talk_or_fail(number):
        if kind == "talking":
            print("line", number)
        elif kind == "failing" and number % 4 == 0:
            fail(number)

    @flow
    def endless():
        for number in range(50_000):
            step(number)
            talk_or_fail(number)
            if number in (25_000, 49_999):
                gc.collect()
                resident_then.append(resident())

    run = endless().execute()
    capfd.readouterr()

    assert resident_then[1] - resident_then[0] < 8 * 1024 * 1024
    assert len(run.executed_tasks) <= 3_000
    assert len(run.log) <= 3_000
    assert run.executed_tasks.omitted >= 47_000
