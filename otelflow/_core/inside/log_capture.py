"""Loggers whose records become messages of the run that they were written in.

What the program's own handlers get, and what ``logging.basicConfig()`` finds, stays as it is without us: no handler is
added. ``Logger.callHandlers`` is wrapped, as ``print`` is, and a captured logger lets through what is to be recorded;
what its own level would have held back reaches no handler of the program.
"""

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from otelflow._core.inside import messages
from otelflow._core.process import forks, losses
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers
from otelflow._core.runs.current import open_run_here
from otelflow._core.runs.endings import stack_trace
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import comes_from_outside, safe_str

_RUN_LOGGER: Final = "otelflow.run"
_SHOWN_BY: Final = "callHandlers"  # the method of a logger that lets its handlers have a record
# Telemetry's own log records are no messages of a run: they may complain of the very recording.
_OF_TELEMETRY: Final = frozenset({"otelflow", "otelflow_exporters", "opentelemetry"})
_NOTHING: Final = frozenset({"off", "none"})

_CallHandlers: TypeAlias = Callable[[logging.Logger, logging.LogRecord], None]


class _Taken(threading.local):
    """The record that this thread has taken last: it may pass several captured loggers, one after the other.

    A mark on the record itself would be a field that the program's own handlers write out.
    """

    record: "weakref.ref[logging.LogRecord] | None" = None  # a record may hold the frames of an exception

    def take(self, record: logging.LogRecord) -> None:
        """Remember that *record* was taken; the class of a record factory may have no room for a weak reference."""
        try:
            self.record = weakref.ref(record)
        except TypeError:
            self.record = None

    def holds(self, record: logging.LogRecord) -> bool:
        """Tell whether *record* was taken last."""
        return self.record is not None and self.record() is record


_taken: Final = _Taken()


class _Level(int):
    """A level that we have given a logger; an equal one that the program sets is another object."""

    __slots__ = ()


def _call_handlers(record: logging.LogRecord) -> None:
    """Let the run logger's own handlers have *record*, the root's what they would show of it, and the current run.

    It is what the run logger does in the place of ``callHandlers``, which would let the root have every level. The
    logger still says that it propagates: pytest hangs its handlers on each that does not, and had every record twice.
    """
    _taken.take(record)
    for handler in logging.getLogger(_RUN_LOGGER).handlers:
        if _is_from(handler.level, record):
            handler.handle(record)
    root = logging.getLogger()
    is_shown = False
    if record.levelno >= _capture.own_level(root):
        is_shown = bool(root.handlers) or _is_for_last_resort(record)
        if root.handlers or logging.lastResort is not None:
            root.callHandlers(record)  # also where it has no handler: another library may have wrapped this
    _take(record, printed=is_shown)


def _is_for_last_resort(record: logging.LogRecord) -> bool:
    return logging.lastResort is not None and _is_from(logging.lastResort.level, record)


def _is_from(level: int, record: logging.LogRecord) -> bool:
    """Tell whether *record* is of *level* or above; one that does not say is left to the handlers."""
    own_level: object = record.levelno
    return not isinstance(own_level, int) or own_level >= level


def _take(record: logging.LogRecord, *, printed: bool) -> None:
    try:
        run = open_run_here()
        if run is not None:
            level, text = int(record.levelno), message_of(record)
            messages.write(run, level, text, printed=printed, time_ns=_time_of(record))
    except Exception as error:  # noqa: BLE001 a record of logging.makeLogRecord() may have anything, or lack it
        losses.record("messages", "failed", "A log record could not be made a message", error=error)


def _time_of(record: logging.LogRecord) -> int:
    """Return when *record* was made, in nanoseconds since 1970, or 0 if it does not say."""
    try:
        return int(record.created * 1_000_000_000)
    except (TypeError, ValueError, OverflowError):
        return 0


def message_of(record: logging.LogRecord) -> str:
    """Return what *record* says, and the traceback of its exception, if it has one."""
    try:
        text = record.getMessage()
    except BaseException as trouble:  # arguments that do not fit their format are the program's to report
        if comes_from_outside(trouble):
            raise
        text = safe_str(record.msg, settings().value_limit)
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is not None:  # logger.exception(…): what happened is the message
        text = f"{text}\n{stack_trace(error, settings().value_limit)}"
    return text


