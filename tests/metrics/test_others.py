"""Runs of other services that were lost are kept apart, and bounded."""

import pytest
from opentelemetry.sdk.resources import Resource

from otelflow import semconv
from otelflow._core.process import losses
from otelflow._core.runs.observers import LostRun
from otelflow.metrics import use
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
    aggregator.begin_anew()
    assert (aggregator.run_count, aggregator.others.last_runs()) == (0, {})


@pytest.mark.parametrize("namespace", ["", "us"])
def test_a_file_has_each_series_once_whatever_namespaces_its_services_are_of_and_the_newest_counts(tmp_path, namespace):
    file = tmp_path / "x.prom"
    resource = Resource({"service.name": "shop", "service.namespace": "eu"})
    services = [("eu", "billing"), (namespace, "billing"), (namespace, "shop")]
    for started in (10.0, 30.0, 20.0):  # each time another process tells
        metrics = use(f"textfile:{file}", resource=resource)
        for service in services:
            metrics.aggregator.run_lost(lost("nightly", service, started))
        assert metrics.flush()
        metrics.shutdown()

    last = [line for line in file.read_text().splitlines() if line.startswith(semconv.FLOW_LAST_RUN + "{")]
    of_nightly = sorted(line for line in last if "nightly" in line)
    labels = 'flow="nightly",result="error",service='
    assert of_nightly == [f'{semconv.FLOW_LAST_RUN}{{{labels}"{name}"}} 32.0' for name in ("billing", "shop")]
