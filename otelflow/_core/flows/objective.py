"""What the on-call engineer is promised about a flow."""

import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Never, TypeAlias

from otelflow._core.process import losses
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError, UnknownKeyword

if TYPE_CHECKING:
    from datetime import timedelta

# Windows of alerts must fit into what Prometheus keeps.
_LONGEST_DURATION: Final = 7 * 86_400.0
_LONGEST_INTERVAL: Final = 31 * 86_400.0
_MOST_BUCKETS: Final = 60

DEFAULT_SUCCESS: Final = 0.99

Seconds: TypeAlias = "str | timedelta"


class Objective:
    """A promise about a flow: *success* of its runs succeed, as many within *duration*, one *every* so often.

    Each part may be left out, but not all three. ``otelflow generate alerts`` makes alerts of it.

    *success* (float between 0 and 1): the share of good runs; 0.99 unless given.
    *duration* (str such as ``"90s"`` or ``"1h 30m"``, or timedelta; up to 7 days): the time that they take at most. The
    alert about that needs ten runs in three days; a flow that runs less often wants ``timeout=``, too.
    *every* (the same, up to 31 days): how often one succeeds.
    *runbook* (str): the line or address that tells the reader of an alert what to do.

    As attributes ``duration`` and ``every`` are seconds. Raises ConfigurationError for a value that says nothing
    usable, UnknownKeyword.

    >>> from otelflow import Objective
    >>> Objective(success=0.95, duration="10m", every="1d")
    Objective(duration=600.0, every=86400.0, success=0.95)
    """

    __slots__ = ("duration", "every", "runbook", "success")

    def __init__(
        self,
        *,
        success: float | None = None,
        duration: "Seconds | None" = None,
        every: "Seconds | None" = None,
        runbook: str | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            raise UnknownKeyword("Objective", next(iter(unknown)), self.__slots__)
        if success is None and duration is None and every is None:
            raise ConfigurationError("Objective: promise something: success=0.99, duration='10m' or every='1h'")
        share: object = success  # whatever was given
        if share is not None and (not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1):
            raise ConfigurationError(
                f"Objective: success={brief_repr(success, 60)} is no share of runs: give a number between 0 and 1, "
                "such as 0.99 (1 leaves no room for a failure; leave success out and rely on the last run's alert)"
            )
        self.success: Final = None if success is None else float(success)
        self.duration: Final = _seconds("duration", duration, _LONGEST_DURATION)
        self.every: Final = _seconds("every", every, _LONGEST_INTERVAL)
        text: object = runbook
        if text is not None and not (isinstance(text, str) and text.strip()):
            raise ConfigurationError(
                f"Objective: runbook must be a text such as an address, not {brief_repr(runbook, 60)}"
            )
        self.runbook: Final = runbook

    @property
    def share(self) -> float:
        """The share of good runs, when nothing else was said."""
        return DEFAULT_SUCCESS if self.success is None else self.success

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objective) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.success, self.duration, self.every, self.runbook))

    def __repr__(self) -> str:
        promises = [f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name) is not None]
        return f"Objective({', '.join(promises)})"


def _seconds(name: str, value: "Seconds | None", longest: float) -> float | None:
    if value is None:
        return None
    from otelflow._core.text import durations  # noqa: PLC0415 few flows promise a length of time

    # To import timedelta would take 2 ms; a program that gives one has imported it.
    total_seconds = getattr(value, "total_seconds", None)
    try:
        seconds = (
            total_seconds() if total_seconds is not None else durations.parse(value if isinstance(value, str) else "")
        )
    except ValueError:
        seconds = 0
    if not 0 < seconds <= longest:
        raise ConfigurationError(
            f"Objective: {name}={brief_repr(value, 60)} is no length of time up to {longest / 86_400:.0f}d: "
            "give a number with a unit (s, m, h, d, w), such as '90s', '10m', '1h30m' or '1d'"
        )
    return seconds


def checked_buckets(buckets: object) -> tuple[float, ...] | None:
    """Return the upper bounds of a histogram's buckets in seconds. Raises ConfigurationError if they are none."""
    if buckets is None:
        return None
    numbers = tuple(buckets) if isinstance(buckets, Iterable) else ()
    try:
        bounds = () if any(isinstance(number, str | bool) for number in numbers) else tuple(map(float, numbers))
    except (TypeError, ValueError, OverflowError):
        bounds = ()
    if bounds and bounds[-1] == float("inf"):
        bounds = bounds[:-1]
    is_rising = all(low < high for low, high in zip((0.0, *bounds), bounds, strict=False))
    if not is_rising or not 0 < len(bounds) <= _MOST_BUCKETS or bounds[-1] == float("inf"):
        raise ConfigurationError(
            f"buckets={brief_repr(buckets)} must be up to {_MOST_BUCKETS} rising numbers of seconds above 0, "
            "such as (0.1, 1, 10)"
        )
    return bounds


def objective_of(owner: object) -> Objective | None:
    """Return the objective of a flow or its class, if the attribute of that name is one; no property is read.

    Anything else is the user's own; what looks like a promise is a warning.
    """
    objective = inspect.getattr_static(owner, "objective", None)
    if isinstance(objective, int | float):
        _warn_of_own(owner, "objective", f"an Objective, such as Objective(success={DEFAULT_SUCCESS})")
    return objective if isinstance(objective, Objective) else None


def buckets_of(owner: object) -> tuple[float, ...] | None:
    """Return the buckets of a flow or its class, as ``objective_of`` does."""
    buckets = inspect.getattr_static(owner, "buckets", None)
    if not isinstance(buckets, Sequence) or not all(isinstance(item, int | float) for item in buckets):
        return None
    try:
        return checked_buckets(buckets)
    except ConfigurationError:
        _warn_of_own(owner, "buckets", f"up to {_MOST_BUCKETS} rising numbers of seconds, such as (0.1, 1, 10)")
        return None


def _warn_of_own(owner: object, attribute: str, what_counts: str) -> None:
    kind = owner if isinstance(owner, type) else type(owner)
    losses.warn_once(
        f"{attribute} of {kind.__qualname__}",
        "%s of the class %s is taken for an attribute of its own: for otelflow it would have to be %s",
        attribute,
        kind.__qualname__,
        what_counts,
    )
