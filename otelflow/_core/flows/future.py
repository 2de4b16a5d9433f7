"""A future: what a task that was submitted will return; and how to wait for several of them."""

import concurrent.futures
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from otelflow._core.flows.future_condition import Condition, Waiters
from otelflow._core.flows.future_waits import OnLoop, Waiting, end_of, seconds_to_wait
from otelflow._core.process.asyncio_loop import running_loop
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import BlockedLoop, CircularWait

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

R = TypeVar("R")
T = TypeVar("T")


class Submitted(Protocol):
    """The call behind a future."""

    #: The event loop that runs it, if that is what it is for
    loop: Any
    context: contextvars.Context
    future: "Future[Any]"
    upstream: "list[Future[Any]]"

    def run(self) -> None:
        """Run it in this thread, unless it has begun already."""

    def help(self, *, may_run: bool) -> None:
        """Skip it or, if *may_run*, run it in this thread, if that would wait for itself otherwise."""

    def help_in_thread(self) -> None:
        """Do as ``help`` in a thread beside this one, which goes on."""

    def help_ready(self, *, may_run: bool) -> None:
        """Do as ``help`` when what it waits for has ended."""

    def cancelled(self) -> None:
        """Tell that it is cancelled, or stop it; the future is cancelled already."""

    def take_back(self) -> bool:
        """Cancel it where it was sent to, unless it has begun there; tell whether it is cancelled."""

    def fail(self, error: Exception) -> None:
        """End it with *error*, which kept it from being run."""

    def give_up(self, error: BaseException) -> None:
        """End it with *error*, which has come while it was handed over, unless it runs."""


