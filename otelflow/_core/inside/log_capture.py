"""Loggers whose records become messages of the run that they were written in."""

import logging
import threading
from collections.abc import Iterable
from typing import Final

from otelflow._core.inside import messages
from otelflow._core.process import losses
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers, open_runs
from otelflow._core.runs.current import open_run_here
from otelflow._core.runs.endings import stack_trace
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import comes_from_outside, safe_str

_RUN_LOGGER: Final = "otelflow.run"


class _Taken(threading.local):
    """The record that this thread has taken last: it may pass several captured loggers, one after the other.

    A mark on the record itself would be a field that the program's own handlers write out.
    """

    record: logging.LogRecord | None = None


_taken: Final = _Taken()


class _RunHandler(logging.Handler):
    """Turns each record into a message of the run that is current where it was logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take *record*, once however many captured loggers it passes; without a run there is nothing to take."""
        if record.name != losses.logger.name and _taken.record is not record:
            _taken.record = record
            is_shown = _is_shown(record) or _show_as_a_last_resort(record)
            _take(record, printed=is_shown)


class _RunLoggerHandler(logging.Handler):
    """The handler of ``get_run_logger()``: besides, it passes on what the application's own logging would show."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take *record*, and let the root's handlers have it as if the logger were an ordinary one."""
        _taken.record = record
        root = logging.getLogger()
        is_shown = False
        if record.levelno >= root.level:
            is_shown = any(handler is not _handler for handler in root.handlers)
            if is_shown:
                root.callHandlers(record)
            else:
                is_shown = _show_as_a_last_resort(record)
        _take(record, printed=is_shown)


def _is_shown(record: logging.LogRecord) -> bool:
    """Tell whether the application has a handler for *record*, besides ours."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        if any(handler is not _handler for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _show_as_a_last_resort(record: logging.LogRecord) -> bool:
    """Do what logging does for a record that nobody takes; that our handler takes it must not silence it."""
    if logging.lastResort is None or record.levelno < logging.lastResort.level:
        return False
    logging.lastResort.handle(record)
    return True


def _take(record: logging.LogRecord, *, printed: bool) -> None:
    run = open_run_here()
    if run is not None:
        try:
            text = record.getMessage()
        except BaseException as trouble:  # arguments that do not fit their format are the program's to report
            if comes_from_outside(trouble):
                raise
            text = safe_str(record.msg, settings().value_limit)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:  # logger.exception(…): what happened is the message
            text = f"{text}\n{stack_trace(error, settings().value_limit)}"
        messages.write(run, record.levelno, text, printed=printed, time_ns=int(record.created * 1_000_000_000))


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
    if not any(isinstance(handler, _RunLoggerHandler) for handler in logger.handlers):
        logger.addHandler(_RunLoggerHandler())
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    logger.disabled = False  # logging.config disables every logger that it does not know
    return logger


_handler: Final = _RunHandler()


class _Capture(State, observers.Observer):
    """The loggers whose records become messages, as the settings name them: ``root`` for all that reaches the root."""

    names: set[str]

    def __init__(self) -> None:
        self.names = set()
        super().__init__()

    def reset(self) -> None:
        """Capture nothing."""
        self.use(())

    def use(self, names: Iterable[str]) -> None:
        """Capture the loggers *names*, and no others."""
        now = set(names)
        for name in self.names - now:
            _logger_of(name).removeHandler(_handler)
        for name in now - self.names:
            _logger_of(name).addHandler(_handler)
        self.names = now

    def first_opened(self) -> None:
        """See what the settings ask for."""
        capture_configured()

    def last_closed(self) -> None:
        """Go on: what is logged outside runs is no message."""

    def run_started(self, run: Run) -> None:
        """Capture anew where the program has configured its logging since, which takes handlers away."""
        if run.parent is None:
            capture_configured()


_capture: Final = _Capture()
open_runs.watch(_capture)


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
        _capture.names = {name for name in _capture.names if _handler in _logger_of(name).handlers}
        capture(names)


def _logger_of(name: str) -> logging.Logger:
    return logging.getLogger() if name == "root" else logging.getLogger(name)
