"""What is counted besides runs and losses: runs that did not take place, and the waiting for limits."""

from collections import Counter
from typing import Final

from otelflow import semconv
from otelflow._core.process import forks
from otelflow._core.process.process import State

_MOST_NAMES: Final = 1_000


class _Tallies(State):
    """The counts of this process."""

    def __init__(self) -> None:
        # Emptied and never replaced: the module shows them under names of its own.
        self.missed_runs: Final[Counter[tuple[str, str]]] = Counter()
        self.limit_waits: Final[Counter[str]] = Counter()
        self.limit_seconds: Final[dict[str, float]] = {}
        super().__init__()

    def reset(self) -> None:
        """Count from 0."""
        self.missed_runs.clear()
        self.limit_waits.clear()
        self.limit_seconds.clear()

    def begin_anew(self) -> None:
        """Count in a forked child what it does itself."""
        self.reset()


_lock: Final = forks.new_lock()
_tallies: Final = _Tallies()

#: (schedule, reason) → how many runs of it did not take place
missed_runs: Final = _tallies.missed_runs
#: limit → how many runs went through it, with or without a wait
limit_waits: Final = _tallies.limit_waits
#: limit → how many seconds they waited for it
limit_seconds: Final = _tallies.limit_seconds


def runs_missed(schedule: str, reason: str, count: int = 1) -> None:
    """Count *count* runs of *schedule* that *reason* kept from taking place; 0 lets the series begin."""
    with _lock:
        is_full = len(missed_runs) >= _MOST_NAMES and (schedule, reason) not in missed_runs
        missed_runs[semconv.OVERFLOW if is_full else schedule, reason] += count


def limit_passed(limit: str, seconds: float, count: int = 1) -> None:
    """Count one run, or *count* of them, that waited *seconds* for *limit*."""
    with _lock:
        name = semconv.OVERFLOW if len(limit_waits) >= _MOST_NAMES and limit not in limit_waits else limit
        limit_waits[name] += count
        limit_seconds[name] = limit_seconds.get(name, 0.0) + seconds
