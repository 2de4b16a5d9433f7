"""Deliver at the end of servers that leave their process no time for it.

uvicorn ends well when a signal comes, and then raises the signal again for whatever handled it before. As a rule
nothing did, and the process is over, without Python's exit functions. A handler of ours would be seen by the program,
whose signals are its own; the end of the server is as good a moment.
"""

import asyncio
import contextlib
import functools
import signal
import threading
import types
from typing import Any, Final

from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from otelflow.instrument._import_hook import ImportHook
from otelflow.instrument._instrumented import functions

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
    async def shutdown(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await end(self, *args, **kwargs)
        finally:
            if not await _deliver() and signal.SIGTERM in getattr(self, "_captured_signals", ()) and functions():
                _tell_what_waits()

    server.shutdown = shutdown


def _tell_what_waits() -> None:
    """Say what has become of everything: the exit functions that would say so are not called."""
    from otelflow import configure  # noqa: PLC0415 the SDK takes long

    words = ""
    with contextlib.suppress(ConfigurationError):  # which was told
        words = "; ".join(str(account) for account in configure().ledger if account.waiting or account.lost)
    if words:
        losses.warn_once(
            "server",
            "uvicorn ends, and not everything has arrived (what waits in a spool, the next process sends): %s",
            words,
        )


async def _deliver() -> bool:
    """Deliver what waits, with a limit, and let the event loop go on meanwhile; tell whether that was all."""
    from otelflow import force_flush  # noqa: PLC0415 the SDK takes long

    loop, has_ended, outcomes = asyncio.get_running_loop(), asyncio.Event(), list[bool]()

    def deliver() -> None:
        outcomes.append(force_flush(round(_LONGEST_SECONDS * 1_000)))
        with contextlib.suppress(RuntimeError):  # the loop waits no more, and is closed
            loop.call_soon_threadsafe(has_ended.set)

    # No thread of the loop's: at its end it would wait for one whose collector is silent. If there is none to be had,
    # the next process sends what waits; nor does a loop wait that is cancelled.
    with contextlib.suppress(RuntimeError, TimeoutError):
        threading.Thread(target=deliver, name="otelflow-deliver", daemon=True).start()
        async with asyncio.timeout(_LONGEST_SECONDS):
            await has_ended.wait()
    return outcomes == [True]
