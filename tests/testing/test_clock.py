import time

import pytest

from otelflow import flow, task
from otelflow.errors import ConfigurationError
from otelflow.testing import FakeClock


def test_runs_take_as_long_as_the_clock_says(spans):
    with FakeClock(start=100) as clock:

        @task
        def wait():
            clock.advance(1.5)

        @flow
        def night(this_flow):
            wait()
            this_flow.log_info("half an hour later")
            clock.advance(1_800)

        run = night().execute()

    span = spans.one("flow night")
    assert (span.start_time, span.end_time) == (100_000_000_000, 1_901_500_000_000)
    assert spans.one("task wait").end_time == 101_500_000_000
    assert (run.duration, span.events[0].timestamp) == (1_801.5, 101_500_000_000)


def test_the_clock_of_the_program_goes_on_and_comes_back(spans):
    with FakeClock():
        now = time.time()
    assert now > 1_500_000_000

    flow(flow_name="now")(lambda: None)().execute()

    assert abs(spans.one("flow now").start_time - time.time_ns()) < 60_000_000_000


def test_it_does_not_go_back():
    with pytest.raises(ConfigurationError, match="cannot go back, -1 seconds"):
        FakeClock().advance(-1)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_what_is_no_time_is_refused(seconds):
    with pytest.raises(ConfigurationError, match=f"cannot go on, {seconds} seconds"):
        FakeClock().advance(seconds)
    with pytest.raises(ConfigurationError, match=f"FakeClock cannot begin at {seconds}"):
        FakeClock(seconds)
