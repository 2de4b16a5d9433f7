import pytest

from otelflow import metrics
from otelflow._core.runs import observers
from otelflow.metrics._counts import Aggregator
from support.metrics import Counted
from support.receivers import Receiver


@pytest.fixture
def counted():
    """What is counted from now on."""
    aggregator = Aggregator()
    observers.add_observer(aggregator)
    yield Counted(aggregator)
    observers.remove_observer(aggregator)


@pytest.fixture
def use():
    """Choose an output for the time of the test."""
    yield metrics.use
    if metrics.in_use() is not None:
        metrics.in_use().shutdown()


@pytest.fixture
def receiver():
    """A server that takes what is pushed and exported."""
    with Receiver() as receiver:
        yield receiver
