"""What runs here, a loop of asyncio or trio or a submitted task, and how to wait in it and hear that it is to stop."""

import contextvars
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from otelflow._core.process.asyncio_loop import running_loop


class SubmittedHere(Protocol):
    """The submitted task that runs here."""

    @property
    def is_cancel_asked(self) -> bool:
        """Whether it was cancelled meanwhile, which ends nothing that runs in a thread or a process."""


#: What was submitted and runs here
submitted_here: Final = contextvars.ContextVar[SubmittedHere | None]("otelflow_submitted_here", default=None)
# How often a submitted task that waits looks whether it was cancelled
_LOOK_SECONDS: Final = 0.2


def pauses(seconds: float) -> Iterator[float]:
    """Yield the pieces in which to wait *seconds*. Raises CancelledError if the submitted task here is cancelled."""
    call = submitted_here.get()
    if call is None:
        yield seconds
        return
    left = seconds
    while not call.is_cancel_asked:
        yield min(left, _LOOK_SECONDS)
        left -= _LOOK_SECONDS
        if left <= 0:
            return
    from concurrent.futures import CancelledError  # noqa: PLC0415 there are futures, so it is there

    raise CancelledError("it was cancelled while it waited")


def pause_before_look(seconds: float) -> float:
    """Return how long to wait before the next look at what is waited for, *seconds* at most; raises as ``pauses``."""
    return next(pauses(seconds))


def running_trio() -> Any:
    """Return the module trio if its loop runs this, or None."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


async def sleep(seconds: float) -> None:
    """Wait on the loop that runs here."""
    trio = running_trio()
    if trio is not None:
        await trio.sleep(seconds)
        return
    import asyncio  # noqa: PLC0415 its loop runs, so it is there

    await asyncio.sleep(seconds)


def in_asyncio() -> bool:
    """Tell whether a loop of asyncio runs here."""
    return running_loop() is not None


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Return what *function* returns, called in a thread, so that the loop goes on that runs here."""
    trio = running_trio()
    if trio is not None:
        with trio.CancelScope(shield=True):  # it could not be told to end
            return await trio.to_thread.run_sync(functools.partial(function, *args))
    if not in_asyncio():
        return function(*args)
    import asyncio  # noqa: PLC0415 as above

    call = functools.partial(contextvars.copy_context().run, function, *args)
    try:
        answer = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:  # there is no thread to be had, or none any more
        return function(*args)
    return await answer
