"""What is measured: tasks and flows of otelflow, and what people use in their place."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peers
from floor import least_of
from measuring import Subject, timed, timed_async
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from peers import NoOpExporter, plain

import otelflow
from otelflow._core.process import provider as spans
from otelflow._core.runs import observers
from otelflow.metrics._counts import Aggregator

TASKS = 500
FLOWS = 200
DEEP = 50
# A flow keeps its first and last 1,000 tasks: from here on each new one pushes out an old one.
SOME_TASKS = 2_500
MANY_TASKS = 10_000
MANY_FLOWS = 5_000

AGGREGATOR = Aggregator()


@otelflow.task
def add(number: int) -> int:
    return number + 1


@otelflow.task
async def add_async(number: int) -> int:
    return number + 1


@otelflow.flow
def around(body: Callable[[], float]) -> float:
    return body()


@otelflow.flow(flow_config=otelflow.Flow_Run__Config(logging_enabled=False))
def around_silent(body: Callable[[], float]) -> float:
    return body()


@otelflow.flow
async def around_async(count: int) -> float:
    return await timed_async(add_async, count)


@otelflow.flow
def nothing() -> None:
    return None


@otelflow.flow
def of_one() -> None:
    add(1)


def batching(**options: Any) -> TracerProvider:
    provider = TracerProvider(**options)
    provider.add_span_processor(BatchSpanProcessor(NoOpExporter()))
    return provider


def in_memory() -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    return provider


class Listening(otelflow.Listener):
    """Counts the tasks and flows that end, as a metrics listener does."""

    ended = 0

    def on_task_stop(self, event: otelflow.Flow_Run__Event) -> None:
        self.ended += 1

    def on_flow_stop(self, event: otelflow.Flow_Run__Event) -> None:
        self.ended += 1


@contextmanager
def surroundings(provider: trace.TracerProvider | None, listeners: int, metrics: bool = False) -> Iterator[None]:
    """Let otelflow use *provider* (None: none is configured), tell so many listeners, and perhaps count in metrics."""
    added = [Listening() for _ in range(listeners)]
    if metrics:
        observers.add_observer(AGGREGATOR)
    previous = spans.use_provider(provider)
    for listener in added:
        otelflow.add_listener(listener)
    try:
        yield
    finally:
        observers.remove_observer(AGGREGATOR)
        for listener in added:
            otelflow.remove_listener(listener)
        spans.use_provider(previous)
        flush(provider)


def flush(provider: trace.TracerProvider | None) -> None:
    """Empty the queue, so that no sample pays for the one before or loses spans."""
    if isinstance(provider, TracerProvider):
        provider.force_flush()


def deep(frames: int, call: Callable[[], float]) -> float:
    return call() if frames == 0 else deep(frames - 1, call)


class Providers:
    """Each kind of provider once, as in a program."""

    def __init__(self) -> None:
        self.no_op = batching()
        self.no_exporter = TracerProvider()
        self.in_memory = in_memory()
        self.sampled_out = batching(sampler=ALWAYS_OFF)


def in_flow(
    provider: trace.TracerProvider | None,
    listeners: int = 0,
    flow: Any = around,
    frames: int = 0,
    before: int = 0,
    metrics: bool = False,
) -> Callable[[int], float]:
    """Return what samples a task inside a flow: after *before* others, *frames* below the flow."""

    def sample(count: int) -> float:
        def body() -> float:
            for number in range(before):
                add(number)
                if number % TASKS == 0:
                    flush(provider)
            return deep(frames, lambda: timed(add, count))

        with surroundings(provider, listeners, metrics):
            return flow(body).execute().flow_return_value

    return sample


def in_async_flow(provider: trace.TracerProvider) -> Callable[[int], float]:
    def sample(count: int) -> float:
        with surroundings(provider, 0):
            return around_async(count).execute().flow_return_value

    return sample


def flows(
    provider: trace.TracerProvider | None, listeners: int = 0, metrics: bool = False, flow: Any = nothing
) -> Callable[[int], float]:
    def sample(count: int) -> float:
        with surroundings(provider, listeners, metrics):
            return timed(lambda _: flow().execute(), count)

    return sample


def by_hand(
    provider: TracerProvider, call_of: Callable[[trace.Tracer], Callable[[int], Any]]
) -> Callable[[int], float]:
    """Return what samples hand-written OpenTelemetry, inside a span that stands for the flow's."""
    tracer = provider.get_tracer("benchmark")
    call = call_of(tracer)

    def sample(count: int) -> float:
        with tracer.start_as_current_span("flow around"):
            seconds = timed(call, count)
        flush(provider)
        return seconds

    return sample


