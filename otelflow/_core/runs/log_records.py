"""What happens in a run as OpenTelemetry's log records, for those who want no span events, or both."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import INVALID_SPAN

from otelflow import semconv
from otelflow._core.process import clock, losses
from otelflow._core.runs.run import Entry, Run
from otelflow._version import __version__

# Not those of ``logging``, which a program may have renamed, as for colours.
_NAMES: Final = {0: "NOTSET", 10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


def severity(level: int) -> str:
    """Return the name of a standard logging level, or of the one below it."""
    return _NAMES[level if level in _NAMES else max(10, min(50, level // 10 * 10))]


def emit_entry(run: Run, entry: Entry) -> None:
    """Emit *entry* of *run*: a message as a plain record, anything else as an event with its attributes."""
    if entry.event_name == semconv.MESSAGE_EVENT:
        _emit(run, entry.time_ns, entry.level, entry.body, {}, None)
    else:
        _emit(run, entry.time_ns, entry.level, entry.body, entry.attributes(), entry.event_name)


def emit_exception(run: Run) -> None:
    """Emit the exception with which *run* has ended."""
    ending = run.ending
    level = logging.ERROR if ending.is_failure else logging.WARNING
    attributes = ending.exception_attributes()
    _emit(run, clock.time_ns(), level, ending.error_message or ending.error_type, attributes, semconv.EXCEPTION_EVENT)


def _emit(run: Run, time_ns: int, level: int, body: str, attributes: Mapping[str, Any], event_name: str | None) -> None:
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger  # noqa: PLC0415 only when asked for

    record = LogRecord(
        timestamp=time_ns,
        observed_timestamp=time_ns,
        context=run.context if run.span is not INVALID_SPAN else None,
        severity_text=severity(level),
        severity_number=SeverityNumber(max(1, min(21, level // 10 * 4 + 1))),
        body=body,
        attributes={**run.attributes(), **attributes},
        event_name=event_name,
    )
    try:
        get_logger(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL).emit(record)
    except Exception as error:  # noqa: BLE001 log record processors are foreign code
        losses.record("logs", "emit_failed", "A log record could not be emitted; the run goes on", error=error)
