"""Try a body again when it fails: each attempt is a span, and what was waited before it stands there."""

import functools
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from otelflow import semconv
from otelflow._core.policies import KEYWORDS, loops
from otelflow._core.policies.delays import CallState, Delays
from otelflow._core.policies.policy import Body, description_of, name_of, takes, warn_of_awaitable
from otelflow._core.process import clock, losses
from otelflow._core.process.settings import settings
from otelflow._core.runs import spans
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import SUCCESS, Ending, ending_of
from otelflow._core.runs.engine import close_run, open_run
from otelflow._core.runs.run import Run
from otelflow._core.text.durations import in_words
from otelflow._core.text.own_logger import log
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import ConfigurationError, UnfillableParameter


class Attempt(Run):
    """One attempt of a flow or a task: a span inside the run of it, to which everything in it belongs."""

    __slots__ = ("_span_name", "attempt", "is_followed", "submits_to")

    def __init__(self, owner: Run | None, name: str, number: int, delay: float, *, is_last: bool) -> None:
        if owner is None:  # the run could not be opened
            super().__init__(None, settings())
        else:
            super().__init__(owner, owner.settings, owner.task, owner.task_name, owner.task_run_id)
            name = (owner.task_name if owner.kind == "task" else owner.flow_name) or name
        self._span_name = semconv.ATTEMPT_SPAN + name
        self.attempt = number
        self.submits_to = None
        # Whether another one follows if it fails: until then nobody knows, and what fails inside is no failure yet.
        self.is_followed = not is_last
        self.parameters = {semconv.ATTEMPT_NUMBER: number, semconv.ATTEMPT_DELAY: delay}

    def span_name(self) -> str:
        """Return the name of its span."""
        return self._span_name

    @property
    def keeps_errors(self) -> bool:
        """Whether an exception of its body does not come out, as the user asked."""
        return self.is_followed


class _Plan:
    """What the keywords of one decorator say. Raises ConfigurationError for a value that they cannot use."""

    def __init__(self, body: Body, options: Mapping[str, Any]) -> None:
        self.name = name_of(body)
        retries = options.get("retries")
        if retries is None:
            keyword = next(name for name in options if name in KEYWORDS["retry"])
            raise ConfigurationError(f"{self.name!r}: {keyword} is for retries; say how many: retries=3")
        if isinstance(retries, bool) or retries < 0:
            raise ConfigurationError(f"{self.name!r}: retries must be a whole number from 0 on, not {retries!r}")
        self.attempts: int = retries + 1
        delay = options.get("retry_delay")
        self.delays = Delays(repr(self.name), 0 if delay is None else delay, options.get("retry_jitter_factor"))
        self.condition: Callable[[BaseException], object] | None = options.get("retry_condition_fn")
        if self.condition is not None and not takes(self.condition, 1):
            raise ConfigurationError(
                f"{self.name!r}: retry_condition_fn must be a function of the exception alone, such as "
                f"lambda error: isinstance(error, OSError), not {description_of(self.condition)}"
            )


