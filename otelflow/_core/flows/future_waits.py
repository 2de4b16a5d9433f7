"""Who waits for whom: tasks that would wait for each other for ever are told so, by name, as soon as that is known."""

import contextlib
from _thread import get_ident
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from otelflow._core.policies.delays import seconds_of
from otelflow._core.policies.loops import running_trio, submitted_here
from otelflow._core.process.asyncio_loop import running_loop
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import CircularWait, ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType


def seconds_to_wait(timeout: Any) -> float | None:
    """Return *timeout* in seconds; who has counted down to a deadline may be beyond it. Raises ConfigurationError."""
    if timeout is None:
        return None
    try:
        if not isinstance(timeout, int) and hasattr(type(timeout), "__float__"):
            timeout = float(timeout)
        return 0.0 if timeout < type(timeout)() else seconds_of(timeout)
    except (TypeError, ValueError) as error:
        text = error if type(error) is ValueError else brief_repr(timeout, 60)
        raise ConfigurationError(
            f"a future is waited for a number of seconds or a timedelta, or for ever (timeout=None), not {text}"
        ) from None


class Waiting:
    """While the body of a submitted task waits for all *futures*, that is known, and what leads back to it is found.

    Not if it *is_bounded*. Two threads may begin at once: each notes for what it waits before it looks, so that one of
    them at least sees the ring.
    """

    __slots__ = ("_call", "_futures")

    def __init__(self, futures: Sequence[Any], *, is_bounded: bool = False) -> None:
        self._futures = futures
        call: Any = None if is_bounded else submitted_here.get()
        self._call: Any = None
        if not hasattr(call, "blocked_on"):  # none, or one whose flow is in another process
            return
        # Whether it waits as long as this code waits: not if that runs beside its body.
        if running_loop() is None:
            is_body = call.loop is None and call.taker == get_ident() and running_trio() is None
        else:
            import asyncio  # noqa: PLC0415 its loop runs, so it is there

            task = asyncio.current_task()
            if task is not None and task.get_coro() is call.loop_task:
                call.loop_task = task
            is_body = task is not None and task is call.loop_task
        self._call = call if is_body else None

    def __enter__(self) -> None:
        call = self._call
        if call is None:
            return
        call.blocked_on = self._futures
        ring = _ring(call)
        if ring is not None:
            call.blocked_on = ()
            raise CircularWait([member.future.task_name for member in ring])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: "TracebackType | None"
    ) -> None:
        if self._call is not None:
            self._call.blocked_on = ()


async def end_of(future: Any) -> None:
    """Return when *future* is done, for which code of the user's waits. Raises CircularWait."""
    call = future.call
    if not future.done():
        with Waiting([future]):
            if call is not None:
                call.help_in_thread()
            await until_done(future)


async def until_done(future: Any) -> None:
    """Return when *future* is done, however that is."""
    trio = running_trio()
    if trio is not None:
        await _until_done_in_trio(trio, future)
        return
    import asyncio  # noqa: PLC0415 a loop runs, so it is there

    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def wake_soon(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(wake)

    if not future.done():
        future.add_done_callback(wake_soon)
        await waiter


async def _until_done_in_trio(trio: Any, future: Any) -> None:
    token, event = trio.lowlevel.current_trio_token(), trio.Event()

    def wake_soon(_: object) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    future.add_done_callback(wake_soon)
    await event.wait()


def _ring(call: Any) -> list[Any] | None:
    """Return the calls from *call* to itself, each of which waits for the next, if nothing is to end that."""
    came_from: dict[Any, Any] = {}
    waiting = [call]
    while waiting:
        last = waiting.pop()
        for future in (*last.upstream, *last.blocked_on):
            above = getattr(future, "call", None)  # one of an executor has none
            if above is None or above in came_from or future.done():
                continue
            came_from[above] = last
            if above is call:
                ring = [call]
                while (last := ring[-1]) is not call or len(ring) == 1:
                    ring.append(came_from[last])
                return None if any(map(_has_deadline, ring)) else ring[::-1]
            waiting.append(above)
    return None


def _has_deadline(call: Any) -> bool:
    """Tell whether the asyncio task of *call* is to be cancelled at some time: by a time-out around what it awaits."""
    task = call.loop_task
    if task is None:
        return False
    timers: Iterable[Any] | None = getattr(task.get_loop(), "_scheduled", None)
    if timers is None:  # a loop that tells nothing of its timers
        return True
    owners = [getattr(timer._callback, "__self__", None) for timer in list(timers)]  # noqa: SLF001 it is asyncio's
    return any(task in (owner, *getattr(owner, "__dict__", {}).values()) for owner in owners)


class OnLoop:
    """Calls *function* on the loop that runs here, whichever thread calls this; it is equal to that function."""

    __slots__ = ("_function", "_loop")

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function, self._loop = function, running_loop()

    def __call__(self, future: Any) -> None:
        """Call it with *future*, if the loop is there still."""
        if self._loop is None:
            self._function(future)
            return
        with contextlib.suppress(RuntimeError):  # it has been closed
            self._loop.call_soon_threadsafe(self._function, future)

    def __eq__(self, function: object) -> bool:
        return self._function == function

    __hash__ = object.__hash__
