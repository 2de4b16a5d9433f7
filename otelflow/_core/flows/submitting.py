"""``otelflow.submit()``: for methods, whose object ``task.submit()`` does not know."""

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, overload

from otelflow._core.flows.definition import definition_of
from otelflow._core.flows.future import Future
from otelflow._core.flows.future_calls import submit as submit_call
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import NotSubmittable

if TYPE_CHECKING:
    from otelflow._core.flows.task_types import WaitFor

R = TypeVar("R")


if TYPE_CHECKING:

    @overload
    def submit(
        function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, wait_for: "WaitFor" = (), **kwargs: Any
    ) -> Future[R]: ...
    @overload
    def submit(function: Callable[..., R], /, *args: Any, wait_for: "WaitFor" = (), **kwargs: Any) -> Future[R]: ...


def submit(function: Callable[..., Any], /, *args: Any, wait_for: Any = (), **kwargs: Any) -> Future[Any]:
    """Do as ``function.submit()``, also for a method with its object: ``submit(self.fetch, url)``.

    *wait_for* (futures) are those that must have ended well before it runs. Returns the ``Future``. Raises
    NotSubmittable for what is no task.

    >>> from otelflow import submit, task
    >>> class Shop:
    ...     @task
    ...     def price(self, fruit):
    ...         return len(fruit)
    >>> submit(Shop().price, "melon").result()
    5
    """
    inner: Any = function
    while isinstance(inner, functools.partial):
        args, kwargs, inner = (*inner.args, *args), {**inner.keywords, **kwargs}, inner.func
    definition = definition_of(inner)
    if definition is None or definition.new_run is None:
        name = getattr(inner, "__name__", None) or brief_repr(inner, 40)
        raise NotSubmittable(name, "it is no task", "decorate it with @task")
    owner = getattr(inner, "__self__", None)
    return submit_call(definition, wait_for, args if owner is None else (owner, *args), kwargs)
