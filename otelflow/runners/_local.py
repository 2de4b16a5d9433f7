"""The runners of this process, for those who want to say more than a word."""

from typing import Any

from otelflow._core.flows.future_runners import Inline, Threads
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError


def checked_workers(owner: str, number: Any) -> int | None:
    """Return *number*. Raises ConfigurationError unless so many workers can be had."""
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
        raise ConfigurationError(f"{owner}: max_workers must be a whole number from 1 on, not {brief_repr(number, 60)}")
    return number


class InlineTaskRunner:
    """Runs each submitted task at once, before ``submit()`` returns: for tests, and to look for a fault.

    >>> from otelflow import flow, task
    >>> from otelflow.runners import InlineTaskRunner
    >>> @flow(task_runner=InlineTaskRunner())
    ... def lengths(words):
    ...     return task(len).map(words).result()
    >>> lengths(["a", "bc"]).execute().flow_return_value
    [1, 2]
    """

    def new_runner(self) -> Inline:
        """Return what runs the tasks of one flow run; a flow calls it."""
        return Inline()


class ThreadPoolTaskRunner:
    """Runs submitted tasks in threads.

    *max_workers* (int): how many; as many as ``concurrent.futures.ThreadPoolExecutor`` has unless given. A task that
    waits for tasks of its own needs no more. Raises ConfigurationError for what is no such number.

    >>> from otelflow import flow, task
    >>> from otelflow.runners import ThreadPoolTaskRunner
    >>> @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    ... def lengths(words):
    ...     return task(len).map(words).result()
    >>> lengths(["a", "bc"]).execute().flow_return_value
    [1, 2]
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = checked_workers(type(self).__name__, max_workers)

    def new_runner(self) -> Threads:
        """Return what runs the tasks of one flow run; a flow calls it."""
        return Threads(max_workers=self.max_workers)
