"""What a run has to say: kept in its flow's log, written on its span when it ends, told to listeners at once."""

import functools
import logging
import operator
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from otelflow import semconv
from otelflow._core import inside
from otelflow._core.inside import journal
from otelflow._core.process import clock
from otelflow._core.process.settings import settings
from otelflow._core.runs import log_records, observers
from otelflow._core.runs.bounded import BoundedLog, Bounds
from otelflow._core.runs.observers import observed
from otelflow._core.runs.run import Run
from otelflow._core.text.redaction import recorded
from otelflow._core.text.safe_str import bounded_name, comes_from_outside, without_ansi

_PLAIN: Final = object()

_IN_MEMORY: Final = 1_000

# Lifecycle lines, with the colours of OSBot-Utils; ``{}`` stands for what is known only when it is read
EXECUTING_FLOW: Final = "Executing flow run '\x1b[1m\x1b[32m{}\x1b[0m\x1b[0m'"
EXECUTING_TASK: Final = "Executing task '\x1b[34m{}\x1b[0m'"
TASK_VALUE: Final = "\x1b[38;5;8mTask return value\x1b[0m: \x1b[1m{}\x1b[0m"
FLOW_VALUE: Final = "\x1b[38;5;8mFlow return value\x1b[0m: \x1b[1m{}\x1b[0m"
TASK_ERROR: Final = "\x1b[31mError executing {}\x1b[0m"
FLOW_ERROR: Final = "\x1b[1m\x1b[31mError executing flow: {}\x1b[0m\x1b[0m"
FINISHED_TASK: Final = "Finished task '\x1b[34m{}\x1b[0m'"
FINISHED_FLOW: Final = "Finished flow run '\x1b[1m\x1b[32m{}\x1b[0m\x1b[0m'"


_CREATED: Final = "Created flow run '\x1b[1m\x1b[32m"


def created(flow_run_id: str, flow_name: str) -> str:
    """Return the first line of a flow's run."""
    return f"{_CREATED}{flow_run_id}\x1b[0m\x1b[0m' for flow '\x1b[1m\x1b[34m{flow_name}\x1b[0m\x1b[0m'"


def is_created(line: "Line") -> bool:
    """Tell whether *line* is the first one of a flow's run, which comes before its execution."""
    return line.message.startswith(_CREATED)


class Line(tuple[int, int, str, Any, "str | None"]):  # to make a NamedTuple takes a fiftieth of an import
    """One message: when (ns since the epoch), how important, and its text, which is made when it is first read."""

    __slots__ = ()

    if TYPE_CHECKING:
        time_ns: int
        level: int
        message: str
        argument: Any
        task_run_id: str | None
    else:
        time_ns = property(operator.itemgetter(0))
        level = property(operator.itemgetter(1))
        message = property(operator.itemgetter(2))
        argument = property(operator.itemgetter(3))
        task_run_id = property(operator.itemgetter(4))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as text: the value that stands in it may be one that cannot, such as a connection."""
        return _as_text, (self.time_ns, self.level, self.text, self.task_run_id)

    @property
    def text(self) -> str:
        """The message with its ANSI colours."""
        if self.argument is _PLAIN:
            return self.message
        return self.message.replace("{}", recorded(self.argument, settings().value_limit))

    @property
    def plain_text(self) -> str:
        """The message without ANSI colours."""
        return without_ansi(self.text)

    # As an entry of a run:

    @property
    def event_name(self) -> str:
        """The name of its span event."""
        return semconv.MESSAGE_EVENT

    @property
    def is_important(self) -> bool:
        """Whether it is kept when others are left out."""
        return self.level >= logging.ERROR

    @property
    def body(self) -> str:
        """The text of its log record."""
        return self.plain_text

    def attributes(self) -> dict[str, str | int]:
        """Return the attributes of its span event."""
        return {semconv.MESSAGE_TEXT: self.plain_text, semconv.MESSAGE_SEVERITY: log_records.severity(self.level)}

    def payload(self) -> dict[str, Any]:
        """Return what a listener's event has as ``data``."""
        return {"message_data": inside.events.message_data(self.level, self.text)}


# What the class itself does, without a call in between: every run logs two lines at least.
_new_line: Final[Callable[[tuple[int, int, str, Any, str | None]], Line]] = functools.partial(tuple.__new__, Line)


def _as_text(time_ns: int, level: int, text: str, task_run_id: str | None) -> Line:
    return _new_line((time_ns, level, text, _PLAIN, task_run_id))


def is_error(line: Line) -> bool:
    """Tell whether *line* is kept when others must be left out; by name, since a flow that travels takes it along."""
    return line[1] >= logging.ERROR  # by its place: each line that is pushed out is asked


