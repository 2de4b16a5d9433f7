"""What the command line says about a run: on stderr, because stdout is the program's."""

import contextlib
import io
import logging
import sys
import traceback
from pathlib import Path
from typing import Final

from rich.console import Console

import otelflow
from otelflow._core.text.hints import place_of
from otelflow_exporters._tree.wording import one_line

_PREFIX: Final = "otelflow: "
_OURS: Final = str(Path(__file__).resolve().parent.parent)
_LONGEST_LINE: Final = 1_000
_PIPED_WIDTH: Final = 1_000


def say(text: str) -> None:
    """Write one line to stderr."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads stderr, or it is closed
        sys.stderr.write(f"{_PREFIX}{one_line(text, _LONGEST_LINE)}\n")
        sys.stderr.flush()


class _OneLine(logging.Handler):
    """Says a warning of the library as one line; what raised is named, its traceback is not shown."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            error = record.exc_info[1] if record.exc_info else None
            say(record.getMessage() + (f": {type(error).__name__}: {text_of(error)}" if error is not None else ""))
        except Exception:  # noqa: BLE001 foreign arguments of a log call, or a stderr that is closed
            self.handleError(record)


def show_warnings(*, with_tracebacks: bool) -> None:
    """Let the library's warnings be lines of ours, and keep what exporters log about each of their attempts quiet.

    What did not arrive is counted by the library, and said once when the command ends.
    """
    if with_tracebacks:
        return
    for name, handler in (
        ("otelflow", _OneLine(logging.WARNING)),
        ("otelflow_exporters", _OneLine(logging.WARNING)),
        ("opentelemetry.exporter", logging.NullHandler()),
    ):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False


def describe(error: BaseException) -> str:
    """Return type, message and place of an exception on one line."""
    text = otelflow.redact(text_of(error))
    words = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = place_of(error)
    return f"{words} ({place})" if place else words


def text_of(error: BaseException) -> str:
    """Return the message of *error*; to make it is the user's own code, which may raise."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 the run has ended, and its end is to be reported
        return "(its text cannot be made)"


def print_traceback(error: BaseException) -> None:
    """Print the traceback of *error* without the frames that are not the user's business: our own."""
    shown = traceback.TracebackException.from_exception(error)
    _leave_out_ours(shown)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.writelines(shown.format())


def _leave_out_ours(shown: traceback.TracebackException | None) -> None:
    if shown is None:
        return
    own = [frame for frame in shown.stack if not frame.filename.startswith(_OURS)]
    if own:
        shown.stack = traceback.StackSummary.from_list(own)
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        _leave_out_ours(other)


def is_terminal() -> bool:
    """Tell whether somebody sees stderr as it is written."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False


def page() -> Console:
    """Return what to print tables on: the terminal, or lines as long as they are for another program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a name has that the terminal has not
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
