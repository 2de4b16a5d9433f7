import contextlib

import pytest

from otelflow import flow, task
from otelflow.testing import FakeClock, FlowMetrics

RUNS = 'otelflow_flow_runs_total{flow="shop",result="%s"}'


@task
def charge(amount):
    return 1 / amount


@flow
def shop(amount):
    charge(amount)


def test_the_metrics_of_a_test_are_a_dict_of_what_prometheus_would_read():
    with FlowMetrics() as metrics, FakeClock():
        shop(1).execute()
        with pytest.raises(ZeroDivisionError):
            shop(0).execute()

    assert (metrics[RUNS % "success"], metrics[RUNS % "failure"], metrics[RUNS % "timeout"]) == (1, 1, 0)
    failures = {key: value for key, value in metrics.items() if key.startswith("otelflow_task_failures_total")}
    assert failures == {'otelflow_task_failures_total{error_type="ZeroDivisionError",flow="shop",task="charge"}': 1}
    assert RUNS % "success" + " 1" in repr(metrics)


def test_runs_before_and_after_do_not_count():
    shop(1).execute()
    with FlowMetrics() as metrics:
        pass
    shop(1).execute()

    assert metrics[RUNS % "success"] == 0


def test_a_metric_that_there_is_not_is_refused_and_what_was_meant_is_said():
    with FlowMetrics() as metrics:
        pass

    with pytest.raises(KeyError, match=r"no metric .*'; did you mean 'otelflow_flow_runs_total'"):
        metrics['otelflow_flow_runs_totl{flow="nightly"}']
    assert "nope" not in metrics
    assert metrics['otelflow_flow_run_duration_seconds_count{flow="nightly"}'] == 0


def test_labels_may_stand_in_any_order_and_some_of_them_mean_the_sum():
    with FlowMetrics() as metrics:
        for amount in (1, 2, 0):
            with contextlib.suppress(ZeroDivisionError):
                shop(amount).execute()

    assert metrics['otelflow_flow_runs_total{result="success", flow="shop"}'] == 2
    assert metrics['otelflow_flow_runs_total{flow="shop"}'] == metrics["otelflow_flow_runs_total"] == 3
    assert metrics['otelflow_task_runs_total{task="charge",result="failure"}'] == 1


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ('otelflow_flow_runs_total{flwo="shop"}', "otelflow_flow_runs_total has no label 'flwo'; did you mean 'flow'?"),
        ('otelflow_flow_runs_total{task="charge"}', "otelflow_flow_runs_total has no label 'task'"),
        ("otelflow_flow_runs_total{flow=shop}", "is no key: write otelflow_flow_runs_total{label="),
        ('otelflow_flow_runs_total{flow="shop"', "is no key"),
    ],
)
def test_a_key_that_could_never_be_counted_is_refused(key, words):
    with FlowMetrics() as metrics:
        shop(1).execute()

    with pytest.raises(KeyError) as refused:
        metrics[key]
    assert words in refused.value.args[0]
