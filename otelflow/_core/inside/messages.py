"""What a run has to say: kept in its flow's log, written on its span when it ends, told to listeners at once."""

import functools
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from otelflow._core.inside import events, journal
from otelflow._core.process.settings import settings
from otelflow._core.runs.bounded import BoundedLog
from otelflow._core.runs.run import Run
from otelflow._core.text.redaction import recorded

_PLAIN: Final = object()

_IN_MEMORY: Final = 1_000

# Lifecycle lines, with the colours of the seed; ``{}`` stands for what is known only when somebody reads
EXECUTING_FLOW: Final = "Executing flow run '\x1b[1m\x1b[32m{}\x1b[0m\x1b[0m'"
EXECUTING_TASK: Final = "Executing task '\x1b[34m{}\x1b[0m'"
TASK_VALUE: Final = "\x1b[38;5;8mTask return value\x1b[0m: \x1b[1m{}\x1b[0m"
FLOW_VALUE: Final = "\x1b[38;5;8mFlow return value\x1b[0m: \x1b[1m{}\x1b[0m"
TASK_ERROR: Final = "\x1b[31mError executing {}\x1b[0m"
FLOW_ERROR: Final = "\x1b[31mError executing flow: {}\x1b[0m"
FINISHED_TASK: Final = "Finished task '\x1b[34m{}\x1b[0m'"
FINISHED_FLOW: Final = "Finished flow run '\x1b[1m\x1b[32m{}\x1b[0m\x1b[0m'"


def created(flow_run_id: str, flow_name: str) -> str:
    """Return the first line of a flow's run."""
    flow_run = f"\x1b[1m\x1b[32m{flow_run_id}\x1b[0m\x1b[0m"
    return f"Created flow run '{flow_run}' for flow '\x1b[1m\x1b[34m{flow_name}\x1b[0m\x1b[0m'"


class Line(NamedTuple):
    """One message: when (ns since the epoch), how important, and what; ``text`` is made when somebody reads it."""

    time_ns: int
    level: int
    message: str
    argument: Any = _PLAIN
    task_run_id: str | None = None

    @property
    def text(self) -> str:
        """The message with its ANSI colours."""
        if self.argument is _PLAIN:
            return self.message
        return self.message.replace("{}", recorded(self.argument, settings().value_limit), 1)

    @property
    def plain_text(self) -> str:
        """The message without ANSI colours."""
        return events.without_ansi(self.text)


# What the class itself does, without a call in between: every run says two lines at least.
_new_line: Final[Callable[[tuple[int, int, str, Any, str | None]], Line]] = functools.partial(tuple.__new__, Line)


def new_log() -> BoundedLog[Line]:
    """Return a log that keeps the first and last 1,000 messages and 1,000 errors."""
    return BoundedLog(_IN_MEMORY, _IN_MEMORY, _IN_MEMORY, journal.is_error)


def write(
    run: Run,
    level: int,
    message: object,
    *,
    printed: bool = False,
    time_ns: int = 0,
    task_run_id: str | None = None,
) -> None:
    """Take *message* as one of *run*: redacted, bounded, with its own timestamp."""
    if run.config.logging_enabled and not events.in_listener():
        line = Line(
            time_ns or time.time_ns(),
            level,
            recorded(message, settings().value_limit),
            task_run_id=task_run_id or run.task_run_id,
        )
        _keep(run, line)
        if level >= _span_level():
            journal.message(run, line)
        _tell(run, line, printed=printed)


def lifecycle(run: Run, level: int, template: str, argument: object = _PLAIN) -> None:
    """Take a line that the engine itself says; a span says the same by being there, so it is not repeated on it."""
    config = run.config
    if config.logging_enabled:
        line = _new_line((time.time_ns(), level, template, argument, run.task_run_id))
        flow = run.flow
        if flow is not None and config.log_to_memory:
            flow.log.append(line)
        if settings().message_level == _LOWEST and level >= logging.DEBUG:
            journal.message(run, line)
        if config.log_to_console or config.flow_data__capture_events or events.is_heard(_MESSAGE):
            _tell(run, line, printed=False)


def leave_out(run: Run, count: int) -> None:
    """Count *count* messages of *run* that nobody will see."""
    if run.flow is not None and run.config.log_to_memory:
        run.flow.log.leave_out(count)
    journal.leave_out_messages(run, count)


def _keep(run: Run, line: Line) -> None:
    if run.flow is not None and run.config.log_to_memory:
        run.flow.log.append(line)


def _span_level() -> int:
    return _LEVELS[settings().message_level]


_LEVELS: Final = logging.getLevelNamesMapping()
_LOWEST: Final = "DEBUG"
_MESSAGE: Final = events.Flow_Run__Event_Type.FLOW_MESSAGE


def _tell(run: Run, line: Line, *, printed: bool) -> None:
    if run.config.log_to_console and not printed:
        _to_console(line.text if shows_colors(sys.stderr) else line.plain_text)
    if journal.is_wanted(run, events.Flow_Run__Event_Type.FLOW_MESSAGE):
        data = {"message_data": events.message_data(line.level, line.text)}
        journal.announce(
            run, events.Flow_Run__Event_Type.FLOW_MESSAGE, data, time_ns=line.time_ns, log_level=line.level
        )


def shows_colors(stream: object) -> bool:
    """Tell whether *stream* is a terminal whose user did not set ``NO_COLOR``."""
    try:
        return bool(stream.isatty()) and not os.environ.get("NO_COLOR")  # type: ignore[attr-defined] # see below
    except (AttributeError, ValueError):  # there is no stream, or it is closed
        return False


def _to_console(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
    except (OSError, ValueError, AttributeError):
        return  # stderr is closed, or there is none; the message is kept elsewhere
