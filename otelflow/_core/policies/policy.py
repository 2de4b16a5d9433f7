"""What a policy is: something around the body of a flow or task."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

Body = Callable[..., Any]


class Policy(Protocol):
    """Something around a body."""

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether the keywords of the decorator ask for it."""

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, a function, with this policy around it."""

    def around_async(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Do as ``around`` for a coroutine function."""