class Future(concurrent.futures.Future[R]):
    """What ``task.submit()`` returns: the task runs, or will run, and the future has what comes of it.

    It is a future of ``concurrent.futures``, whose functions take it, and ``await`` takes it, too. Given to another
    task as an argument, also inside lists, tuples, sets, dicts and dataclasses, it becomes its result there; if it has
    failed, that task is not run: its result is ``skip``, and its future raises UpstreamFailed.

    ``task_name`` (str) is the name of the task.

    >>> from otelflow import flow, task
    >>> @task
    ... def double(number):
    ...     return 2 * number
    >>> @flow
    ... def doubled():
    ...     return double.submit(double.submit(3)).result()
    >>> doubled().execute().flow_return_value
    12
    """

    def __init__(self, task_name: str) -> None:
        # Without what its base does: to make the lock of that takes longer than all the rest.
        self._condition = Condition()  # type: ignore[assignment]  # that of the library is most of what it takes
        self._state = "PENDING"
        self._result = self._exception = None
        self._waiters = Waiters()
        self._done_callbacks: list[Any] = []
        self.task_name = task_name
        # Of otelflow itself:
        self.call: Submitted | None = None
        self.span_context: SpanContext | None = None
        self.was_asked = False
        #: The one that has failed, so that the task was not run
        self.skipped_for: Future[Any] | None = None

    def __repr__(self) -> str:
        return f"<Future of task {self.task_name!r}, {self._state.lower()}>"

    def result(self, timeout: float | None = None) -> R:
        """Return what the task returned, once it has; within *timeout* seconds, if given.

        Raises the task's own exception, TimeoutError, UpstreamFailed if it was not run since one that it waits for has
        failed, ``concurrent.futures.CancelledError``, BlockedLoop where waiting would block the loop that runs it,
        CircularWait in a task for which it waits itself, or ConfigurationError for a *timeout* that is no time.

        >>> from otelflow import task
        >>> task(abs).submit(-3).result(timeout=5)
        3
        """
        ask(self)
        seconds = seconds_to_wait(timeout)
        if self.done():
            return super().result()
        with Waiting([self], is_bounded=seconds is not None):
            _before_waiting(self, seconds)
            return super().result(seconds)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception of the task, or None; waits and raises as ``result()`` does.

        >>> from otelflow import task
        >>> task(abs).submit("three").exception()
        TypeError("bad operand type for abs(): 'str'")
        """
        ask(self)
        seconds = seconds_to_wait(timeout)
        if self.done():
            return super().exception()
        with Waiting([self], is_bounded=seconds is not None):
            _before_waiting(self, seconds)
            return super().exception(seconds)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the task has ended, however that is, or *timeout* seconds have passed.

        >>> from otelflow import task
        >>> future = task(abs).submit(-3)
        >>> future.wait()
        >>> future.done()
        True
        """
        wait([self], timeout)

    def cancel(self) -> bool:
        """Cancel the task, unless it has ended or runs in a thread or process, which cannot be stopped.

        One that waits in a thread for its next attempt is not tried again. A cluster that has one is asked not to begin
        it. Whether that came in time, the future tells when it is done.
        Returns whether it is cancelled. One that never ran has a span with the result ``cancellation``, too.

        >>> from otelflow import task
        >>> future = task(abs).submit(-3)
        >>> future.wait()
        >>> future.cancel()
        False
        """
        call = self.call
        is_cancelled = super().cancel()
        if call is not None:
            if not is_cancelled:
                return call.take_back()
            call.cancelled()
        return is_cancelled

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[R]], object]) -> None:
        """Let *fn* be called with this future when the task has ended, however that is; at once, if it has.

        >>> from otelflow import task
        >>> future = task(abs).submit(-3)
        >>> future.wait()
        >>> future.add_done_callback(lambda future: print(future.result()))
        3
        """
        call, module = self.call, getattr(fn, "__module__", None)
        is_of_wait = module == "asyncio.tasks"  # of asyncio.wait(), which its loop alone may wake
        if call is not None and (is_of_wait or module == "asyncio.futures"):  # of asyncio.wrap_future()
            call.help_in_thread()
        super().add_done_callback(OnLoop(fn) if is_of_wait else fn)

    def remove_done_callback(self, fn: Callable[[concurrent.futures.Future[R]], object]) -> int:
        """Let *fn* not be called any more when the task has ended; return how often it was to be called, as asyncio's.

        >>> from otelflow import task
        >>> future = task(abs).submit(-3)
        >>> future.wait()
        >>> future.remove_done_callback(print)
        0
        """
        with self._condition:
            if self.done():  # those that there are, are being called
                return 0
            others = [callback for callback in self._done_callbacks if callback != fn]
            count = len(self._done_callbacks) - len(others)
            self._done_callbacks[:] = others
        return count

    def _invoke_callbacks(self) -> None:
        """Do as the base, and know after Ctrl-C which were not called: an interrupted one is called again."""
        if not self._done_callbacks:
            return
        waiting = self._done_callbacks = deque(self._done_callbacks)  # type: ignore[assignment]  # it is only gone through
        while waiting:
            try:
                waiting[0](self)
            except Exception:
                logging.getLogger("concurrent.futures").exception("exception calling callback for %r", self)
            waiting.popleft()

    def __await__(self) -> Generator[Any, None, R]:
        import asyncio  # noqa: PLC0415 whoever awaits has it

        try:
            yield from end_of(self).__await__()
        except CircularWait:  # it goes on: somebody else may wait for it, too
            raise
        except BaseException:  # of asyncio or trio: nobody waits for it any more
            self.cancel()
            raise
        ask(self)
        try:
            return super().result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None

    def __reduce__(self) -> Any:
        raise TypeError(f"the future of task {self.task_name!r} belongs to its process; send its result() instead")


# What otelflow itself asks and does, as functions: a method would be public.


def ask(future: Future[Any] | None) -> None:
    """Note that somebody looks at what came of *future*, and so also at the failure for which its task was not run."""
    while future is not None:
        future.was_asked = True
        future = future.skipped_for


def _before_waiting(future: Future[Any], timeout: float | None) -> None:
    """Run the task here if this thread would wait for itself. Raises BlockedLoop where only its own loop could."""
    call = getattr(future, "call", None)  # one of an executor has none
    if call is None:
        return
    loop = running_loop()
    if loop is not None and _needs(call, loop):
        raise BlockedLoop(future.task_name)
    call.help(may_run=timeout is None)
    if timeout is not None or loop is not None:
        call.help_in_thread()


def _needs(call: Submitted, loop: Any) -> bool:
    """Tell whether *loop* is to run *call*, or something that it waits for."""
    calls, seen = [call], {id(call)}
    while calls:
        call = calls.pop()
        if call.loop is loop:
            return True
        for future in call.upstream:
            above = future.call
            if above is not None and id(above) not in seen and not future.done():
                seen.add(id(above))
                calls.append(above)
    return False


