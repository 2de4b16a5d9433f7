"""Run a coroutine to its end from code that is not async."""

import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from otelflow._core import ledger

R = TypeVar("R")


def run_to_end(flow: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine on a loop of its own: here, or in a thread when a loop runs here already (Jupyter)."""
    import asyncio  # noqa: PLC0415 takes as long as OpenTelemetry; only async flows need it

    if not _is_loop_running(asyncio.get_running_loop):
        return asyncio.run(flow)
    ledger.warn_once(
        "execute() in a running loop",
        "execute() of an async flow blocks the running event loop until the flow has ended; "
        "use 'await flow.execute_async()' instead",
    )
    return _in_thread(functools.partial(contextvars.copy_context().run, asyncio.run, flow))


def _is_loop_running(get_running_loop: Callable[[], object]) -> bool:
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(call: Callable[[], R]) -> R:
    outcome: list[R] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001 it is raised again by who waits
            errors.append(error)

    thread = threading.Thread(target=body, name="otelflow-execute")
    thread.start()
    thread.join()
    if errors:
        raise errors.pop()
    return outcome.pop()
