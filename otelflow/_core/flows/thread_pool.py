"""A pool of threads whose work belongs to the flow that submits it, and a hint for those of other pools."""

import contextvars
import functools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor as StandardPool
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from opentelemetry import trace

from otelflow._core.process import losses
from otelflow._core.runs import open_runs
from otelflow._core.runs.run import Run

if TYPE_CHECKING:
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPoolExecutor(StandardPool):
    """``concurrent.futures.ThreadPoolExecutor`` whose threads work in the context of each ``submit()`` and ``map()``.

    Tasks that run in it belong to the flow that submitted them, and spans have the right parent; a context variable has
    the value that it had there. Takes what the standard one takes, and raises what it raises.

    >>> from otelflow import ThreadPoolExecutor, flow, task
    >>> @task
    ... def double(number):
    ...     return 2 * number
    >>> @flow
    ... def double_all(numbers):
    ...     with ThreadPoolExecutor(max_workers=4) as pool:
    ...         return list(pool.map(double, numbers))
    >>> double_all([1, 2, 3]).execute().flow_return_value
    [2, 4, 6]
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Do as the standard ``submit()``, in the context of this call. Returns the ``Future``.

        >>> with ThreadPoolExecutor() as pool:
        ...     pool.submit(pow, 2, 10).result()
        1024
        """
        context = contextvars.copy_context()
        return super().submit(functools.partial(context.run, fn, *args, **kwargs))


def run_of_span() -> Run | None:
    """Return the open run whose span is current here, where OpenTelemetry's context alone was brought along.

    Its instrumentation of threads does that, and so does who attaches a context: no other variable comes with it.
    """
    span = trace.get_current_span()
    if span is trace.INVALID_SPAN:
        return None
    return next((run for run in open_runs.open_runs() if run.span is span), None)


def warn_if_in_pool(task_name: str) -> None:
    """Log once per process that a task of a plain pool has lost its flow: it runs outside any, and a flow is open."""
    # The pool's own register of threads comes too late for the first piece of work.
    work = getattr(sys.modules.get("concurrent.futures.thread"), "_worker", None)
    thread = threading.current_thread()
    is_of_pool = work is not None and getattr(thread, "_target", None) is work
    flow_name = next((run.flow_name for run in open_runs.open_runs() if run.flow_name is not None), None)
    if is_of_pool and flow_name is not None:
        losses.warn_once(
            "task in a pool",
            "Task %r ran in the pool's thread %s outside any flow, while flow %r is open: a trace of its own; "
            "otelflow.ThreadPoolExecutor (or contextvars.copy_context().run) takes the flow along",
            task_name,
            thread.name,
            flow_name,
        )
