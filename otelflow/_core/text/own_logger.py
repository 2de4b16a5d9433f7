"""Loggers of ours: what stands in a user's text makes no line of its own in a log, and controls no terminal."""

import logging
import os
import sys
import traceback
from typing import Final

from otelflow._core.text.safe_str import comes_from_outside, safe_str

#: What stands before each line of the command line
PREFIX: Final = "otelflow: "
#: Set by the command line, whose handlers the processes that ``multiprocessing`` starts do not have
LINES_VARIABLE: Final = "_OTELFLOW_LINES"

_LONGEST: Final = 10_000
_LONGEST_TRACEBACK: Final = 100_000


class _CleaningFilter(logging.Filter):
    """Cleans the arguments of each record, and its traceback, whose lines are indented: none looks like a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        from otelflow._core.text.redaction import redact  # noqa: PLC0415 only when something is logged
        from otelflow._core.text.visible import clean  # noqa: PLC0415

        def cleaned(argument: object) -> object:
            if isinstance(argument, int | float):
                return argument
            return clean(safe_str(argument, _LONGEST), _LONGEST).replace("\n", " ")

        if isinstance(record.args, tuple):
            record.args = tuple(map(cleaned, record.args))
        elif record.args:  # one mapping alone
            record.args = {name: cleaned(argument) for name, argument in record.args.items()}
        if record.exc_info and record.exc_info[1] is not None:
            trace = clean("".join(traceback.format_exception(record.exc_info[1])), _LONGEST_TRACEBACK)
            # A formatter takes this text before it makes one of its own.
            record.exc_text = "\n".join(f"    {line}" for line in redact(trace).splitlines())
        return True


_filter: Final = _CleaningFilter()


def own_logger(name: str) -> logging.Logger:
    """Return the logger *name*, with the arguments and tracebacks of its records cleaned."""
    logger = logging.getLogger(name)
    logger.addFilter(_filter)
    return logger


def log(logger: logging.Logger, level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Log *message*, whatever the handlers of the program do with it. Not to be called with a lock held.

    A handler may end a span, for which it would need the lock that waits for the handler's own.
    """
    try:
        if not logger.hasHandlers() and os.environ.get(LINES_VARIABLE) and _is_worker():
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter(f"{PREFIX}%(message)s"))
            logger.addHandler(handler)
        logger.log(level, message, *args, exc_info=error, stacklevel=2)
    except Exception as trouble:  # a handler is foreign code, and there is nowhere left to log that it raised
        if comes_from_outside(trouble):
            raise


def _is_worker() -> bool:
    """Tell whether ``multiprocessing``, or what is built on it, has started this process."""
    process = getattr(sys.modules.get("multiprocessing"), "parent_process", None)
    return process is not None and process() is not None
