"""The function behind what a user calls: behind a partial, a method of an object, and decorators."""

import functools
import inspect
from typing import Any


def plain_function(value: Any) -> Any:
    """Return the function that *value* calls with arguments of its own, or else *value* itself."""
    while isinstance(value, functools.partial):
        value = value.func
    return getattr(value, "__func__", value)


def written_function(value: Any) -> Any:
    """Return the function that stands in the source, whatever decorators and partials have made of it."""
    return inspect.unwrap(plain_function(inspect.unwrap(value)))
