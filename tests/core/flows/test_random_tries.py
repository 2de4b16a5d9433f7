"""Random programs of what can be submitted, with retries, time-outs and caches, on every runner of this machine."""

import concurrent.futures
import multiprocessing

import pytest
from hypothesis import given, settings

from otelflow.runners import InlineTaskRunner, ThreadPoolTaskRunner
from support.random_graphs import LOCAL
from support.random_tries import execute, submissions


@pytest.mark.parametrize("runner", [InlineTaskRunner(), ThreadPoolTaskRunner(1), ThreadPoolTaskRunner(4)])
@settings(LOCAL, max_examples=15)
@given(jobs=submissions())
def test_what_is_submitted_leaves_what_the_model_says(runner, jobs):
    execute(jobs, runner)


@pytest.fixture(scope="module")
def processes():
    """A pool that all examples share: to begin one for each would take most of the time."""
    pytest.importorskip("cloudpickle")  # by which functions inside of functions travel
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@settings(LOCAL, max_examples=8)
@given(jobs=submissions())
def test_what_is_submitted_to_processes_leaves_what_the_model_says(processes, jobs):
    execute(jobs, processes)
