"""What pytest gives a test that asks for it by name; loaded by pytest in every session, so it imports late."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelflow.testing import Trace

__all__ = ["flow_trace"]


@pytest.fixture
def flow_trace() -> "Iterator[Trace]":
    """Collect the spans of every run of the test: ``flow_trace.one("task divide")``, ``flow_trace.tree()``."""
    from otelflow import testing  # noqa: PLC0415 the SDK is for tests that ask for it

    with testing.flow_trace() as trace:
        yield trace