class FutureList(list[Future[R]]):
    """What ``task.map()`` returns: one future for each call, in the order of the arguments; ``await`` takes it whole.

    >>> from otelflow import task
    >>> [future.result() for future in task(abs).map([-1, -2])]
    [1, 2]
    """

    def result(self, timeout: float | None = None) -> list[R]:
        """Return the results of all, in order, within *timeout* seconds each; raises as the first that fails.

        >>> from otelflow import task
        >>> task(abs).map([-1, -2]).result()
        [1, 2]
        """
        seconds = seconds_to_wait(timeout)
        return [future.result(seconds) for future in self]

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all have ended, or *timeout* seconds have passed.

        >>> from otelflow import task
        >>> futures = task(abs).map([-1, -2])
        >>> futures.wait()
        >>> [future.done() for future in futures]
        [True, True]
        """
        wait(self, timeout)

    def __await__(self) -> Generator[Any, None, list[R]]:
        results = []
        for future in self:
            try:
                yield from end_of(future).__await__()
            except CircularWait:
                raise
            except BaseException:  # as above
                for sibling in self:
                    sibling.cancel()
                raise
            results.append((yield from future.__await__()))
        return results


class unmapped(Generic[T]):
    """Marks an argument of ``task.map()`` that each call gets whole.

    >>> from otelflow import task, unmapped
    >>> task(pow).map([1, 2, 3], unmapped(2)).result()
    [1, 4, 9]
    """

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"unmapped({self.value!r})"


def _checked(futures: Iterable[Future[R]]) -> list[Future[R]]:
    """Return *futures*, which are to be waited for. Raises TypeError."""
    checked = list(futures)
    for future in checked:
        if not isinstance(future, concurrent.futures.Future):
            raise TypeError(
                f"{brief_repr(future, 60)} is no future: give what submit() has returned, or the list of a map()"
            )
    return checked


def _help(futures: Iterable[Future[Any]], timeout: float | None) -> None:
    for future in futures:
        if not future.done():
            _before_waiting(future, timeout)


def wait(futures: Iterable[Future[R]], timeout: float | None = None) -> tuple[set[Future[R]], set[Future[R]]]:
    """Wait until all *futures* have ended, or *timeout* seconds have passed.

    Returns two sets: those that have ended, however that is, and those that have not. Raises BlockedLoop, CircularWait
    and ConfigurationError as ``Future.result()`` does.

    >>> from otelflow import task, wait
    >>> done, not_done = wait(task(abs).map([-1, -2]))
    >>> len(done), len(not_done)
    (2, 0)
    """
    futures, timeout = _checked(futures), seconds_to_wait(timeout)
    with Waiting(futures, is_bounded=timeout is not None):
        _help(futures, timeout)
        try:
            done, not_done = concurrent.futures.wait(futures, timeout)
        except BaseException:
            _give_back(futures)
            raise
    return done, not_done  # type: ignore[return-value]  # they are those that were given


def as_completed(futures: Iterable[Future[R]], timeout: float | None = None) -> Iterator[Future[R]]:
    """Yield *futures*, each when it has ended, the first to end first; within *timeout* seconds, if given.

    Raises TimeoutError; or BlockedLoop, CircularWait and ConfigurationError as ``Future.result()`` does.

    >>> from otelflow import as_completed, task
    >>> sorted(future.result() for future in as_completed(task(abs).map([-1, -2])))
    [1, 2]
    """
    futures, timeout = _checked(futures), seconds_to_wait(timeout)
    with Waiting(futures, is_bounded=timeout is not None):
        _help(futures, timeout)
    try:
        yield from concurrent.futures.as_completed(futures, timeout)  # type: ignore[misc]  # as above
    except BaseException:
        _give_back(futures)
        raise


def _give_back(futures: Iterable[Future[Any]]) -> None:
    """Release the locks that the standard library has taken one by one when Ctrl-C came."""
    for future in futures:
        condition: Any = future._condition  # noqa: SLF001 it is one of ours
        if type(condition) is Condition:
            condition.give_back()
