"""The loop of asyncio that an async flow has for itself when `execute()` runs it: here, or in a thread."""

import contextlib
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from otelflow._core.process.losses import warn_once  # not the module: dill would copy it
from otelflow._core.runs.current import unclosed_inside
from otelflow._core.runs.endings import UNCLOSED
from otelflow._core.runs.engine import close_run
from otelflow._core.runs.run import Run


class OwnLoop:
    """A loop for one awaitable: here, or in a thread when a loop runs here already (Jupyter).

    ``run()`` returns what the awaitable gives; ``wait_for_submitted()`` and ``close()`` must follow.
    """

    # A variable and no method: a method would be one more frame in each traceback.
    run: Callable[[], Any]

    def __init__(self, awaitable: Awaitable[Any], run: Run) -> None:
        import asyncio  # noqa: PLC0415 takes as long as OpenTelemetry; only async flows need it

        self._context = contextvars.copy_context()
        coroutine = awaitable if asyncio.iscoroutine(awaitable) else _coroutine_of(awaitable)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._runner: Any = asyncio.Runner()
            self.run = functools.partial(self._runner.run, coroutine, context=self._context)
            return
        warn_once(
            "execute() in a running loop",
            "execute() of an async flow blocks the running event loop until the flow has ended; "
            "use 'await flow.execute_async()' instead",
        )
        self._runner = None  # that of the thread closes its own loop
        self.run = _InThread(asyncio.Runner(), _with_session(coroutine, run), self._context).run

    def wait_for_submitted(self, run: Run) -> None:
        """Wait for what was submitted in *run*, on its loop."""
        if run.session.loop_tasks:  # none in a thread, where the loop is closed
            self._runner.run(run.session.end_async(), context=self._context)

    def close(self, run: Run) -> None:
        """Close the loop, and what was left open of *run*'s inside: it is current in the context of the loop only."""
        if self._runner is not None:
            self._runner.close()
        for inner in self._context.copy().run(unclosed_inside, run):
            close_run(inner, UNCLOSED)


async def _coroutine_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _with_session(awaitable: Awaitable[Any], run: Run) -> Any:
    value = await awaitable
    if run.session is not None:
        await run.session.end_async()
    return value


class _InThread:
    """A coroutine on a loop in a thread; whatever ends the wait for it (Ctrl-C, say) cancels it."""

    def __init__(self, runner: Any, flow: Coroutine[Any, Any, Any], context: contextvars.Context) -> None:
        self._flow = flow
        self._runner = runner
        self._context = context
        self._outcome: list[Any] = []
        self._errors: list[BaseException] = []
        self._cancel: Callable[[], object] | None = None
        self._is_unwanted = False
        self._has_ended = threading.Event()

    def run(self) -> Any:
        thread = threading.Thread(target=self._run, name="otelflow-execute")
        try:
            try:
                thread.start()
            except RuntimeError:  # the system has no thread left
                self._has_ended.set()
                raise
            # Not thread.join(): up to Python 3.12, one that Ctrl-C interrupts takes the thread to have ended.
            self._has_ended.wait()
        except BaseException:
            self._is_unwanted = True
            if self._cancel is not None:
                self._cancel()
            self._has_ended.wait()
            raise
        thread.join()
        if self._errors:
            raise self._errors.pop()
        return self._outcome.pop()

    def _run(self) -> None:
        try:
            with self._runner:
                self._outcome.append(self._runner.run(self._main(), context=self._context))
        except BaseException as error:  # noqa: BLE001 it is raised again by who waits
            self._errors.append(error)
        finally:
            self._has_ended.set()

    async def _main(self) -> Any:
        import asyncio  # noqa: PLC0415 a loop runs, so it is there

        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 it runs this

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel
        if self._is_unwanted:
            task.cancel()
        return await self._flow
