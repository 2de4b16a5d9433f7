"""How long is waited before the next attempt: what the keywords say, jitter, and what the exception asks for."""

import math
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from otelflow._core.policies.policy import description_of, takes
from otelflow._core.process import clock
from otelflow._core.text import classes
from otelflow._core.text.safe_str import brief_repr, comes_from_outside
from otelflow.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta

# What an exception asks for comes from another machine: it must not hold a flow for days.
_LONGEST_ASKED: Final = 3_600.0
_LONGEST: Final = 31_536_000.0
_MOST_DOUBLINGS: Final = 60
_MOST_CAUSES: Final = 5
_MOST_MEMBERS: Final = 100
_RETRY_AFTER: Final = ("Retry-After", "retry-after")

_FITTING: Final = (
    "a number of seconds from 0 on, a timedelta, a list of them, a function of the attempt's number, "
    "exponential_backoff(…), or a wait of tenacity"
)


def seconds_of(value: object) -> float:
    """Return a number or a ``timedelta`` as seconds. Raises ValueError for anything else, and below 0."""
    total_seconds: Callable[[], float] | None = getattr(value, "total_seconds", None)
    seconds = value if total_seconds is None else total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(brief_repr(value, 60))
    return float(min(seconds, _LONGEST))  # an int may be larger than any float


class _Backoff:
    """Delays that double; a class, so that it travels to other processes."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def __call__(self, attempt: int) -> float:
        return self._factor * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)

    def __repr__(self) -> str:
        return f"exponential_backoff({self._factor!r})"


def exponential_backoff(backoff_factor: "float | timedelta") -> Callable[[int], float]:
    """Return a ``retry_delay`` that doubles from retry to retry.

    *backoff_factor* (a number of seconds, or a ``timedelta``): the delay before the first retry.

    Returns a function of the number of the attempt that failed. Raises ConfigurationError for a factor below 0.

    >>> from otelflow import exponential_backoff
    >>> delay = exponential_backoff(10)
    >>> [delay(attempt) for attempt in (1, 2, 3)]
    [10.0, 20.0, 40.0]
    """
    try:
        return _Backoff(seconds_of(backoff_factor))
    except ValueError as error:
        raise ConfigurationError(f"exponential_backoff() needs a number of seconds from 0 on, not {error}") from None


class Delays:
    """What ``retry_delay`` and ``retry_jitter_factor`` say. Raises ConfigurationError that names *owner*."""

    def __init__(self, owner: str, delay: Any, jitter_factor: object) -> None:
        self._function = delay if callable(delay) else None
        self._takes_state = any(classes.module_of(base).startswith("tenacity.") for base in classes.bases(type(delay)))
        self._fixed: list[float] = []
        if self._function is exponential_backoff or (self._function is not None and not takes(self._function, 1)):
            raise ConfigurationError(f"{owner}: retry_delay must be {_FITTING}, not {description_of(delay)}")
        try:
            if self._function is None:
                is_list = isinstance(delay, Sequence) and not isinstance(delay, str | bytes)
                self._fixed = [seconds_of(item) for item in (delay if is_list else [delay])]
                if not self._fixed:
                    raise ValueError("an empty list")  # noqa: TRY301 it is said as the others are
        except ValueError as error:
            raise ConfigurationError(f"{owner}: retry_delay must be {_FITTING}, not {error}") from None
        try:
            self._jitter = 0.0 if jitter_factor is None else seconds_of(jitter_factor)
        except ValueError as error:
            raise ConfigurationError(f"{owner}: retry_jitter_factor must be a number from 0 on, not {error}") from None

    def seconds(self, number: int, error: BaseException, state: "CallState") -> float:
        """Return how long to wait after attempt *number* failed with *error*.

        Raises what the user's function does, and ValueError if it returns no number from 0 on.
        """
        if self._function is None:
            delay = self._fixed[min(number, len(self._fixed)) - 1]
        else:
            delay = seconds_of(self._function(state.of_tenacity(number, error) if self._takes_state else number))
        if self._jitter:
            # Of the system: the program's own random numbers are those that it would have without retries.
            delay *= 1 + self._jitter * SystemRandom().random()
        return max(min(delay, _LONGEST), asked_delay(error))


class CallState:
    """What a wait of tenacity is told of the call that is tried again."""

    def __init__(self, body: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._call = body, args, kwargs
        self._state: Any = None

    def of_tenacity(self, number: int, error: BaseException) -> Any:
        """Return it in tenacity's own words, after attempt *number* failed with *error*."""
        if self._state is None:
            from sys import modules  # noqa: PLC0415 who has a wait of tenacity has imported it

            self._state = modules["tenacity"].RetryCallState(None, *self._call)
        self._state.attempt_number = number
        self._state.set_exception((type(error), error, error.__traceback__))
        return self._state

    def forget(self) -> None:
        """Let go of the last exception, whose frames refer to this."""
        self._state = None

    def waited(self, seconds: float) -> None:
        """Add what was waited."""
        if self._state is not None:
            self._state.idle_for += seconds


def asked_delay(error: BaseException) -> float:
    """Return the seconds that *error*, or what it was raised from, asks to wait, at most an hour; 0 if it does not.

    A group asks for the longest that one of its exceptions asks for.
    """
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            break
        try:
            members = cause.exceptions[:_MOST_MEMBERS] if isinstance(cause, BaseExceptionGroup) else [cause]
            delays = [seconds for member in members if (seconds := _seconds_asked(member)) is not None]
        except BaseException as trouble:  # attributes of a foreign exception, which may be anything
            if comes_from_outside(trouble):
                raise
            delays = []
        if delays:
            return min(max(0.0, *delays), _LONGEST_ASKED)
        cause = cause.__cause__
    return 0.0


def _seconds_asked(error: BaseException) -> float | None:
    try:
        delay: Any = getattr(error, "retry_after", None)
        if delay is None:
            headers: Any = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
            if isinstance(headers, Mapping) or hasattr(headers, "get"):
                delay = next((value for name in _RETRY_AFTER if (value := headers.get(name)) is not None), None)
        if not isinstance(delay, str):
            return None if delay is None else seconds_of(delay)
        try:
            return seconds_of(float(delay))
        except ValueError:
            from email.utils import mktime_tz, parsedate_tz  # noqa: PLC0415 only for a date

            date = parsedate_tz(delay)  # one without a zone is of Greenwich
            return None if date is None else mktime_tz(date) - clock.time()
    except Exception:  # noqa: BLE001 attributes of a foreign exception, which may be anything
        return None
