"""The warning of a flow that was set up and never run: at its line, once for each place."""

import asyncio
import gc
import linecache
import pickle
import subprocess
import sys
import warnings

import pytest

from otelflow import Flow, flow, task
from otelflow._core.flows.never_run import SetUp
from otelflow._core.runs.drivers import _CloseWhenDropped


@task
def double(number):
    return 2 * number


@flow
def nightly(number=1):
    return double(number)


@pytest.fixture
def warned():
    """The texts of the warnings from here on, each shown as often as Python would."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield lambda: [str(warning.message) for warning in caught]


def test_a_flow_that_is_called_and_never_run_is_a_warning_at_the_line_of_the_call(warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        nightly()
        gc.collect()

    (warning,) = caught
    assert (warning.category, warning.filename) == (RuntimeWarning, __file__)
    assert open(__file__).read().splitlines()[warning.lineno - 1].strip() == "nightly()"  # noqa: PTH123, SIM115
    assert "flow 'nightly'" in str(warning.message)
    assert f"{__file__}:{warning.lineno}" in str(warning.message)
    assert ".execute()" in str(warning.message)


def test_a_flow_that_something_of_ours_has_called_is_a_warning_at_the_line_of_the_program():
    @flow(on_completion=[nightly])
    def with_a_hook():
        pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with_a_hook().execute()
        gc.collect()

    (warning,) = caught
    assert warning.filename == __file__
    assert linecache.getline(__file__, warning.lineno).strip() == "with_a_hook().execute()"


def test_a_name_of_any_length_makes_a_short_warning(warned):
    flow(flow_name="n" * 1_000_000)(len)()

    (text,) = warned()
    assert len(text) < 1_000


def test_the_line_is_that_of_the_call_also_in_a_statement_of_several_lines(warned):
    line = sys._getframe().f_lineno
    [
        nightly(),
        nightly(
            number=3,
        ),
    ].clear()

    lines = [text.partition(":")[2].partition(",")[0] for text in warned()]
    assert sorted(lines) == [str(line + 2), str(line + 3)]


def test_one_place_is_told_once_and_each_place_is_told(warned):
    for _ in range(5):
        nightly()
    Flow().setup(double, 1)
    Flow().set_flow_target(double, 1)

    assert len(warned()) == 3


def test_a_flow_that_ran_or_was_never_set_up_or_is_a_block_or_went_elsewhere_is_no_warning(warned):
    class Bare(Flow):
        def main(self):
            return 1

    Bare()
    Flow()
    nightly().execute()
    with Flow() as around:
        _ = around.setup(pow, 2, 3)
    with nightly():
        double(1)
    pickle.dumps(nightly())

    async def generate():
        return await nightly()

    asyncio.run(generate())

    @flow
    def numbers():
        yield 1

    assert list(numbers().execute().flow_return_value) == [1]
    assert warned() == []


def test_the_value_of_a_flow_that_never_ran_says_so_once(warned):
    run = nightly()

    assert (run.flow_return_value, run.flow_return_value) == (None, None)
    del run
    assert len(warned()) == 1
    assert "so there is no flow_return_value" in warned()[0]


@pytest.mark.parametrize("options", [[], ["-W", "error"]])
def test_a_program_runs_on_and_its_end_is_silent(tmp_path, options):
    program = "from otelflow import flow\n@flow\ndef job(): return 1\njob()\nkept = job()\nprint('end')\n"

    (tmp_path / "job.py").write_text(program)
    command = [sys.executable, *options, str(tmp_path / "job.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (0, "end\n")
    assert done.stderr.count("was never run") == 1
    assert "job.py:4" in done.stderr


@pytest.mark.parametrize("kind", [SetUp, _CloseWhenDropped])
def test_what_a_ctrl_c_leaves_half_made_is_dropped_without_a_word(kind, recwarn, monkeypatch):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    kind.__new__(kind)
    gc.collect()

    assert (ignored, list(recwarn)) == ([], [])