class _Call:
    """The attempts of one call."""

    def __init__(self, plan: _Plan, body: Body, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._plan = plan
        self._owner = current_run()
        self._state = CallState(body, args, kwargs)
        self._number = 0
        self._delay = self._waited = 0.0

    def next_attempt(self) -> Attempt:
        """Return the next attempt."""
        plan = self._plan
        self._number += 1
        checkpoints = sys.modules.get("otelflow._core.policies.checkpoints")  # without it, no task keeps anything
        if checkpoints is not None and self._owner is not None and self._owner.kind == "flow":
            checkpoints.enter(self._owner)
        return Attempt(self._owner, plan.name, self._number, self._delay, is_last=self._number == plan.attempts)

    def succeeded(self, attempt: Attempt, value: object) -> None:
        """End *attempt*, which has returned *value*."""
        warn_of_awaitable(value, self._plan.name, "retries")
        close_run(attempt, SUCCESS)

    def failed(self, attempt: Attempt, error: BaseException) -> float | None:
        """End *attempt* with *error*; return how long to wait for the next one, or None if it was the last."""
        attempt.has_ended = True
        delay = None
        ending = Ending(semconv.FAILURE, error)
        try:
            try:
                ending = ending_of(error, was_called=True)
            except BaseException as trouble:  # a property of a foreign class, or a group nested too deep
                if comes_from_outside(trouble):
                    raise
            if attempt.is_followed and ending.is_failure and issubclass(type(error), Exception):
                delay = self.delay_after(error)
        finally:  # also after Ctrl-C in the user's functions
            attempt.is_followed = delay is not None
            close_run(attempt, ending)
        if delay is not None:
            self._delay = delay
            self.log(attempt.span_name().removeprefix(semconv.ATTEMPT_SPAN), ending, delay)
        return delay

    def delay_after(self, error: BaseException) -> float | None:
        """Return how long to wait after *error*, or None if the user does not want to try again."""
        plan = self._plan
        if issubclass(type(error), UnfillableParameter):  # it would be no other the next time
            return None
        try:
            if plan.condition is not None and not plan.condition(error):
                return None
            return plan.delays.seconds(self._number, error, self._state)
        except Exception as trouble:  # noqa: BLE001 the user's functions: the body's own exception is what comes out
            losses.warn_once(
                f"retry of {plan.name} {type(trouble).__name__}",
                "retry_delay or retry_condition_fn of %r cannot be used: it is not tried again",
                plan.name,
                error=trouble,
            )
            return None

    def log(self, name: str, ending: Ending, delay: float) -> None:
        """Log that the attempt has failed, and when the next one follows."""
        log(
            losses.logger,
            logging.WARNING,
            "Attempt %d of %d of %r failed: %s; the next one follows %s",
            self._number,
            self._plan.attempts,
            name,
            ending.reason,
            f"in {in_words(delay)}" if delay else "at once",
        )

    def cancel_submitted(self, attempt: Attempt) -> Any:
        """Cancel what was submitted in *attempt*, which has failed; return its session, if that is to be waited for.

        Where that was given up, as at the deadline of a flow, the next attempt begins another one; nor is there
        anything to end in a forked child, whose parent has the threads. A task waits for none after its deadline.
        """
        owner: Any = self._owner
        session = attempt.submits_to
        if session is None:
            return None
        if not (session.is_given_up or session.is_inherited):
            session.begin_again(attempt)
            return None if attempt.ending.result == semconv.TIMEOUT and owner.kind == "task" else session
        if owner.kind == "flow":
            owner.session = None
        return None

    def waited(self) -> None:
        """Count the delay, which is over."""
        self._waited += self._delay
        self._state.waited(self._delay)

    def end(self) -> None:
        """Say on the span of the whole how often it was tried, and how long was waited between."""
        self._state.forget()
        owner = self._owner
        if owner is not None:
            spans.note(owner, semconv.RUN_ATTEMPTS, self._number)
            if self._waited:
                spans.note(owner, semconv.RUN_RETRY_DELAY, self._waited)


class Retry:
    """Tries a body again; cancellations, Ctrl-C and calls that do not fit are no failures."""

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether there may be retries."""
        return options.get("retries") != 0 or isinstance(options.get("retries"), bool)

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body* with attempts around it."""
        plan = _Plan(body, options)

        @functools.wraps(body)
        def retried(*args: Any, **kwargs: Any) -> Any:
            call = _Call(plan, body, args, kwargs)
            try:
                while True:
                    attempt = call.next_attempt()
                    try:
                        open_run(attempt)
                        value = body(*args, **kwargs)
                        call.succeeded(attempt, value)
                    except BaseException as error:
                        delay = call.failed(attempt, error)
                        if delay is None:
                            del attempt  # as in drivers.function()
                            raise
                    else:
                        return value
                    if (session := call.cancel_submitted(attempt)) is not None:
                        session.wait(attempt)
                    for pause in loops.pauses(delay) if delay else ():
                        clock.sleep(pause)
                    call.waited()
            finally:
                call.end()
                del call

        return retried

    def around_async(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, a coroutine function, with attempts around it; other work goes on between them."""
        plan = _Plan(body, options)

        @functools.wraps(body)
        async def retried(*args: Any, **kwargs: Any) -> Any:
            call = _Call(plan, body, args, kwargs)
            try:
                while True:
                    attempt = call.next_attempt()
                    try:
                        open_run(attempt)
                        value = await body(*args, **kwargs)
                        call.succeeded(attempt, None)
                    except BaseException as error:
                        delay = call.failed(attempt, error)
                        if delay is None:
                            del attempt  # as in drivers.function()
                            raise
                    else:
                        return value
                    if (session := call.cancel_submitted(attempt)) is not None:
                        await session.end_async(attempt)
                    for pause in loops.pauses(delay):
                        await loops.sleep(pause)
                    call.waited()
            finally:
                call.end()
                del call

        return retried


POLICY: Final = Retry()