def get_run_logger() -> logging.Logger:
    """Return a logger (``logging.Logger``) whose records are messages of the current run.

    Outside a run it is an ordinary one; within one, the application's own handlers get the records as well.

    >>> from otelflow import Flow, get_run_logger
    >>> def greet():
    ...     get_run_logger().info("hello")
    >>> Flow().setup(greet).execute().log_messages()[-1]
    'hello'
    """
    logger = logging.getLogger(_RUN_LOGGER)
    if _SHOWN_BY not in vars(logger):
        vars(logger)[_SHOWN_BY] = _call_handlers
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    logger.disabled = False  # logging.config disables every logger that it does not know
    return logger


class _Capture(State, observers.Observer):
    """The loggers whose records become messages, as the settings name them: ``root`` for all that reaches the root."""

    names: frozenset[str]
    own_levels: dict[logging.Logger, int]
    wrapper: _CallHandlers | None
    original: _CallHandlers

    def __init__(self) -> None:
        self.lock = forks.new_lock()
        self.names, self.own_levels, self.wrapper = frozenset(), {}, None
        super().__init__()

    def reset(self) -> None:
        """Capture nothing."""
        self.use(())

    def use(self, names: Iterable[str]) -> None:
        """Capture the loggers *names*, and no others."""
        patched: Any = logging.Logger
        with self.lock:
            self.names = frozenset(names) - _NOTHING
            if self.names and self.wrapper is None:
                self.original = logging.Logger.callHandlers
                self.wrapper = _wrap(self.original)
                patched.callHandlers = self.wrapper
            elif not self.names and self.wrapper is not None:
                if logging.Logger.callHandlers is self.wrapper:  # else another library has wrapped it since
                    patched.callHandlers = self.original
                self.wrapper = None
            if self.names or self.own_levels:  # else nothing is asked of the settings, as at import
                self._lower_levels(logging.getLevelNamesMapping()[settings().message_level])

    def _lower_levels(self, lowest: int) -> None:
        """Let captured loggers make records from *lowest* on, and the others those that they made before."""
        captured = {logging.getLogger(None if name == "root" else name) for name in self.names}
        for logger in list(self.own_levels):
            if logger not in captured or not isinstance(logger.level, _Level):
                own_level = self.own_levels.pop(logger)
                if isinstance(logger.level, _Level):
                    logger.setLevel(own_level)
        for logger in captured:
            if not isinstance(logger.level, _Level) and logger.getEffectiveLevel() > lowest:
                self.own_levels[logger] = logger.level
                logger.setLevel(_Level(lowest))

    def own_level(self, logger: logging.Logger | None) -> int:
        """Return the level from which *logger* makes records as the program has set it up."""
        while logger is not None:
            level = self.own_levels.get(logger, logging.NOTSET) if isinstance(logger.level, _Level) else logger.level
            if level:
                return level
            logger = logger.parent
        return logging.NOTSET

    def is_captured(self, logger: logging.Logger) -> bool:
        """Tell whether the records of *logger* reach one that is captured."""
        ancestor: logging.Logger | None = logger
        while ancestor is not None:
            if ("root" if ancestor.parent is None else ancestor.name) in self.names:
                return True
            ancestor = ancestor.parent if ancestor.propagate else None
        return False

    def run_started(self, run: Run) -> None:
        """Capture anew where the program has configured its logging since, which sets levels."""
        if run.parent is None:
            capture_configured()


def _wrap(original: _CallHandlers) -> _CallHandlers:
    """Return what lets the program's handlers have a record exactly as *original*, and then the current run."""

    def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 tracebacks show the name
        if _capture.wrapper is not callHandlers:  # another library, which wrapped it, has kept it
            original(logger, record)
            return
        is_shown = not _capture.own_levels or _is_from(_capture.own_level(logger), record)
        if is_shown:
            original(logger, record)
        if str(record.name).partition(".")[0] in _OF_TELEMETRY or _taken.holds(record):
            return
        if _capture.is_captured(logger):
            _taken.take(record)
            _take(record, printed=is_shown and (logger.hasHandlers() or _is_for_last_resort(record)))

    return callHandlers


_capture: Final = _Capture()


def capture(names: Iterable[str]) -> None:
    """Let the records of the loggers *names* become messages ("root" for all that reaches the root); replaces."""
    _capture.use(names)
    if _capture.names:
        observers.add_observer(_capture)
    else:
        observers.remove_observer(_capture)


def capture_configured() -> None:
    """Capture what the settings in force ask for."""
    names = settings().capture_loggers
    if names or _capture.names:
        capture(names)
