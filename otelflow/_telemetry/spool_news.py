"""What has happened in runs that are open: a spool writes it each second, and it is told if the process is lost."""

from typing import Final

from opentelemetry.sdk.trace import Event

from otelflow._core.process import forks
from otelflow._core.runs import observers
from otelflow._core.runs.run import Entry, Run

# Of more runs that have something new within one second, the rest is written a second later.
_MOST_RUNS: Final = 1_000


class SpoolNews(observers.Observer):
    """Knows the open runs in which something has happened since ``take()``."""

    def __init__(self) -> None:
        self._begin()
        forks.begin_anew(self, SpoolNews._begin)

    def _begin(self) -> None:
        """Know of no run; those that are open in a forked child are its parent's."""
        self._runs: dict[int, Run] = {}

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Remember *run*."""
        if len(self._runs) < _MOST_RUNS:
            self._runs[id(run)] = run

    def take(self) -> list[tuple[int, list[Event]]]:
        """Return for each of those runs the id of its span, and what its span would hold if it ended now."""
        runs, self._runs = self._runs, {}
        news = []
        for run in runs.values():
            if not run.is_open or not run.is_recording or run.journal is None:
                continue
            try:
                entries = list(run.journal.entries())
            except RuntimeError:  # another thread adds to it: the next time
                self._runs[id(run)] = run
                continue
            events = [Event(entry.event_name, entry.attributes(), entry.time_ns) for entry in entries]
            news.append((run.span.get_span_context().span_id, events))
        return news
