"""Random programs that are resumed until they end well, on every runner of this machine: what is done stays done."""

import concurrent.futures
import multiprocessing

import pytest
from hypothesis import given, settings

from otelflow.runners import InlineTaskRunner, ThreadPoolTaskRunner
from support.random_graphs import LOCAL
from support.random_resumes import execute, programs


@pytest.mark.parametrize("runner", [InlineTaskRunner(), ThreadPoolTaskRunner(1), ThreadPoolTaskRunner(4)])
@settings(LOCAL, max_examples=20)
@given(steps=programs())
def test_a_flow_that_is_resumed_runs_again_what_the_model_says(runner, steps):
    execute(steps, runner)


@pytest.fixture(scope="module")
def processes():
    """A pool that all examples share: to begin one for each would take most of the time."""
    pytest.importorskip("cloudpickle")  # by which functions inside of functions travel
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@settings(LOCAL, max_examples=8)
@given(steps=programs())
def test_a_flow_that_is_resumed_in_processes_runs_again_what_the_model_says(processes, steps):
    execute(steps, processes)
