"""What a policy is: something around the body of a flow or task."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from otelflow._core.process import losses
from otelflow._core.runs.drivers import can_be_awaited, waits_for_await
from otelflow._core.text.functions import only_sets_up, plain_function
from otelflow._core.text.safe_str import bounded_name, brief_repr

Body = Callable[..., Any]


class Policy(Protocol):
    """Something around a body; with ``takes_generators``, also around that of a generator."""

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether the keywords of the decorator ask for it."""

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, a function, with this policy around it."""

    def around_async(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Do as ``around`` for a coroutine function."""


def name_of(body: Body) -> str:
    """Return what *body* is called in an error."""
    function = plain_function(body)
    return bounded_name(getattr(function, "__name__", type(function).__name__))


def description_of(value: object) -> str:
    """Return *value* as an error shows it: a function by its name."""
    kind = "async function" if inspect.iscoroutinefunction(value) else "flow" if only_sets_up(value) else "function"
    return f"the {kind} {name_of(value)}" if inspect.isroutine(value) else brief_repr(value, 60)


def takes(function: object, count: int) -> bool:
    """Tell whether *function* is a plain function that can be called with *count* values, and does something then."""
    if not callable(function) or isinstance(function, type):
        return False
    plain: Any = plain_function(function)
    if not inspect.isroutine(plain):
        plain = getattr(type(plain), "__call__", None)  # noqa: B004 an object whose class has one
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain) or inspect.isgeneratorfunction(plain):
        return False
    if only_sets_up(plain):
        return False
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some callables written in C have no signature
        return True
    return True


def warn_of_awaitable(value: object, name: str, keyword: str) -> None:
    """Log once when the function called *name* returns *value* to be awaited, for which *keyword* comes too early."""
    if can_be_awaited(value) and waits_for_await(value):
        losses.warn_once(
            f"{keyword} {name}",
            "%r has returned something to await, for which its %s does not count: make it an 'async def'",
            name,
            keyword,
        )
