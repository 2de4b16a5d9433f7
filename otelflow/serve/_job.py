"""One run of a schedule, on a thread of its own, which can be told to cancel it."""

import asyncio
import contextlib
import ctypes
import inspect
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from otelflow import Flow
from otelflow._core.flows.future_owners import give_up_where
from otelflow._core.process import forks
from otelflow.serve._occasion import Occasion, current


class Cancelled(KeyboardInterrupt):
    """The serving has ended before the run did."""


class Job:
    """Executes what *make* returns; *done* is called on its thread at the end, whatever came of it."""

    def __init__(self, make: Callable[[], Any], occasion: Occasion, done: "Callable[[Job], None]") -> None:
        self._make, self._done = make, done
        self.occasion = occasion
        self.result = ""
        self.error: BaseException | None = None
        self.seconds = 0.0
        self._lock = forks.new_lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_in_flow = False
        # Not waited for by the interpreter: a run that waits in C cannot be told to end.
        self._thread = threading.Thread(target=self.run, name=f"otelflow-serve-{occasion.schedule}", daemon=True)

    def start(self) -> None:
        """Begin, without a wait."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait *seconds* at most, and tell whether it has ended."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Raise a cancellation in the flow, at its next step of Python or in its task; give up what it submitted."""
        with self._lock:
            if self._is_in_flow and self._loop is not None and self._task is not None:
                with contextlib.suppress(RuntimeError):  # its loop has just ended
                    self._loop.call_soon_threadsafe(self._task.cancel)
            elif self._is_in_flow and self._thread.ident is not None:
                thread = ctypes.c_ulong(self._thread.ident)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(Cancelled))
        give_up_where(current, self.occasion)

    def run(self) -> None:
        current.set(self.occasion)
        began = time.perf_counter()
        flow: Any = None
        try:
            try:
                self._is_in_flow = True
                flow = self._make()
                self.execute(flow)
            finally:
                with self._lock:
                    self._is_in_flow = False
        except BaseException as error:  # noqa: BLE001 whatever a flow raises, SystemExit too, the serving goes on
            self.error = error
        self.seconds = time.perf_counter() - began
        self.result = "success" if self.error is None else "failure"
        if isinstance(flow, Flow):
            self.result = flow.flow_state.status or self.result
            self.error = self.error or flow.flow_error
        current.set(None)
        self._done(self)

    def execute(self, flow: Any) -> None:
        if inspect.isawaitable(flow) and not isinstance(flow, Flow):  # of a flow that runs when it is called
            asyncio.run(self.awaited(flow))
            return
        value: Any = flow
        if isinstance(flow, Flow):
            if inspect.iscoroutinefunction(flow.flow_target):
                asyncio.run(self.awaited(flow.execute_async()))
                return
            _ = flow.execute()
            value = flow.flow_return_value
        if inspect.isgenerator(value):  # its run is its steps
            for _ in value:
                pass
        elif inspect.isasyncgen(value):
            asyncio.run(self.awaited(_exhaust(value)))

    async def awaited(self, value: Awaitable[Any]) -> None:
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            await value
        finally:
            with self._lock:
                self._loop = self._task = None


async def _exhaust(steps: AsyncIterator[Any]) -> None:
    async for _ in steps:
        pass
