"""Where messages, artifacts and results of a run are written: on its span when it ends, as log records at once.

``OTELFLOW_EVENTS`` is the switch. Listeners are told by ``events``, the flow's own log is kept by ``messages``.
"""

import logging
from typing import Final

from otelflow import semconv
from otelflow._core.process import losses
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers
from otelflow._core.runs.run import Entry, Journal, Run

_LEVELS: Final = logging.getLevelNamesMapping()
_NAMED: Final = frozenset(_LEVELS.values())


class _JournalWriter(observers.Observer):
    """Keeps each entry in the journal of its run, or sends it as a log record, or both."""

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Write *entry*, unless it is a message below the level that gets onto a span."""
        in_force = settings()
        if entry.event_name == semconv.MESSAGE_EVENT and entry.level < _LEVELS[in_force.message_level]:
            return
        if in_force.events != "log" and run.is_recording:
            journal_of(run).add(entry)
        if in_force.events != "span":
            _emit_log_record(run, entry)


observers.always_add(_JournalWriter())


def journal_of(run: Run) -> Journal:
    """Return the journal of *run*, which most runs never need."""
    if run.journal is None:
        run.journal = Journal()
    return run.journal


def severity(level: int) -> str:
    """Return the name of a logging level, or of the standard one below it."""
    return logging.getLevelName(level if level in _NAMED else max(10, min(50, level // 10 * 10)))


def _emit_log_record(run: Run, entry: Entry) -> None:
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger  # noqa: PLC0415 only when asked for

    is_message = entry.event_name == semconv.MESSAGE_EVENT
    record = LogRecord(
        timestamp=entry.time_ns,
        observed_timestamp=entry.time_ns,
        context=run.context if run.is_recording else None,
        severity_text=severity(entry.level),
        severity_number=SeverityNumber(max(1, min(21, entry.level // 10 * 4 + 1))),
        body=entry.body,
        attributes=run.attributes() if is_message else {**run.attributes(), **entry.attributes()},
        event_name=None if is_message else entry.event_name,
    )
    try:
        get_logger(semconv.SCOPE).emit(record)
    except Exception as error:  # noqa: BLE001 log record processors are foreign code
        losses.record("logs", "emit_failed", "A log record could not be emitted; the run goes on", error=error)
