"""What stands on the line of a span: its name, that of the run, and what it was called with."""

import pytest

from otelflow import semconv
from otelflow_exporters._tree.forest import SpanNode
from otelflow_exporters._tree.labels import label_of


@pytest.mark.parametrize(
    ("run_name", "text"),
    [
        ("s7", "task fetch s7"),
        ("fetch s7", "task fetch s7"),
        ("fetch", "task fetch"),
        ("fetch: s7", "task fetch s7"),
        ("fetcher s7", "task fetch fetcher s7"),
        ("fetch_all s7", "task fetch fetch_all s7"),
        ("the fetch s7", "task fetch the fetch s7"),
    ],
)
def test_the_name_of_a_task_is_not_said_twice_when_the_name_of_its_run_begins_with_it(make_span, run_name, text):
    attributes = {semconv.TASK_NAME: "fetch", semconv.TASK_RUN_NAME: run_name, semconv.RUN_RESULT: semconv.SUCCESS}
    node = SpanNode(make_span(1)._replace(name="task fetch", attributes=attributes))

    assert label_of(node, 80, "", is_whole=False).text.plain == text


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({semconv.ATTEMPT_NUMBER: 1, semconv.ATTEMPT_DELAY: 0.0}, "task fetch #1"),
        ({semconv.ATTEMPT_NUMBER: 2, semconv.ATTEMPT_DELAY: 1.5}, "task fetch #2 after 1.5 s"),
        ({semconv.ATTEMPT_NUMBER: "2", semconv.ATTEMPT_DELAY: "soon"}, "task fetch"),
        ({semconv.RUN_ATTEMPTS: 1}, "task fetch"),
        ({semconv.RUN_ATTEMPTS: 3, semconv.RUN_RETRY_DELAY: 90.0}, "task fetch 3 attempts, waited 1 m 30 s"),
    ],
)
def test_an_attempt_says_which_it_is_and_the_whole_how_many_there_were(make_span, attributes, text):
    node = SpanNode(make_span(1)._replace(name="task fetch", attributes=attributes))

    assert label_of(node, 80, "", is_whole=False).text.plain == text


def test_neither_is_that_of_a_flow(make_span):
    attributes = {semconv.FLOW_NAME: "load", semconv.FLOW_RUN_NAME: "load tea", semconv.RUN_RESULT: semconv.SUCCESS}
    node = SpanNode(make_span(1)._replace(name="flow load", attributes=attributes))

    assert label_of(node, 80, "", is_whole=False).text.plain == "flow load tea"
