import itertools

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otelflow import Flow, flow, task
from otelflow.testing import flow_trace


@task(raise_on_error=False, capture_parameters=True)
def charge(amount):
    raise LookupError("no such customer")


@flow
def shop(this_flow: Flow):
    this_flow.log_info("two orders")
    this_flow.add_flow_artifact(key="orders", data=[1, 2], artifact_type="json")
    this_flow.add_flow_result("total", 3)
    charge(3)


def test_a_snapshot_says_what_happened_and_is_the_same_each_time():
    snapshots = []
    for _ in range(2):
        with flow_trace() as trace:
            shop().execute()
        snapshots.append(trace.snapshot())

    assert snapshots[0] == snapshots[1]
    assert snapshots[0].splitlines() == [
        "flow shop · success",
        "  otelflow.flow.tasks.failed = 1",
        '  "two orders"',
        "  artifact orders: [1, 2]",
        "  result total: 3",
        "  task charge · failure",
        "    error.type = 'LookupError'",
        "    otelflow.run.parameter.amount = '3'",
        "    LookupError: no such customer",
    ]


def test_a_trace_is_whole_when_all_has_ended_and_nothing_was_lost():
    from otelflow._core.process import losses

    def steps():
        yield 1

    with flow_trace() as trace:
        open_steps = task(steps)()
        next(open_steps)
        with pytest.raises(AssertionError, match=r"1 spans have not ended \(task steps\); those that have are"):
            trace.assert_whole()
        open_steps.close()
        trace.assert_whole()
        losses.lost("traces", "queue_full", 3)
        with pytest.raises(AssertionError, match=r"telemetry was lost: 3 traces \(queue_full\)"):
            trace.assert_whole()


def test_a_run_inside_a_span_of_somebody_else_stands_inside_the_run_around_that():
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("foreign")

    @task
    def inner():
        pass

    @flow
    def outer():
        with tracer.start_as_current_span("foreign"):
            inner()

    with flow_trace() as trace:
        outer().execute()

    assert trace.snapshot().splitlines() == ["flow outer · success", "  task inner · success"]


def test_what_was_measured_and_waited_for_is_in_no_snapshot(spans):
    @task(measure_resources=True, concurrency={"bank": 1}, retries=2, retry_delay=0.001, retry_jitter_factor=0.9)
    def pay():
        if next(tries) == 0:
            raise LookupError("no answer")

    tries = itertools.count()
    pay()

    assert spans.one("task pay").attributes["otelflow.run.cpu_seconds"] is not None
    lines = [line.strip() for line in spans.snapshot().splitlines() if "=" in line]
    assert [line for line in lines if "memory.method" not in line] == [
        "otelflow.run.attempts = 2",
        "error.type = 'LookupError'",
        "otelflow.attempt.number = 1",
        "otelflow.attempt.number = 2",
    ]
