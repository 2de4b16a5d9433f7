"""The yardsticks: plain calls, OpenTelemetry by hand, OSBot-Utils and logfire."""

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from measuring import Clock, Subject, timed
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from otelflow import semconv
from otelflow.metrics._counts import BUCKETS

FEW = 5


class NoOpExporter(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def plain(number: int) -> int:
    return number + 1


async def plain_async(number: int) -> int:
    return number + 1


# By hand: the attributes that otelflow writes, one of them an id of the run.


def task_attributes() -> dict[str, str]:
    return {
        semconv.TASK_NAME: "add",
        semconv.TASK_RUN_ID: f"task_id__{os.urandom(8).hex()}",
        semconv.CODE_FUNCTION_NAME: "peers.plain",
        semconv.FLOW_NAME: "around",
        semconv.FLOW_RUN_ID: "flow_id__0123456789abcdef",
    }


def task_by_hand(tracer: trace.Tracer) -> Callable[[int], int]:
    """What a careful engineer writes."""

    def task(number: int) -> int:
        with tracer.start_as_current_span("task add", attributes=task_attributes()) as span:
            value = plain(number)
            span.set_attribute(semconv.RUN_RESULT, "success")
            return value

    return task


def task_by_hand_without_managers(tracer: trace.Tracer) -> Callable[[int], int]:
    """As after a measurement: faster, and without the recording of exceptions."""

    def task(number: int) -> int:
        span = tracer.start_span("task add", attributes=task_attributes())
        token = context.attach(trace.set_span_in_context(span))
        try:
            value = plain(number)
            span.set_attribute(semconv.RUN_RESULT, "success")
            return value
        finally:
            context.detach(token)
            span.end()

    return task


def measured_task_by_hand(tracer: trace.Tracer) -> Callable[[int], int]:
    """What a careful engineer writes who wants metrics, too: how long it took, and how often it was done."""
    seconds, runs = prometheus_metrics("task")

    def task(number: int) -> int:
        with tracer.start_as_current_span("task add", attributes=task_attributes()) as span:
            began = time.perf_counter()
            value = plain(number)
            span.set_attribute(semconv.RUN_RESULT, "success")
            seconds.observe(time.perf_counter() - began)
            runs.inc()
            return value

    return task


def prometheus_metrics(name: str) -> tuple[Any, Any]:
    """Return a histogram and a counter of one series, which is looked up only once."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry, labels = CollectorRegistry(), ("flow", "task")
    seconds = Histogram(f"{name}_seconds", "How long it takes", labels, registry=registry, buckets=BUCKETS)
    runs = Counter(f"{name}_runs", "How often it is done", labels, registry=registry)
    return seconds.labels("around", "add"), runs.labels("around", "add")


def flow_of_one_by_hand(tracer: trace.Tracer) -> Callable[[int], None]:
    task = measured_task_by_hand(tracer)
    flow = flow_by_hand(tracer, task)
    seconds, runs = prometheus_metrics("flow")

    def measured(number: int) -> None:
        began = time.perf_counter()
        flow(number)
        seconds.observe(time.perf_counter() - began)
        runs.inc()

    return measured


def async_task_by_hand(tracer: trace.Tracer) -> Callable[[int], Any]:
    async def task(number: int) -> int:
        with tracer.start_as_current_span("task add", attributes=task_attributes()) as span:
            value = await plain_async(number)
            span.set_attribute(semconv.RUN_RESULT, "success")
            return value

    return task


def flow_by_hand(tracer: trace.Tracer, body: Callable[[int], Any] = lambda _: None) -> Callable[[int], None]:
    def flow(number: int) -> None:
        values = {
            semconv.FLOW_NAME: "nothing",
            semconv.FLOW_RUN_ID: f"flow_id__{os.urandom(8).hex()}",
            semconv.CODE_FUNCTION_NAME: "peers.plain",
        }
        with tracer.start_as_current_span("flow nothing", attributes=values) as span:
            body(number)
            span.set_attribute(semconv.RUN_RESULT, "success")

    return flow


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def new_logfire() -> Any:
    """Return a logfire of its own: nothing global, nothing sent."""
    import logfire

    return logfire.configure(
        local=True,
        send_to_logfire=False,
        console=False,
        inspect_arguments=False,
        additional_span_processors=[BatchSpanProcessor(NoOpExporter())],
    )


def logfire_call(name: str) -> Callable[[int], float]:
    instance = new_logfire()
    call = instance.instrument(name, extract_args=False)(plain)

    def sample(count: int) -> float:
        with instance.span("around"):
            seconds = timed(call, count)
        instance.force_flush()
        return seconds

    return sample


def osbot_task() -> Callable[[int], float]:
    from osbot_utils.helpers.flows.decorators.flow import flow
    from osbot_utils.helpers.flows.decorators.task import task

    @task()
    def add(number: int) -> int:
        return number + 1

    @flow()
    def around(count: int) -> float:
        began = Clock.now()
        for number in range(count):
            add(number)
        return (Clock.now() - began) / count

    return lambda count: around(count).execute_flow().flow_return_value


def osbot_flow() -> Callable[[int], float]:
    from osbot_utils.helpers.flows.decorators.flow import flow

    @flow()
    def nothing() -> None:
        return None

    def sample(count: int) -> float:
        began = Clock.now()
        for _ in range(count):
            nothing().execute_flow()
        return (Clock.now() - began) / count

    return sample


def tasks() -> list[Subject]:
    """A task in each of the others that is installed."""
    subjects = []
    if has("logfire"):
        subjects.append(Subject("task", "logfire", logfire_call("task add"), 200))
    if has("osbot_utils"):
        subjects.append(Subject("task", "OSBot-Utils", osbot_task(), FEW))
    return subjects


def flow_runs() -> list[Subject]:
    """A flow in each of the others that is installed."""
    subjects = []
    if has("logfire"):
        subjects.append(Subject("flow", "logfire", logfire_call("flow nothing"), 100))
    if has("osbot_utils"):
        subjects.append(Subject("flow", "OSBot-Utils", osbot_flow(), FEW))
    return subjects
