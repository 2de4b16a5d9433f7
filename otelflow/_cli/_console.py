"""The words of the command line: on stderr, because stdout is the program's, and without passwords."""

import contextlib
import errno
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rich.console import Console, ConsoleDimensions

import otelflow
from otelflow._core.runs.endings import members_of
from otelflow._core.text.hints import place_of
from otelflow._core.text.own_logger import LINES_VARIABLE, PREFIX
from otelflow._core.text.safe_str import error_text
from otelflow._core.text.visible import clean, one_line
from otelflow._importing import text_of

_OURS: Final = str(Path(__file__).resolve().parent.parent)
_LONGEST_LINE: Final = 1_000
_LONGEST_TEXT: Final = 10_000
_LONGEST_REASON: Final = 500  # what follows it, such as the place of an error, has room on the line, too
_PIPED_WIDTH: Final = 1_000
_TRACEBACK: Final = "Traceback (most recent call last):"
_INDENT: Final = "    "
# The password of an address, also of one that is refused because its scheme is missing; a port is none.
_PASSWORD: Final = re.compile(
    r"""(?P<head> /[^\s:/@]*: ) (?!\d{1,5}[/?\#,]) [^\s@]{1,500}+ (?:@[^\s@/]{0,100}+(?=@))*+ (?=@)
      | (?P<start> (?:\A|(?<=[\s='"(])) [^\s:/@='"(]+: ) [^\s/@]{1,500}+ (?:@[^\s/@='"(]{0,100}+(?=@))*+ (?=@)""",
    re.VERBOSE,
)


def hide_passwords(text: str) -> str:
    """Return *text* without the passwords of the addresses in it."""
    return _PASSWORD.sub(lambda match: f"{match['head'] or match['start']}[redacted]", text) if "@" in text else text


def for_page(text: str) -> str:
    """Return *text* for a page: without what looks like a secret, and with nothing that a terminal obeys."""
    return otelflow.redact(hide_passwords(clean(text, _LONGEST_TEXT).replace("\n", " ")))


def say(text: str) -> None:
    """Write one line to stderr."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there is no stderr, or it is closed
        sys.stderr.write(f"{PREFIX}{one_line(hide_passwords(text[:_LONGEST_TEXT]), _LONGEST_LINE)}\n")
        sys.stderr.flush()


class _OneLine(logging.Handler):
    """Says a warning of the library as one line; what raised is named, its traceback is shown if that is asked for."""

    def __init__(self, *, with_traceback: bool) -> None:
        super().__init__(logging.WARNING)
        self._with_traceback = with_traceback

    def emit(self, record: logging.LogRecord) -> None:
        try:
            error = record.exc_info[1] if record.exc_info else None
            reason = "" if error is None else ": " + error_text(type(error).__name__, text_of(error))
            say(record.getMessage() + reason)
            if error is not None and self._with_traceback:
                print_traceback(error)
        except Exception:  # noqa: BLE001 foreign arguments of a log call, or a stderr that is closed
            self.handleError(record)


class _WithoutValues(logging.Handler):
    """Says what OpenTelemetry finds wrong with the variable of headers, once, without these secrets."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._texts: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = str(record.msg).replace("%s", "(hidden)")
        if text not in self._texts:  # each of our parts reads the variable for itself
            self._texts.add(text)
            say(text)


def show_warnings(*, with_tracebacks: bool) -> None:
    """Let the library's warnings be lines of ours, and keep what exporters log about each of their attempts quiet.

    What did not arrive is counted by the library, and said once when the command ends.
    """
    os.environ[LINES_VARIABLE] = "on"
    handlers: dict[str, logging.Handler] = {"opentelemetry.util.re": _WithoutValues(logging.WARNING)}
    handlers["otelflow"] = handlers["otelflow_exporters"] = _OneLine(with_traceback=with_tracebacks)
    if not with_tracebacks:
        handlers["opentelemetry.exporter"] = logging.NullHandler()
    for name, handler in handlers.items():
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False


def describe(error: BaseException) -> str:
    """Return type, message and place of an exception on one line."""
    place = place_of(error)
    reason = hide_passwords(otelflow.redact(text_of(error)))  # before it is cut
    members = hide_passwords(members_of(error))
    text = one_line(error_text(type(error).__name__, reason) + members, _LONGEST_REASON)
    return text + (f" ({place})" if place else "")


def print_traceback(error: BaseException) -> None:
    """Print the traceback of *error* with the user's frames only."""
    trace = traceback.TracebackException.from_exception(error)
    _leave_out_our_frames(trace)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        text = "".join(_indented(hide_passwords(clean(piece, len(piece))) for piece in trace.format()))
        sys.stderr.write(text)


def _indented(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the *pieces* of a traceback, in which what an exception says cannot pass for another line of it."""
    is_said = False
    for piece in pieces:
        if piece.startswith("\n") and piece != "\n":  # the sentence between two exceptions; no note has two lines
            is_said = False
            yield piece
            continue
        first, *others = piece.splitlines(keepends=True)
        yield "".join([_indented_line(first) if is_said else first, *map(_indented_line, others)])
        is_said = is_said or not piece.startswith((" ", _TRACEBACK))


def _indented_line(line: str) -> str:
    return line if line[0].isspace() else _INDENT + line


def _leave_out_our_frames(trace: traceback.TracebackException) -> None:
    rest: list[traceback.TracebackException | None] = [trace]
    while rest:  # without recursion: an exception may have thousands of causes
        related = rest.pop()
        if related is None:
            continue
        frames = [frame for frame in related.stack if not frame.filename.startswith(_OURS)]
        if frames:
            related.stack = traceback.StackSummary.from_list(frames)
        rest += [related.__cause__, related.__context__, *(related.exceptions or ())]


def is_terminal() -> bool:
    """Tell whether stderr is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False


class _Page(Console):
    def on_broken_pipe(self) -> None:
        """Let the command end as after any other write that nobody reads; rich would end it as a failure."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def page() -> Console:
    """Return a console for tables: as wide as the terminal, or with lines of any length for another program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters of names that the terminal lacks
    from otelflow_exporters._tree.drawing import width_of  # noqa: PLC0415 only for tables

    console = _Page(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    console.size = ConsoleDimensions(width_of(console), console.height)
    return console
