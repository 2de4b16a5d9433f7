"""Loggers whose records become messages of the run that they were written in."""

import logging
from collections.abc import Iterable
from typing import Final

from otelflow._core import ledger, messages
from otelflow._core.config import settings
from otelflow._core.context import open_run_here

_RUN_LOGGER: Final = "otelflow.run"


class RunHandler(logging.Handler):
    """Turns each record into a message of the run that is current where it was logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take *record*; without a run there is nothing to do."""
        if record.name == ledger.logger.name:
            return
        run = open_run_here()
        if run is not None:
            try:
                text = record.getMessage()
            except Exception:  # noqa: BLE001 arguments that do not fit their format are the program's to report
                text = str(record.msg)
            messages.write(run, record.levelno, text, printed=True, time_ns=int(record.created * 1_000_000_000))


class _RunLoggerHandler(RunHandler):
    """The handler of ``get_run_logger()``: besides, it passes on what the application's own logging would show."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        root = logging.getLogger()
        if record.levelno < root.level:
            return
        if root.handlers:
            root.callHandlers(record)
        elif logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)


def get_run_logger() -> logging.Logger:
    """Return a logger whose records are messages of the current run; outside a run it is an ordinary one."""
    logger = logging.getLogger(_RUN_LOGGER)
    if not any(isinstance(handler, _RunLoggerHandler) for handler in logger.handlers):
        logger.addHandler(_RunLoggerHandler())
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    return logger


_handler: Final = RunHandler()
_captured: set[str] = set()


def capture(names: Iterable[str]) -> None:
    """Let the records of the loggers *names* become messages ("root" for all that reaches the root); replaces."""
    wanted = set(names)
    for name in _captured - wanted:
        _named(name).removeHandler(_handler)
    for name in wanted - _captured:
        _named(name).addHandler(_handler)
    _captured.clear()
    _captured.update(wanted)


def capture_configured() -> None:
    """Capture what the settings in force ask for."""
    if set(settings().capture_loggers) != _captured:
        capture(settings().capture_loggers)


def _named(name: str) -> logging.Logger:
    return logging.getLogger() if name == "root" else logging.getLogger(name)
