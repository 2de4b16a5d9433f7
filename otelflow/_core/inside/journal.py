"""Where messages, artifacts and results of a run are written: on its span when it ends, as log records at once.

``OTELFLOW_EVENTS`` is the switch. Listeners are told by ``events``, the flow's own log is kept by ``messages``.
"""

import logging
from typing import Final

from otelflow import semconv
from otelflow._core.process import forks, losses
from otelflow._core.process.settings import settings
from otelflow._core.runs import log_records, observers
from otelflow._core.runs.run import Entry, Journal, Run

# What a lost entry is called in the counts
_SIGNALS: Final = {
    semconv.MESSAGE_EVENT: "messages",
    semconv.ARTIFACT_EVENT: "artifacts",
    semconv.RESULT_EVENT: "results",
}
_LEVELS: Final = logging.getLevelNamesMapping()


class _JournalWriter(observers.Observer):
    """Keeps each entry in the journal of its run, or sends it as a log record, or both."""

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Write *entry*, unless it is a message below the level that gets onto a span."""
        in_force = settings()
        if not is_wanted(entry):
            return
        if in_force.events != "log":
            if run.is_open and run.clock >= forks.fork.clock:
                if run.is_recording:
                    journal_of(run).add(entry)
            elif in_force.events == "span" and (run.is_recording or (run.has_ended and not run.is_closed)):
                signal = _SIGNALS[entry.event_name]
                if run.is_open:
                    losses.lost(signal, "forked")  # and no warning: each child of a pool would write it
                else:
                    message = "Some %s came after the end of their run, and stand on no span"
                    losses.record(signal, "run_ended", message, signal)
        if in_force.events != "span":
            log_records.emit_entry(run, entry)


observers.always_add(_JournalWriter())


def is_wanted(entry: Entry) -> bool:
    """Tell whether *entry* gets onto a span: no message below the level that is asked for does."""
    return entry.event_name != semconv.MESSAGE_EVENT or entry.level >= _LEVELS[settings().message_level]


def journal_of(run: Run) -> Journal:
    """Return the journal of *run*, which most runs never need."""
    if run.journal is None:
        run.journal = Journal()
    return run.journal