#: What a log of messages keeps: the first and last 1,000 messages, and 1,000 errors
BOUNDS: Final = Bounds(_IN_MEMORY, _IN_MEMORY, _IN_MEMORY, is_error)


class Log(BoundedLog[Line]):
    """The messages of a flow: written as plain tuples; lines are made of them when they are read."""

    __slots__ = ()

    def append(self, item: tuple[int, int, str, Any, str | None]) -> None:
        """Add what a ``Line`` is made of.

        As any log does, but by code of its own, in which CPython meets one class only: that is a twentieth of a task
        without a span.
        """
        items: list[Any] = self._items
        items.append(item)
        if len(items) > self._bounds.most:
            self._leave_out_surplus()

    def _all(self) -> list[Line]:
        return [*map(_new_line, super()._all())]

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Travel as lines, which know how."""
        state = {name: getattr(self, name) for name in BoundedLog.__slots__}
        for name in ("_items", "_important"):
            state[name] = [*map(_new_line, state[name])]
        return None, state


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
    if run.settings.logging_enabled and not observers.in_listener():
        text = recorded(message, settings().value_limit)
        own_id = "" if task_run_id is None else bounded_name(task_run_id)  # it may be anything
        now = clock.time_ns()
        if run.is_closed and run.is_open:  # the rest of a printed line, which was printed before
            now = min(now, run.ended_ns)
        # That of a log record is by another clock, if a program has put one in the place of Python's.
        moment = time_ns if run.started_ns <= time_ns <= now else now
        line = _new_line((moment, level, text, _PLAIN, own_id or run.task_run_id))
        if run.flow is not None and run.settings.log_to_memory:
            run.flow_state.log.append(line)
        if run.settings.log_to_console and not printed:
            to_stderr(for_console(line, has_colors=shows_colors(sys.stderr)))
        observers.tell_entry(run, line)


def log_lifecycle(
    run: Run,
    level: int,
    template: str,
    argument: object = _PLAIN,
    time_ns: int = 0,
    is_private: bool = False,
) -> None:
    """Log a line about *run* itself: for its flow's log and for listeners.

    The span shows this already, so the line is written on it only at level DEBUG, and never if *is_private*: a value
    that is not to be recorded. Each run logs two lines or more: nothing is done here that is not needed.
    """
    own, state = run.settings, run.flow_state
    if own.logs_for_flow_only and not observed.lifecycle:
        if state is not None:
            state.log.append((time_ns or clock.time_ns(), level, template, argument, run.task_run_id))
    elif own.logging_enabled:
        line = _new_line((time_ns or clock.time_ns(), level, template, argument, run.task_run_id))
        if state is not None and own.log_to_memory:
            state.log.append(line)
        if own.log_to_console:
            to_stderr(for_console(line, has_colors=shows_colors(sys.stderr)))
        if own.message_level == _LOWEST and not is_private:
            observers.tell_entry(run, line)
        elif observed.lifecycle:
            observers.tell_lifecycle(run, line)


_LOWEST: Final = "DEBUG"


def leave_out(run: Run, count: int) -> None:
    """Count *count* messages of *run* that are not kept."""
    if run.flow is not None and run.settings.log_to_memory:
        run.flow_state.log.leave_out(count)
    if run.is_recording:
        journal.journal_of(run).leave_out(semconv.MESSAGE_EVENT, count)


def shows_colors(stream: object) -> bool:
    """Tell whether *stream* is a terminal whose user did not set ``NO_COLOR``."""
    try:
        return bool(stream.isatty()) and not os.environ.get("NO_COLOR")  # type: ignore[attr-defined]  # see below
    except Exception as error:  # there is no stream, it is closed, or it is foreign code
        if comes_from_outside(error):
            raise
        return False


def print_traceback(error: BaseException) -> None:
    """Write the traceback of *error* to stderr; it is no message of the run, whose span has it."""
    from otelflow._core.text.visible import clean  # noqa: PLC0415 only when asked for

    text = "".join(traceback.format_exception(error))
    to_stderr(clean(text, len(text)))


def for_console(line: Line, *, has_colors: bool) -> str:
    """Return *line* as it is written to a stream that obeys at most its colours."""
    from otelflow._core.text.visible import clean, colored  # noqa: PLC0415 only when asked for

    return (colored(line.text) if has_colors else clean(line.text, len(line.text))) + "\n"


def to_stderr(text: str) -> None:
    """Write *text* to stderr, if that takes it."""
    _write(sys.stderr, text)


def to_stdout(text: str) -> None:
    """Write *text* to stdout, if that takes it."""
    _write(sys.stdout, text)


def _write(stream: Any, text: str) -> None:
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    except Exception as error:  # stderr is closed, is missing or is foreign code; the message is kept elsewhere
        if comes_from_outside(error):
            raise
