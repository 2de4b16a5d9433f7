"""What pytest gives a test that asks for it by name; loaded by pytest in every session, so it imports late."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelflow.testing import FakeClock, FlowMetrics, Trace

__all__ = ["flow_clock", "flow_metrics", "flow_trace"]


@pytest.fixture
def flow_trace() -> "Iterator[Trace]":
    """Collect the spans of every run of the test: ``flow_trace.assert_tree("shop > charge[x3]")``.

    The test fails when a span has not ended with it, or telemetry was lost, unless it sets ``must_be_whole`` to False.
    """
    from otelflow import testing  # noqa: PLC0415 the SDK is for tests that ask for it

    with testing.flow_trace() as trace:
        yield trace
    if trace.must_be_whole:
        trace.assert_whole()


@pytest.fixture
def flow_metrics() -> "Iterator[FlowMetrics]":
    """Count the runs of the test: ``flow_metrics['otelflow_flow_runs_total{flow="shop",result="success"}'] == 1``."""
    from otelflow import testing  # noqa: PLC0415 as above

    with testing.FlowMetrics() as metrics:
        yield metrics


@pytest.fixture
def flow_clock() -> "Iterator[FakeClock]":
    """Let time stand still for the runs of the test, until ``flow_clock.advance(seconds)``."""
    from otelflow import testing  # noqa: PLC0415 as above

    with testing.FakeClock() as clock:
        yield clock
