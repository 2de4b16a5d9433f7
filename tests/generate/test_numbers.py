"""Lengths of time, for Prometheus and for people."""

import pytest

from otelflow._core.text.durations import in_units
from otelflow.generate._numbers import promql_duration


@pytest.mark.parametrize(
    ("seconds", "prometheus", "people"),
    [
        (0.25, "250ms", "250ms"),
        (90, "90s", "1m 30s"),
        (600, "10m", "10m"),
        (5400, "90m", "1h 30m"),
        (86400, "1d", "1d"),
    ],
)
def test_lengths_of_time_are_written_for_prometheus_and_for_people(seconds, prometheus, people):
    assert (promql_duration(seconds), in_units(seconds)) == (prometheus, people)
