"""The clocks that a program puts in the place of Python's are its own: otelflow takes nothing of what they say."""

import time
from unittest import mock

import pytest

from otelflow import flow, task
from otelflow.testing import flow_trace


@task
def read_clocks():
    return time.perf_counter(), time.time_ns(), time.time(), time.monotonic()


@flow
def measure():
    print("before")
    return read_clocks(), read_clocks()


@pytest.mark.parametrize("numbers", [(1, 2), (7, 3)], ids=["forward", "backward"])
def test_what_a_patched_clock_has_to_say_is_all_for_the_program(numbers):
    with (
        mock.patch.multiple(
            time,
            perf_counter=mock.Mock(side_effect=numbers),
            time_ns=mock.Mock(side_effect=numbers),
            time=mock.Mock(side_effect=numbers),
            monotonic=mock.Mock(side_effect=numbers),
        ),
        flow_trace() as trace,
    ):
        run = measure().execute()

    assert run.flow_return_value == tuple((number,) * 4 for number in numbers)
    assert [span.attributes["otelflow.run.result"] for span in trace.spans] == ["success"] * 3
    assert all(span.start_time > 1_700_000_000_000_000_000 for span in trace.spans)


def test_a_clock_that_raises_breaks_no_run(monkeypatch):
    def broken():
        raise OSError("no clock")

    for name in ("perf_counter", "time_ns", "time", "monotonic"):
        monkeypatch.setattr(time, name, broken)

    assert flow(lambda: 3)().execute().flow_return_value == 3
