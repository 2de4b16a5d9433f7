"""The clocks that a program puts in the place of Python's are its own: otelflow takes nothing of what they say."""

import re
import time
from unittest import mock

import pytest

from otelflow import flow, task
from otelflow.testing import flow_trace
from otelflow_exporters import StoredTraces
from support.programs import python
from support.receivers import OtlpReceiver


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


PROGRAM = """
import logging, sys, time
from datetime import datetime
from unittest import mock

import otelflow
from otelflow import flow, task

@task
def at(moment):
    logging.getLogger("shop").warning("a record")
    print("a line")
    return time.time(), datetime.now().year, time.monotonic()

@flow
def shopping():
    return at(0), at(1)

otelflow.configure(service_name="shop", store="traces", metrics="textfile:numbers.prom", capture_loggers=["shop"])
{clock}
with patched:
    assert shopping().execute().flow_return_value == {value}
    otelflow.force_flush()
"""
FREEZE = "import freezegun; patched = freezegun.freeze_time('2020-01-01')"
PATCH = """
class Datetime(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2020, 1, 1, tzinfo=tz)

datetime = Datetime
still = dict(time=lambda: 1577836800.0, time_ns=lambda: 1577836800 * 10**9, monotonic=lambda: 5.0)
patched = mock.patch.multiple(time, **still)
"""


@pytest.mark.parametrize(
    ("patch", "monotonic"), [(FREEZE, 1577836800.0), (PATCH, 5.0)], ids=["freezegun", "unittest.mock"]
)
def test_telemetry_goes_by_the_true_time_while_that_of_the_program_stands_still(tmp_path, patch, monotonic):
    if patch is FREEZE:
        pytest.importorskip("freezegun", reason="not installed: pip install 'otelflow[hosts]'")
    before = time.time_ns()
    with OtlpReceiver() as receiver:
        program = PROGRAM.format(clock=patch, value=((1577836800.0, 2020, monotonic),) * 2)
        done = python(
            program, cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTELFLOW_SPOOL_DIR=tmp_path / "spool"
        )
    after = time.time_ns()

    assert (done.returncode, done.stderr) == (0, "a record\n" * 2)
    (summary,) = StoredTraces(tmp_path / "traces").summaries()
    assert (summary.span_count, before < summary.start <= summary.end < after) == (3, True)
    assert len(receiver.spans) == 3
    for span in receiver.spans:
        assert before < span.start_time_unix_nano <= span.end_time_unix_nano < after
        assert all(before < event.time_unix_nano < after for event in span.events)
    (segment,) = (file.name for file in (tmp_path / "traces").glob("*.otlp"))
    assert not segment.startswith("2020")
    numbers = (tmp_path / "numbers.prom").read_text()
    last_run = re.search(r"^otelflow_flow_last_run_timestamp_seconds{.*} (.*)$", numbers, re.MULTILINE)
    assert before / 1e9 - 1 < float(last_run.group(1)) < after / 1e9 + 1
