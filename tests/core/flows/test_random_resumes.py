"""Random programs that are resumed until they end well, on every runner of this machine: what is done stays done."""

import pytest
from hypothesis import given, settings

from support.random_graphs import LOCAL, LOCAL_RUNNERS, examples
from support.random_resumes import execute, programs

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # which is asked for


@pytest.mark.parametrize("runner", LOCAL_RUNNERS)
@settings(LOCAL, max_examples=examples(20))
@given(steps=programs())
def test_a_flow_that_is_resumed_runs_again_what_the_model_says(runner, steps):
    execute(steps, runner)


@settings(LOCAL, max_examples=examples(8))
@given(steps=programs())
def test_a_flow_that_is_resumed_in_processes_runs_again_what_the_model_says(processes, steps):
    execute(steps, processes)
