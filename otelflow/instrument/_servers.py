"""Deliver at the end of servers that leave their process no time for it.

uvicorn ends well when a signal comes, and then raises the signal again for whatever handled it before. As a rule
nothing did, and the process is over, without Python's exit functions. A handler of ours would be seen by the program,
whose signals are its own; the end of the server is as good a moment.
"""

import asyncio
import contextlib
import functools
import threading
import types
from typing import Any, Final

from otelflow.instrument._import_hook import ImportHook

_SERVER: Final = "uvicorn.server"
#: How long the end of a server waits
_LONGEST_SECONDS: Final = 5.0


def deliver_after_servers() -> None:
    """Let each server of uvicorn in this process deliver what waits when it has ended."""
    ImportHook(_SERVER.__eq__, deliver_after_shutdown)


def deliver_after_shutdown(module: types.ModuleType) -> None:
    """Let ``Server.shutdown()`` of *module* deliver at its end; a module that has none is left as it is."""
    server = getattr(module, "Server", None)
    end: Any = getattr(server, "shutdown", None)
    if server is None or not asyncio.iscoroutinefunction(end):
        return

    @functools.wraps(end)
    async def shutdown(*args: Any, **kwargs: Any) -> Any:
        try:
            return await end(*args, **kwargs)
        finally:
            await _deliver()

    server.shutdown = shutdown


async def _deliver() -> None:
    """Deliver what waits, with a limit, and let the event loop go on meanwhile."""
    from otelflow import force_flush  # noqa: PLC0415 the SDK takes long

    loop, is_delivered = asyncio.get_running_loop(), asyncio.Event()

    def deliver() -> None:
        force_flush(round(_LONGEST_SECONDS * 1_000))
        with contextlib.suppress(RuntimeError):  # the loop waits no more, and is closed
            loop.call_soon_threadsafe(is_delivered.set)

    # No thread of the loop's: at its end it would wait for one whose collector is silent. If there is none to be had,
    # the next process sends what waits; nor does a loop wait that is cancelled.
    with contextlib.suppress(RuntimeError, TimeoutError):
        threading.Thread(target=deliver, name="otelflow-deliver", daemon=True).start()
        async with asyncio.timeout(_LONGEST_SECONDS):
            await is_delivered.wait()
