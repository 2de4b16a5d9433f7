"""Tasks in the threads of a pool: with their flow, or with a hint."""

import concurrent.futures

import pytest
from opentelemetry import context as otel_context

from otelflow import ThreadPoolExecutor, flow, task


@task
def fetch(number):
    return number


@pytest.mark.parametrize("way", ["submit", "map"])
def test_what_is_submitted_belongs_to_the_flow_that_submits_it(spans, warnings_said, way):
    @flow
    def fan_out():
        with ThreadPoolExecutor(2) as pool:
            if way == "map":
                return list(pool.map(fetch, range(3)))
            return [future.result() for future in [pool.submit(fetch, number=number) for number in range(3)]]

    assert fan_out().execute().flow_return_value == [0, 1, 2]
    assert spans.tree() == [("flow fan_out", "success", [("task fetch", "success", [])] * 3)]
    assert warnings_said.messages == []


def test_a_task_that_lost_its_flow_in_a_plain_pool_is_a_hint_once(spans, warnings_said):
    @flow
    def fan_out():
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(fetch, range(3)))

    fan_out().execute()

    (message,) = warnings_said.messages
    assert "Task 'fetch'" in message
    assert "flow 'fan_out'" in message
    assert "otelflow.ThreadPoolExecutor" in message


def test_a_task_belongs_to_the_run_whose_span_opentelemetry_has_brought_along(spans, warnings_said):
    def work(context, number):
        token = otel_context.attach(context)  # as opentelemetry-instrumentation-threading does
        try:
            return fetch(number)
        finally:
            otel_context.detach(token)

    @task
    def fan_out_inside():
        context = otel_context.get_current()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(work, [context] * 3, range(3)))

    @flow
    def fan_out(this_flow=None):
        return fan_out_inside(), [task.task_name for task in this_flow.executed_tasks]

    value, names = fan_out().execute().flow_return_value

    assert value == [0, 1, 2]
    assert names == ["fan_out_inside", *["fetch"] * 3]
    assert spans.tree() == [
        ("flow fan_out", "success", [("task fan_out_inside", "success", [("task fetch", "success", [])] * 3)])
    ]
    assert {span.attributes["otelflow.flow.name"] for span in spans.named("task fetch")} == {"fan_out"}
    assert warnings_said.messages == []


def test_a_pool_without_an_open_flow_is_no_hint(spans, warnings_said):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch, range(3))) == [0, 1, 2]

    assert warnings_said.messages == []
