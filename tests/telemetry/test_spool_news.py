"""A spool hears what has happened in open runs, and nothing of runs that have ended."""

from opentelemetry import trace

import otelflow
from otelflow import semconv
from otelflow._core.runs import observers
from otelflow._telemetry.spool_news import SpoolNews


def test_messages_of_an_open_run_are_news_once_and_all_of_them_when_more_come(spans):
    news, taken = SpoolNews(), []
    observers.add_observer(news)

    @otelflow.flow
    def talk(this_flow: otelflow.Flow = otelflow.INJECTED):
        this_flow.log_info("first")
        taken.append(news.take())
        taken.append(news.take())
        this_flow.log_info("second")
        taken.append(news.take())
        this_flow.log_info("third")
        return trace.get_current_span().get_span_context().span_id

    span_id = talk().execute().flow_return_value
    taken.append(news.take())

    texts = [
        [(number, [event.attributes[semconv.MESSAGE_TEXT] for event in events]) for number, events in step]
        for step in taken
    ]
    assert texts == [[(span_id, ["first"])], [], [(span_id, ["first", "second"])], []]


def test_runs_that_have_ended_are_not_kept(spans):
    news = SpoolNews()
    observers.add_observer(news)

    @otelflow.flow
    def talk(this_flow: otelflow.Flow = otelflow.INJECTED):
        this_flow.log_info("said")

    for _ in range(2_000):
        talk().execute()

    assert len(news._runs) <= 1_000
    assert news.take() == []
    assert len(news._runs) == 0
