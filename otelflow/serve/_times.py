"""The times of a schedule, as seconds: those of an interval on a clock that is never set, those of cron since 1970."""

import time
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from cronsim import CronSim

# A clock that was set forward by years: so many times are counted one by one.
_MOST_COUNTED: Final = 10_000


class Due(NamedTuple):
    """How many times have come, the newest of them, and the next to come."""

    number: int
    newest: float
    following: float


class Times(Protocol):
    """When something is due."""

    #: Whether they are seconds of a clock that cannot be set
    is_steady: bool

    def first(self, now: float) -> float:
        """Return the first time, from *now* on."""

    def due(self, upcoming: float, now: float) -> Due:
        """Return what is due *now*, if the next time was to be *upcoming*."""


class Interval:
    """Every so many seconds from the beginning on, so that nothing drifts."""

    is_steady = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def first(self, now: float) -> float:
        """Return *now*."""
        return now

    def due(self, upcoming: float, now: float) -> Due:
        """Return what is due *now*."""
        if now < upcoming:
            return Due(0, 0.0, upcoming)
        count = int((now - upcoming) // self.seconds) + 1
        return Due(count, upcoming + (count - 1) * self.seconds, upcoming + count * self.seconds)


class CronTimes:
    """The times of a cron expression in a time zone.

    As cron of Debian has it: what is to happen at a time that a change of the clock leaves out, happens right after it;
    at a time that comes twice, the first time; an hour or minute that is ``*`` goes by the time that really passes.
    Raises ConfigurationError for an expression that is none, or that no day fits; MissingExtra.
    """

    is_steady = False

    def __init__(self, expression: str, zone: tzinfo) -> None:
        text: object = expression
        if not isinstance(text, str):
            raise ConfigurationError(f"Schedule: cron must be a text such as '0 3 * * *', not {brief_repr(text, 60)}")
        try:
            import cronsim  # noqa: PLC0415 an extra
        except ImportError:
            raise MissingExtra("schedule") from None
        self._expression, self._zone = expression, zone
        self._iterator: Any = cronsim.CronSim
        try:
            self.after(time.time())
        except (cronsim.CronSimError, StopIteration, OverflowError) as error:
            reason = str(error) or "it never comes"
            raise ConfigurationError(
                f"Schedule: cron={expression!r:.80} cannot be used ({reason}): give minute, hour, day of the month, "
                "month and day of the week, such as '0 3 * * *' or '*/10 8-18 * * MON-FRI'"
            ) from None

    def after(self, moment: float) -> float:
        """Return the first time after *moment*."""
        times: CronSim = self._iterator(self._expression, datetime.fromtimestamp(moment, UTC).astimezone(self._zone))
        while True:
            # In the hour that comes twice, it begins with the first one again.
            following = next(times).timestamp()
            if following > moment:
                return following

    def first(self, now: float) -> float:
        """Return the first time after *now*."""
        return self.after(now)

    def due(self, upcoming: float, now: float) -> Due:
        """Return what is due *now*; of a great many times at least so many."""
        count, newest = 0, 0.0
        while upcoming <= now and count < _MOST_COUNTED:
            count, newest, upcoming = count + 1, upcoming, self.after(upcoming)
        return Due(count, newest, upcoming if upcoming > now else self.after(now))
