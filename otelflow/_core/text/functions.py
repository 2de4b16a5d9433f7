"""The function behind what a user calls: behind a partial, a method of an object, and decorators."""

import functools
import inspect
from typing import Any


def plain_function(value: Any) -> Any:
    """Return the function that *value* calls with arguments of its own, or else *value* itself."""
    while isinstance(value, functools.partial):
        value = value.func
    function = getattr(value, "__func__", value)
    return value if type(function) is type(value) else function  # it answers whatever it is asked for


def written_function(value: Any) -> Any:
    """Return the function that stands in the source, whatever decorators and partials have made of it."""
    return inspect.unwrap(plain_function(inspect.unwrap(value)))


def only_sets_up(function: Any) -> bool:
    """Tell whether a call of *function* sets up a flow and runs nothing: it would have to be executed."""
    options = getattr(getattr(function, "__otelflow_definition__", None), "options", {})
    return getattr(function, "__otelflow__", "") == "flow" and not options.get("execute_on_call")
