"""Runs of other services that were lost are kept apart, and bounded."""

from otelflow import semconv
from otelflow._core.process import losses
from otelflow._core.runs.observers import LostRun
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._others import OtherServices

BILLING = ("eu", "billing")


def lost(flow, service, started=10.0, task=None):
    return LostRun(flow, task, 7, 9, started, 2.0, service)


def test_what_was_lost_last_of_each_flow_of_another_service_is_kept():
    others = OtherServices()
    others.own = ("eu", "shop")
    runs = [lost("nightly", BILLING, started) for started in (20.0, 30.0, 10.0)]
    taken = [others.take(run, 10) for run in (*runs, lost("nightly", BILLING, task="work"))]

    assert taken == [True] * 4
    assert others.last_runs() == {BILLING: {"nightly": runs[1]}}
    assert others.count == 3


def test_a_run_of_this_service_or_of_none_is_none_of_another():
    others = OtherServices()
    before = others.take(lost("nightly", BILLING), 10)
    others.own = BILLING

    assert [before, *(others.take(lost("nightly", service), 10) for service in (BILLING, ("", "")))] == [False] * 3
    assert others.take(lost("nightly", ("us", "billing")), 10)


def test_of_more_flows_than_may_be_told_apart_the_rest_is_one():
    others = OtherServices()
    others.own = ("", "shop")
    for number in range(4):
        others.take(lost(f"flow{number}", BILLING, number), 2)

    assert list(others.last_runs()[BILLING]) == ["flow0", "flow1", semconv.OVERFLOW]
    assert losses.dropped["metrics", "series_limit"] == 2


def test_a_run_of_another_service_is_news_and_changes_no_counter_of_this_one():
    aggregator, heard = Aggregator(), []
    aggregator.others.own = ("", "shop")
    aggregator.hooks = aggregator.hooks._replace(series_added=lambda: heard.append("series"))
    version = aggregator.version()
    aggregator.run_lost(lost("nightly of another", BILLING))

    assert "nightly of another" not in {series.flow for series in aggregator.snapshot().flows}
    assert (aggregator.run_count, aggregator.version() != version, heard) == (1, True, ["series"])
    aggregator.begin_in_child()
    assert (aggregator.run_count, aggregator.others.last_runs()) == (0, {})
