import contextlib
import os
import time

import pytest

from otelflow import flow, task
from otelflow.errors import ConfigurationError
from otelflow.testing import FakeClock, FlowMetrics
from support.programs import run_python


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


def test_metrics_go_by_it_too():
    @flow(flow_name="night")
    def night():
        clock.advance(2)
        return metrics['otelflow_flow_oldest_run_start_timestamp_seconds{flow="night"}']

    with FakeClock(start=100) as clock, FlowMetrics() as metrics:
        oldest = night().execute().flow_return_value
        last = metrics['otelflow_flow_last_run_timestamp_seconds{flow="night",result="success"}']

    assert (oldest, last) == (100, 102)


def test_a_run_that_began_before_takes_what_the_clock_says():
    with contextlib.ExitStack() as stack:

        @flow
        def night():
            stack.enter_context(FakeClock()).advance(90)

        run = night().execute()

    assert 90 <= run.duration < 10_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_run_in_a_forked_child_ends():
    done = run_python(
        "-c",
        """if True:
        import os
        from otelflow import flow
        from otelflow.testing import FakeClock, flow_trace

        child = os.fork()
        if child:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        with FakeClock(start=0), flow_trace() as trace:
            flow(flow_name="night")(lambda: None)().execute()
        trace.assert_whole()
        print(trace, flush=True)
        os._exit(0)
        """,
    )

    assert (done.returncode, done.stdout) == (0, "flow night · success\n")


def test_it_does_not_go_back():
    with pytest.raises(ConfigurationError, match="cannot go back, -1 seconds"):
        FakeClock().advance(-1)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_what_is_no_time_is_refused(seconds):
    with pytest.raises(ConfigurationError, match=f"cannot go on, {seconds} seconds"):
        FakeClock().advance(seconds)
    with pytest.raises(ConfigurationError, match=f"FakeClock cannot begin at {seconds}"):
        FakeClock(seconds)
