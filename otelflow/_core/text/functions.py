"""The function behind what a user calls: behind a partial, and behind a method of an object."""

import functools
from typing import Any


def plain_function(value: Any) -> Any:
    """Return the function that *value* calls with arguments of its own, or else *value* itself."""
    while isinstance(value, functools.partial):
        value = value.func
    return getattr(value, "__func__", value)
