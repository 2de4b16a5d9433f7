"""The runners of this process."""

import threading

import pytest

from otelflow import flow, task
from otelflow.errors import ConfigurationError
from otelflow.runners import InlineTaskRunner, ThreadPoolTaskRunner


@pytest.mark.parametrize(
    ("runner", "most"), [(InlineTaskRunner(), 1), (ThreadPoolTaskRunner(1), 1), (ThreadPoolTaskRunner(3), 3)]
)
def test_no_more_threads_work_than_were_asked_for(runner, most):
    @flow(task_runner=runner)
    def maps():
        return len(set(task(lambda _: threading.get_ident(), task_name="thread").map(range(30)).result()))

    assert maps().execute().flow_return_value <= most


@pytest.mark.parametrize("number", [0, -1, 1.5, "4", True])
def test_a_number_of_threads_that_cannot_be_is_refused(number):
    with pytest.raises(ConfigurationError, match="ThreadPoolTaskRunner: max_workers must be a whole number from 1 on"):
        ThreadPoolTaskRunner(number)
