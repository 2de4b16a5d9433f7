"""Run a coroutine to its end from code that is not async."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from otelflow._core.process import losses

R = TypeVar("R")


def run_to_end(flow: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine on a loop of its own: here, or in a thread when a loop runs here already (Jupyter)."""
    import asyncio  # noqa: PLC0415 takes as long as OpenTelemetry; only async flows need it

    if not _is_loop_running(asyncio.get_running_loop):
        return asyncio.run(flow)
    losses.warn_once(
        "execute() in a running loop",
        "execute() of an async flow blocks the running event loop until the flow has ended; "
        "use 'await flow.execute_async()' instead",
    )
    return _InThread(flow, asyncio).run()


def _is_loop_running(get_running_loop: Callable[[], object]) -> bool:
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


class _InThread(Generic[R]):
    """A coroutine on a loop in a thread; whatever ends the wait for it (Ctrl-C, say) cancels it."""

    def __init__(self, flow: Coroutine[Any, Any, R], asyncio: Any) -> None:
        self._flow = flow
        self._asyncio = asyncio
        self._outcome: list[R] = []
        self._errors: list[BaseException] = []
        self._cancel: Callable[[], object] | None = None
        self._is_unwanted = False

    def run(self) -> R:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run,), name="otelflow-execute")
        thread.start()
        try:
            thread.join()
        except BaseException:
            self._is_unwanted = True
            if self._cancel is not None:
                self._cancel()
            thread.join()
            raise
        if self._errors:
            raise self._errors.pop()
        return self._outcome.pop()

    def _run(self) -> None:
        try:
            self._outcome.append(self._asyncio.run(self._main()))
        except BaseException as error:  # noqa: BLE001 it is raised again by who waits
            self._errors.append(error)

    async def _main(self) -> R:
        loop, task = self._asyncio.get_running_loop(), self._asyncio.current_task()

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel
        if self._is_unwanted:
            task.cancel()
        return await self._flow
