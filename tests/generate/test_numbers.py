"""Lengths of time, for Prometheus and for people."""

import pytest

from otelflow._core.text.durations import in_units
from otelflow.generate._numbers import number, percent, promql_duration


@pytest.mark.parametrize(
    ("seconds", "prometheus", "people"),
    [
        (0.25, "250ms", "250ms"),
        (10.4, "10400ms", "10s 400ms"),
        (1, "1s", "1s"),
        (60, "1m", "1m"),
        (90, "90s", "1m 30s"),
        (3_600, "1h", "1h"),
        (3_601, "3601s", "1h 1s"),
        (7_200, "2h", "2h"),
        (172_800, "2d", "2d"),
        (600, "10m", "10m"),
        (5400, "90m", "1h 30m"),
        (86400, "1d", "1d"),
    ],
)
def test_lengths_of_time_are_written_for_prometheus_and_for_people(seconds, prometheus, people):
    assert (promql_duration(seconds), in_units(seconds)) == (prometheus, people)


def test_a_length_of_time_is_never_nothing_for_prometheus():
    assert [promql_duration(seconds) for seconds in (0.0001, 0.0014, 0.0016)] == ["1ms", "1ms", "2ms"]


def test_a_number_has_no_needless_digits():
    assert [number(value) for value in (0.1 + 0.2, 90.0, 1e6)] == ["0.3", "90", "1000000"]
    assert [percent(share) for share in (0.995, 0.5, 1.0)] == ["99.5%", "50%", "100%"]
