"""A clock that a test sets: runs take as long as it says."""

import math
from types import TracebackType
from typing import Any, Final, Self

from otelflow._core.flows import flow, flow_run
from otelflow._core.inside import artifacts, events, messages
from otelflow._core.process import clock as real_clock
from otelflow._core.runs import engine, log_records
from otelflow.errors import ConfigurationError
from otelflow.metrics import _counts

#: The modules that look at a clock
_READERS: Final = (engine, flow, flow_run, messages, artifacts, events, log_records, _counts)
_NANOSECONDS: Final = 1_000_000_000


class FakeClock:
    """Inside ``with FakeClock() as clock:`` time stands still for runs, until ``clock.advance(seconds)``.

    *start* (float): the time at which it begins, in seconds since the epoch. It is the clock of runs, messages and
    artifacts, and so of spans and metrics; the program's own is not touched, and ``time.sleep()`` sleeps.

    Raises ConfigurationError for an advance that goes back, and for what is no time.

    >>> from otelflow import flow
    >>> from otelflow.testing import FakeClock
    >>> with FakeClock() as clock:
    ...     run = flow(lambda: clock.advance(90))().execute()
    >>> run.duration
    90.0
    """

    def __init__(self, start: float = 1_000_000_000.0) -> None:
        if not math.isfinite(start):
            raise ConfigurationError(f"FakeClock cannot begin at {start!r}: it takes seconds since the epoch")
        self._now = round(start * _NANOSECONDS)
        self._steady, self._steady_since = 0, 0

    def advance(self, seconds: float) -> None:
        """Let *seconds* (float) pass. Raises ConfigurationError where they are less than none, or no number.

        >>> otelflow.testing.FakeClock().advance(0.5)
        """
        if not 0 <= seconds < math.inf:
            ways = "go back" if seconds < 0 else "go on"
            raise ConfigurationError(f"FakeClock.advance() cannot {ways}, {seconds!r:.60} seconds")
        self._now += round(seconds * _NANOSECONDS)

    def time_ns(self) -> int:
        """Return the time in nanoseconds since the epoch.

        >>> otelflow.testing.FakeClock(start=1.5).time_ns()
        1500000000
        """
        return self._now

    def time(self) -> float:
        """Return the time in seconds since the epoch.

        >>> otelflow.testing.FakeClock(start=1.5).time()
        1.5
        """
        return self._now / _NANOSECONDS

    def perf_counter(self) -> float:
        """Return the time in seconds that is never set; inside ``with``, it goes on from that of the process.

        >>> otelflow.testing.FakeClock(start=1.5).perf_counter()
        1.5
        """
        return self._steady + (self._now - self._steady_since) / _NANOSECONDS

    def __getattr__(self, name: str) -> Any:
        return getattr(real_clock, name)  # it stands where the module does

    def __enter__(self) -> Self:
        self._before = vars(engine)["clock"]  # that of a test around this one, perhaps
        # Runs that began before may end now, and a process knows of each run whether it began before its fork. Whole
        # seconds: then what is added is not rounded.
        self._steady, self._steady_since = math.ceil(self._before.perf_counter()), self._now
        for reader in _READERS:
            vars(reader)["clock"] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Put back what was there."""
        for reader in _READERS:
            vars(reader)["clock"] = self._before