def by_hand_async(provider: TracerProvider) -> Callable[[int], float]:
    tracer = provider.get_tracer("benchmark")

    def sample(count: int) -> float:
        with tracer.start_as_current_span("flow around_async"):
            seconds = asyncio.run(timed_async(peers.async_task_by_hand(tracer), count))
        flush(provider)
        return seconds

    return sample


def tasks(providers: Providers) -> list[Subject]:
    """A task that adds 1, in everything that can be around it."""
    no_op = providers.no_op
    subjects = [
        Subject("task", "plain call", lambda count: timed(plain, count), TASKS),
        Subject("task", "hand-written", by_hand(no_op, peers.task_by_hand), TASKS),
        Subject(
            "task", "hand-written, start_span and attach", by_hand(no_op, peers.task_by_hand_without_managers), TASKS
        ),
        Subject("task", "otelflow", in_flow(no_op), TASKS),
        Subject("task", "otelflow, 1 listener", in_flow(no_op, 1), TASKS),
        Subject("task", "otelflow, metrics", in_flow(no_op, metrics=True), TASKS),
        Subject("task", "otelflow, 10 listeners", in_flow(no_op, 10), TASKS),
        Subject("task", "otelflow, messages off", in_flow(no_op, flow=around_silent), TASKS),
        Subject("task", "otelflow, no exporter", in_flow(providers.no_exporter), TASKS),
        Subject("task", "otelflow, in-memory exporter", in_flow(providers.in_memory), TASKS),
        Subject("task", "otelflow, sampled out", in_flow(providers.sampled_out), TASKS),
        Subject("task", "otelflow, no provider", in_flow(None), TASKS),
        Subject("task", "otelflow, no provider, 1 listener", in_flow(None, 1), TASKS),
        Subject("task", f"otelflow, {DEEP} frames deep", in_flow(no_op, frames=DEEP), TASKS),
        Subject("task", f"otelflow, after {SOME_TASKS:,} tasks in the flow", in_flow(no_op, before=SOME_TASKS), TASKS),
        Subject("task", f"otelflow, after {MANY_TASKS:,} tasks in the flow", in_flow(no_op, before=MANY_TASKS), TASKS),
        Subject("async task", "plain await", lambda count: asyncio.run(timed_async(peers.plain_async, count)), TASKS),
        Subject("async task", "hand-written", by_hand_async(no_op), TASKS),
        Subject("async task", "otelflow", in_async_flow(no_op), TASKS),
    ]
    return subjects + peers.tasks()


def flow_runs(providers: Providers) -> list[Subject]:
    """A flow that does nothing."""
    subjects = [
        Subject("flow", "plain call", lambda count: timed(plain, count), FLOWS),
        Subject("flow", "hand-written", by_hand(providers.no_op, peers.flow_by_hand), FLOWS),
        Subject("flow", "otelflow", flows(providers.no_op), FLOWS),
        Subject("flow", "otelflow, 1 listener", flows(providers.no_op, 1), FLOWS),
        Subject("flow", "otelflow, metrics", flows(providers.no_op, metrics=True), FLOWS),
        Subject("flow", "otelflow, no provider", flows(None), FLOWS),
    ]
    return subjects + peers.flow_runs()


def whole(providers: Providers) -> list[Subject]:
    """A task and a flow of one task with all that is had of them: spans, messages, metrics, one listener.

    By hand it is a span, a histogram and a counter of prometheus-client, for each.
    """
    no_op, sampled_out = providers.no_op, providers.sampled_out
    return [
        Subject("task, whole", "hand-written", by_hand(no_op, peers.measured_task_by_hand), TASKS),
        Subject("task, whole", "the least in Python", by_hand(no_op, least_of(no_op, "task")), TASKS),
        Subject("task, whole", "otelflow", in_flow(no_op, 1, metrics=True), TASKS),
        Subject("task, whole", "otelflow, sampled out", in_flow(sampled_out, 1, metrics=True), TASKS),
        Subject("flow of one", "hand-written", by_hand(no_op, peers.flow_of_one_by_hand), FLOWS),
        Subject("flow of one", "the least in Python", by_hand(no_op, least_of(no_op, "flow")), FLOWS),
        Subject("flow of one", "otelflow", flows(no_op, 1, metrics=True, flow=of_one), FLOWS),
    ]


def later(providers: Providers) -> list[Subject]:
    """A task again, for after many flows."""
    return [
        Subject("later", "hand-written", by_hand(providers.no_op, peers.task_by_hand), TASKS),
        Subject("later", f"otelflow, after {MANY_FLOWS:,} flows", in_flow(providers.no_op), TASKS),
    ]


def run_many_flows(providers: Providers, count: int) -> None:
    with surroundings(providers.no_op, 0):
        for number in range(count):
            nothing().execute()
            if number % TASKS == 0:
                flush(providers.no_op)
