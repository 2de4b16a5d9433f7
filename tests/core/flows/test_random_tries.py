"""Random programs of what can be submitted, with all policies, on every runner of this machine."""

import pytest
from hypothesis import given, settings

from otelflow.runners import ProcessPoolTaskRunner
from support.random_graphs import LOCAL, LOCAL_RUNNERS, examples
from support.random_submissions import execute, submissions

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # which is asked for


@pytest.mark.parametrize("runner", LOCAL_RUNNERS)
@settings(LOCAL, max_examples=examples(15))
@given(jobs=submissions())
def test_what_is_submitted_leaves_what_the_model_says(runner, jobs):
    execute(jobs, runner)


@settings(LOCAL, max_examples=examples(8))
@given(jobs=submissions())
def test_what_is_submitted_to_processes_leaves_what_the_model_says(processes, jobs):
    execute(jobs, processes)


@settings(LOCAL, max_examples=examples(3))
@given(jobs=submissions())
def test_what_is_submitted_to_processes_of_its_own_leaves_what_the_model_says(own_processes, jobs):
    execute(jobs, own_processes)


@pytest.fixture(params=["loky", "spawn", "fork"])
def own_processes(request, one_state):
    """A runner that begins processes for each flow run."""
    pytest.importorskip("cloudpickle")
    if request.param == "loky":
        pytest.importorskip("loky")
        return ProcessPoolTaskRunner(2)
    return ProcessPoolTaskRunner(2, request.param)
