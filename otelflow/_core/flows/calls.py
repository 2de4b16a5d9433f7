"""What ``@flow`` puts in the place of a function.

Alone in a module: dill pickles such a function together with all names of the module that it was written in.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

V = TypeVar("V")

NewFlow = Callable[[tuple[Any, ...], dict[str, Any], FrameType], V]


def caller() -> FrameType:
    """Return the frame that has called the function that asks, or that of the function if C has called it."""
    frame = sys._getframe(1)  # noqa: SLF001 a traceback would cost 100 times as much
    return frame.f_back or frame


def call_of(new_flow: NewFlow[V]) -> Callable[..., V]:
    """Return a function that gives *new_flow* its arguments, and the frame of its caller."""

    def call(*args: Any, **kwargs: Any) -> V:
        try:
            frame = sys._getframe(1)  # noqa: SLF001 as above
        except ValueError:  # it is called from C: by atexit, or as what a thread runs
            frame = sys._getframe()  # noqa: SLF001
        return new_flow(args, kwargs, frame)

    return call
