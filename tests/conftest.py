import pytest

from otelflow import testing


@pytest.fixture
def spans():
    """What the runs of the test leave in a trace, collected by the double that ships with the product."""
    with testing.flow_trace() as trace:
        yield trace
