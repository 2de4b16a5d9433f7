"""What a schedule does now: a decision without a clock, a thread or a flow."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from otelflow.serve._times import Times

Overlap = Literal["refuse", "queue", "allow"]
OVERLAPS: Final[tuple[str, ...]] = get_args(Overlap)

# Why a run did not take place
OVERLAPPED: Final = "overlap"  # the run before it went on
LATE: Final = "late"  # several times fell due before we looked, as after a sleep of the machine: the newest runs
QUEUE_FULL: Final = "queue_full"
NOT_STARTED: Final = "not_started"  # no thread was to be had
STOPPED: Final = "stopped"  # it waited when the serving ended

#: How many runs may wait, or go on side by side
MOST_RUNS: Final = 100
# If the clock goes back by some minutes, no run comes again. If it goes back by more than three hours (as cron has it),
# it was wrong before: plan anew, since to wait until it is as late again might take years.
_LARGEST_CORRECTION: Final = 3 * 3_600.0


@dataclass
class Decision:
    """What to do: the times whose runs start, and how many do not take place, by reason."""

    starts: list[float] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)


class Plan:
    """Decides what becomes of each time of *times*: it starts, waits, or is missed; nothing is lost without a count.

    When several times fell due before we looked, only the newest runs. *overlap* says what becomes of a run while the
    one before it goes on.
    """

    def __init__(self, times: Times, overlap: Overlap, now: float) -> None:
        self._times, self._overlap = times, overlap
        self._latest_look = now
        self._waiting: deque[float] = deque()
        self.upcoming = times.first(now)

    def look(self, now: float, running: int) -> Decision:
        """Return what to do *now*, while *running* runs go on."""
        if now < self._latest_look - _LARGEST_CORRECTION:
            self.upcoming = self._times.first(now)
            self._latest_look = now
        self._latest_look = max(now, self._latest_look)
        number, newest, self.upcoming = self._times.due(self.upcoming, now)
        decision = Decision()
        if number > 1:
            decision.missed[LATE] = number - 1
        if number:
            self.arrive(newest, running, decision)
        if self._waiting and not running:
            decision.starts.append(self._waiting.popleft())
        return decision

    def arrive(self, moment: float, running: int, decision: Decision) -> None:
        if self._overlap == "queue":
            if len(self._waiting) < MOST_RUNS:
                self._waiting.append(moment)
            else:
                decision.missed[QUEUE_FULL] += 1
        elif running >= (MOST_RUNS if self._overlap == "allow" else 1):
            decision.missed[OVERLAPPED] += 1
        else:
            decision.starts.append(moment)

    def stop(self) -> Counter[str]:
        """Return how many waited, and do not take place."""
        missed = Counter({STOPPED: len(self._waiting)} if self._waiting else {})
        self._waiting.clear()
        return missed
