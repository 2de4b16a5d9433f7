"""Give up on a body that takes too long: its run ends at the deadline, whatever the body does then."""

import contextvars
import functools
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from otelflow import semconv
from otelflow._core.policies import holding
from otelflow._core.policies.delays import seconds_of
from otelflow._core.policies.loops import running_trio
from otelflow._core.policies.policy import Body, name_of, warn_of_awaitable
from otelflow._core.runs import spans
from otelflow._core.runs.current import current_run
from otelflow._core.runs.run import Run
from otelflow.errors import ConfigurationError, RunTimeout

if TYPE_CHECKING:
    from otelflow._core.policies.places import Place


class _Limit:
    """The timeout of one decorator. Raises ConfigurationError for one that is no time."""

    def __init__(self, body: Body, options: Mapping[str, Any]) -> None:
        self.name = name_of(body)
        timeout = options["timeout"]
        try:
            self.seconds = seconds_of(timeout)
            if not self.seconds:
                raise ValueError(repr(timeout))  # noqa: TRY301 it is said as the others are
        except ValueError as error:
            raise ConfigurationError(
                f"{self.name!r}: timeout must be a number of seconds above 0 or a timedelta, not {error}"
            ) from None

    def noted_error(self, run: Run | None, *, is_running: bool) -> RunTimeout:
        """Write on the span of *run* that it timed out, and whether its body goes on; return the error that ends it."""
        if run is None:  # it could not be opened
            return RunTimeout("task", self.name, self.seconds)
        spans.note(run, semconv.RUN_TIMEOUT, self.seconds)
        spans.note(run, semconv.RUN_BODY_RUNNING, is_running)
        kind, name = ("flow", run.flow_name) if run.task is None else ("task", run.task_name)
        return RunTimeout(kind, name or self.name, self.seconds)


class _Thread(threading.Thread):
    """The thread of one body. The process does not wait for it: the body may never end."""

    def __init__(self, name: str, call: Callable[[], Any]) -> None:
        super().__init__(name=f"otelflow-{name}", daemon=True)
        self._call: Callable[[], Any] | None = functools.partial(contextvars.copy_context().run, call)
        self.places: list[Place] = []
        self._value: Any = None
        self._error: BaseException | None = None
        self.has_ended = False

    def run(self) -> None:
        """Run the body, and keep its value or exception for the thread that waits."""
        assert self._call is not None  # noqa: S101 it runs once
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 it is raised again by the thread that waits
            self._error = error
        self._call = None
        self.has_ended = True
        self.give_back()

    def give_back(self) -> None:
        """Hold no places any more."""
        while self.places:
            self.places.pop().release()

    def result(self) -> Any:
        """Return what the body has returned, or raise what it has raised."""
        value, error = self._value, self._error
        self._value = self._error = None  # an exception refers to this frame, which must not refer to it
        try:
            if error is not None:
                raise error
            return value
        finally:
            del error


def _give_up_submitted(run: Run | None) -> bool:
    """Give up what *run* has submitted, which would take longer; tell whether some of a flow's runs on.

    Of a task's, what has not begun or waits is cancelled: its flow goes on, and would wait for it at its own end.
    """
    owner = run.parent if run is not None and run.attempt else run
    if run is None or owner is None:
        return False
    if owner.session is not None:
        return bool(owner.session.give_up())
    session = None if owner.flow_run is None else owner.flow_run.session
    if session is not None and not session.is_inherited:
        session.cancel(run)
    return False


class Timeout:
    """Ends a run at its deadline. A coroutine is cancelled; a function runs in a thread, where nothing can stop it."""

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether there is a time-out."""
        return options.get("timeout") is not None

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body* in a thread of its own, which is left alone when its time is over."""
        limit = _Limit(body, options)

        @functools.wraps(body)
        def limited(*args: Any, **kwargs: Any) -> Any:
            # In a __del__ then: a thread would not begin any more, nor would the wait for it end.
            if sys.is_finalizing():
                return body(*args, **kwargs)
            run = current_run()
            thread = _Thread(limit.name, functools.partial(body, *args, **kwargs))
            thread.places = holding.shared_places()  # after its deadline, too, it uses what a limit has let it have
            try:
                thread.start()
            except RuntimeError as error:
                thread.give_back()
                interrupt = error.__context__
                if interrupt is not None and not isinstance(interrupt, Exception):
                    raise interrupt from None  # Ctrl-C has interrupted start(), which then failed
                error.add_note(f"{limit.name!r} has a timeout, and so needs a thread of its own")
                raise
            try:
                thread.join(limit.seconds)
            except BaseException:  # Ctrl-C, say
                if run is not None and not thread.has_ended:
                    spans.note(run, semconv.RUN_BODY_RUNNING, True)
                raise
            if not thread.has_ended:
                _give_up_submitted(run)
                raise limit.noted_error(run, is_running=True)
            del run  # as in drivers.function()
            value = thread.result()
            warn_of_awaitable(value, limit.name, "timeout")
            return value

        return limited

    def around_async(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, a coroutine function, which is cancelled when its time is over."""
        limit = _Limit(body, options)

        @functools.wraps(body)
        async def limited(*args: Any, **kwargs: Any) -> Any:
            run = current_run()
            try:
                trio = running_trio()
                if trio is not None:
                    with trio.move_on_after(limit.seconds):
                        return await body(*args, **kwargs)
                    raise limit.noted_error(run, is_running=_give_up_submitted(run))
                import asyncio  # noqa: PLC0415 its loop runs, so it is there

                scope = asyncio.timeout(limit.seconds)
                try:
                    async with scope:
                        return await body(*args, **kwargs)
                except TimeoutError as error:
                    # Not the body's own: it was cancelled at the deadline alone.
                    if scope.expired() and isinstance(error.__cause__, asyncio.CancelledError):
                        raise limit.noted_error(run, is_running=_give_up_submitted(run)) from error.__cause__
                    raise
            finally:
                del run  # as in drivers.function()

        return limited


POLICY: Final = Timeout()
