"""Print the bytes that each finished flow of 10 tasks leaves behind: ``memory.py WHOSE FLOWS``."""

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable

import peers
import subjects

import otelflow
from otelflow._core.process import provider as spans

TASKS = 10


@otelflow.flow
def ten_tasks() -> None:
    for number in range(TASKS):
        subjects.add(number)


def by_otelflow() -> Callable[[], object]:
    provider = subjects.batching()
    spans.use_provider(provider)
    return lambda: (ten_tasks().execute(), provider.force_flush())


def by_hand() -> Callable[[], object]:
    provider = subjects.batching()
    tracer = provider.get_tracer("benchmark")
    task = peers.task_by_hand(tracer)

    def flow() -> None:
        with tracer.start_as_current_span("flow ten_tasks"):
            for number in range(TASKS):
                task(number)
        provider.force_flush()

    return flow


def by_logfire() -> Callable[[], object]:
    instance = peers.new_logfire()
    task = instance.instrument("task add", extract_args=False)(peers.plain)

    def flow() -> None:
        with instance.span("flow"):
            for number in range(TASKS):
                task(number)
        instance.force_flush()

    return flow


def by_osbot() -> Callable[[], object]:
    from osbot_utils.helpers.flows.decorators.flow import flow
    from osbot_utils.helpers.flows.decorators.task import task

    add = task()(peers.plain)

    @flow()
    def ten() -> None:
        for number in range(TASKS):
            add(number)

    return lambda: ten().execute_flow()


WHOSE = {"hand-written": by_hand, "otelflow": by_otelflow, "logfire": by_logfire, "OSBot-Utils": by_osbot}


def left_behind(flow: Callable[[], object], count: int) -> float:
    for _ in range(max(5, count // 4)):
        flow()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(count):
        flow()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    return (after - before) / count


if __name__ == "__main__":
    whose, count = sys.argv[1], int(sys.argv[2])
    few = max(1, count // 20) if whose == "OSBot-Utils" else count
    sys.stdout.write(json.dumps(left_behind(WHOSE[whose](), few)) + "\n")
