"""The numbers stand in a registry of the application."""

import pytest
from prometheus_client import CollectorRegistry, Counter

from otelflow import flow, semconv
from otelflow.errors import ConfigurationError
from support.metrics import python


@flow
def counted_flow():
    return 1


def test_a_given_registry_shows_the_metrics_beside_those_of_the_application(use):
    registry = CollectorRegistry()
    chosen = use(registry)

    counted_flow().execute()

    labels = {"flow": "counted_flow", "result": "success"}
    assert registry.get_sample_value(semconv.FLOW_RUNS, labels) == 1
    chosen.shutdown()
    assert registry.get_sample_value(semconv.FLOW_RUNS, labels) is None
    counted_flow().execute()  # is not counted any more, and does no harm


def test_registry_is_the_one_of_prometheus_client_and_the_same_choice_twice_is_one(use):
    done = python(
        """
        first, second = metrics.use('registry'), metrics.use('registry')
        order().execute()
        import prometheus_client
        print(first is second, prometheus_client.REGISTRY.get_sample_value(
            'otelflow_flow_runs_total', {'flow': 'order', 'result': 'success'}))
        """
    )

    assert (done.stdout, done.stderr) == ("True 1\n", "")


def test_a_registry_that_has_such_metrics_already_is_refused(use):
    registry = CollectorRegistry()
    Counter(semconv.FLOW_RUNS, "", registry=registry)

    with pytest.raises(ConfigurationError, match=r"has a metric of that name already.*otelflow_flow_runs"):
        use(registry)
