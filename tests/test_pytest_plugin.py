"""The fixtures that pytest has of otelflow, in sessions of their own."""

from pathlib import Path

from support.programs import run_python

PYTEST_FILE = """
from otelflow import task

@task
def leaf():
    return 1

def test_with(flow_trace):
    leaf()
    assert flow_trace.tree() == [("task leaf", "success", [])]

def test_again(flow_trace):
    assert flow_trace.tree() == []
"""


def run_pytest(folder, *options):
    plugins = ("-p", "no:cacheprovider", "-p", "otelflow.pytest_plugin")
    done = run_python("-m", "pytest", "-q", *plugins, *options, cwd=folder, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    return done.stdout + done.stderr


def test_the_plugin_gives_the_fixture(tmp_path: Path):
    (tmp_path / "test_it.py").write_text(PYTEST_FILE)

    assert "2 passed" in run_pytest(tmp_path)


def test_the_plugin_loads_nothing_heavy_into_a_session_that_does_not_use_it(tmp_path: Path):
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n"
        "    heavy = ('opentelemetry.sdk', 'otelflow.testing', 'prometheus_client', 'rich')\n"
        "    assert [name for name in heavy if name in sys.modules] == []\n"
    )

    assert "1 passed" in run_pytest(tmp_path)


def test_what_pytest_shows_of_a_test_that_fails_is_the_test(tmp_path: Path):
    (tmp_path / "test_it.py").write_text("""
def test_tree(flow_trace):
    flow_trace.assert_tree("shop")

def test_one(flow_trace):
    flow_trace.one("task a")

def test_messages(flow_trace):
    flow_trace.messages("task a")
""")

    output = run_pytest(tmp_path)
    assert "3 failed" in output
    assert "the runs are not shop" in output
    assert "otelflow/testing.py" not in output


def test_the_plugin_says_what_a_test_has_left_open_and_counts_and_sets_the_clock(tmp_path: Path):
    (tmp_path / "test_it.py").write_text("""
from otelflow import flow, task

@task
def steps():
    yield 1

@flow
def nightly(clock):
    clock.advance(60)

def test_open(flow_trace):
    global left
    left = steps()
    next(left)

def test_open_on_purpose(flow_trace):
    flow_trace.must_be_whole = False
    global left_again
    left_again = steps()
    next(left_again)

def test_counted(flow_trace, flow_metrics, flow_clock):
    assert nightly(flow_clock).execute().duration == 60
    flow_trace.assert_tree("nightly")
    assert flow_metrics['otelflow_flow_runs_total{flow="nightly",result="success"}'] == 1
""")

    output = run_pytest(tmp_path)
    assert "3 passed, 1 error" in output
    assert "ERROR test_it.py::test_open - AssertionError: 1 spans have not ended (" in output


def test_caplog_has_each_record_of_the_run_logger_once_in_every_test(tmp_path: Path):
    (tmp_path / "test_it.py").write_text("""
import logging
import pytest
from otelflow import flow, get_run_logger

@flow
def speaks():
    get_run_logger().warning("hello")
    get_run_logger().info("in detail")

@pytest.mark.parametrize("time", ["first", "second"])
def test_it(caplog, time):
    speaks().execute()
    assert caplog.messages == ["hello"]

def test_level(caplog):
    caplog.set_level(logging.INFO)
    speaks().execute()
    assert caplog.messages == ["hello", "in detail"]
""")

    assert "3 passed" in run_pytest(tmp_path)
