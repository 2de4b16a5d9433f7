"""How far a future is, and how it goes on, as functions: a method would be public."""

import concurrent.futures
import contextlib
from typing import Any

from otelflow._core.flows.future import Future, Submitted
from otelflow._core.runs.endings import is_cancellation


def begin(future: Future[Any]) -> bool:
    """Tell whether *future* is to run now; not if it is cancelled, or done, since the program has set its result."""
    return future._state != "FINISHED" and future.set_running_or_notify_cancel()  # noqa: SLF001 it is one of ours


def withdraw(future: Future[Any]) -> bool:
    """Cancel *future*, which was handed over and has not begun; return False if its end has been told already."""
    with future._condition:  # noqa: SLF001 it is one of ours
        if future._state != "RUNNING":  # noqa: SLF001
            return False
        future._state = "PENDING"  # noqa: SLF001 that it runs was said when it was handed over
    return concurrent.futures.Future.cancel(future)


def settle(future: Future[Any], value: Any, error: BaseException | None) -> None:
    """Let *future* be done with *value* or *error*, unless it is cancelled, of which who waits is told."""
    if error is not None and is_cancellation(error):
        concurrent.futures.Future.cancel(future)
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # also of one whose result the user has set
        is_open_yet = future._state != "CANCELLED"  # noqa: SLF001 to make the error takes long: Ctrl-C would hit it
        if is_open_yet and error is None:
            future.set_result(value)
        elif is_open_yet and error is not None:
            future.set_exception(error)
    if future.call is not None and future._state == "CANCELLED":  # noqa: SLF001
        future.set_running_or_notify_cancel()
    assign(future, None)


def tell_again(future: Future[Any]) -> None:
    """Tell whoever waits for *future*, which is done, and was not told since Ctrl-C came in between."""
    if is_open(future):
        return
    with future._condition:  # noqa: SLF001 it is one of ours
        for waiter in future._waiters:  # noqa: SLF001
            if future not in waiter.finished_futures:
                waiter.add_result(future)
            waiter.event.set()
        future._condition.notify_all()  # noqa: SLF001
    future._invoke_callbacks()  # noqa: SLF001


def assign(future: Future[Any], call: Submitted | None) -> None:
    """Let *call* be the one behind *future*; None when that is done with."""
    future.call = future._waiters.call = call  # type: ignore[attr-defined]  # noqa: SLF001 it is one of ours


def is_open(future: Future[Any]) -> bool:
    """Tell whether *future* is not done: without a lock, since a call may wait for thousands."""
    return future._state in ("PENDING", "RUNNING")  # noqa: SLF001


def has_failed(future: Future[Any]) -> bool:
    """Tell whether *future*, which is done, has no result; as above."""
    return future._state != "FINISHED" or future._exception is not None  # noqa: SLF001


def failure_of(future: Future[Any]) -> BaseException:
    """Return why *future*, which is done, has no result."""
    error = future._exception if future._state == "FINISHED" else None  # noqa: SLF001 it is one of ours
    return concurrent.futures.CancelledError() if error is None else error  # its class may say that it is false


def value_of(future: Future[Any]) -> Any:
    """Return the result of *future*, which is done and has one."""
    return future._result  # noqa: SLF001 without the lock, as above
