"""Which event loop runs here: asyncio's or trio's, whose own ways to wait and to stop are used."""

import contextvars
import functools
import sys
from collections.abc import Callable
from typing import Any

from otelflow._core.process.asyncio_loop import running_loop


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
