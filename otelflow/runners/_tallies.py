"""What a worker counts besides runs: told in its next report, once, and counted in the process of the flow."""

from collections import Counter
from typing import Final, NamedTuple

from otelflow._core.process import forks, losses, tallies
from otelflow._core.process.process import State


class Counts(NamedTuple):
    """What was lost, which listeners and hooks have raised, and who went through which limit."""

    dropped: Counter[tuple[str, str]]
    listener_errors: Counter[str]
    limit_waits: Counter[str]
    limit_seconds: dict[str, float]


class _Told(State):
    """What this process has told already."""

    counts: Counts

    def reset(self) -> None:
        """Have told nothing."""
        self.counts = Counts(Counter(), Counter(), Counter(), {})


_told: Final = _Told()
_lock: Final = forks.new_lock()


def new_counts() -> Counts:
    """Return what was counted since the last call: it is told now, whichever of the orders here it belongs to."""
    with _lock:
        before = _told.counts
        now = Counts(
            Counter(losses.dropped), Counter(losses.listener_errors), Counter(tallies.limit_waits),
            tallies.limit_seconds.copy(),
        )  # fmt: skip
        _told.counts = now
        seconds = {name: total - before.limit_seconds.get(name, 0.0) for name, total in now.limit_seconds.items()}
        return Counts(
            now.dropped - before.dropped,
            now.listener_errors - before.listener_errors,
            now.limit_waits - before.limit_waits,
            {name: total for name, total in seconds.items() if total > 0},
        )


def count(counts: Counts) -> None:
    """Count here what a worker has told."""
    for (signal, reason), number in counts.dropped.items():
        losses.lost(signal, reason, number)
    for name, number in counts.listener_errors.items():
        losses.listener_failed_elsewhere(name, number)
    for limit, number in counts.limit_waits.items():
        tallies.limit_passed(limit, counts.limit_seconds.get(limit, 0.0), number)
