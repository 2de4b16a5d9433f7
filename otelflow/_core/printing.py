"""Hear what a program prints while a run is open, without touching what it prints."""

import builtins
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from otelflow._core import events, messages
from otelflow._core.context import Run, open_run_here

_FRAGMENT: Final = 65_536
_AS_THEY_ARE: Final = frozenset({str, int, float, bool, type(None)})

Print = Callable[..., None]


class _Once:
    """Turns an argument of ``print`` into text once, for the stream and for the message."""

    __slots__ = ("_text", "_value")

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        self._text = str(self._value)
        return self._text

    def text(self) -> str:
        return self._text


class _Wrapper:
    """The state of the wrapper: how many runs are open, and what ``builtins.print`` was before the first."""

    # Re-entrant: the garbage collector may end a generator's run while this thread holds it.
    lock: Final = threading.RLock()
    open_runs = 0
    installed: Print | None = None
    original: Print = print


def run_opened() -> None:
    """Wrap ``builtins.print`` when the first run opens."""
    with _Wrapper.lock:
        _Wrapper.open_runs += 1
        if _Wrapper.open_runs == 1:
            _install()


def is_any_run_open() -> bool:
    """Tell whether there may be an open run in this process."""
    return _Wrapper.open_runs > 0


def run_closed() -> None:
    """Put ``builtins.print`` back when the last run closes, unless somebody else has wrapped it since."""
    with _Wrapper.lock:
        _Wrapper.open_runs -= 1
        if _Wrapper.open_runs == 0 and builtins.print is _Wrapper.installed:
            builtins.print = _Wrapper.original
            _Wrapper.installed = None


def _install() -> None:
    if _Wrapper.installed is not None and builtins.print is not _Wrapper.installed:
        _Wrapper.installed = None  # left inside a wrapper of somebody else, where it hears nothing more
    if _Wrapper.installed is None:
        _Wrapper.original = builtins.print
        _Wrapper.installed = builtins.print = _heard(builtins.print)


def _heard(original: Print) -> Print:
    """Return a ``print`` that prints exactly as *original* and then lets the current run hear the text."""

    def print(*values: Any, **options: Any) -> None:  # noqa: A001 tracebacks show the name
        run = open_run_here() if _Wrapper.installed is print and _is_ours(options.get("file")) else None
        if run is None or not run.config.logging_enabled or events.in_listener():
            original(*values, **options)
            return
        once = [value if type(value) in _AS_THEY_ARE else _Once(value) for value in values]
        original(*once, **options)
        texts = [value.text() if isinstance(value, _Once) else str(value) for value in once]
        sep, end = options.get("sep"), options.get("end")
        hear(run, (" " if sep is None else sep).join(texts) + ("\n" if end is None else end))

    return print


def _is_ours(file: object) -> bool:
    return file is None or file is sys.stdout or file is sys.stderr


def hear(run: Run, text: str) -> None:
    """Turn printed *text* into messages, one a line; a line that is not ended yet waits for its rest."""
    if run.fragment:
        text, run.fragment = run.fragment + text, ""
    lines = text.split("\n")
    rest = lines.pop().rpartition("\r")[2]  # a progress bar redraws its line: the last state counts
    run.fragment = rest if len(rest) < _FRAGMENT else ""
    if len(rest) >= _FRAGMENT:
        lines.append(rest)
    for line in lines:
        if line.strip():
            messages.write(run, logging.INFO, line.rstrip("\r").rpartition("\r")[2], printed=True)


def finish(run: Run) -> None:
    """Take the line that a run printed without ending it."""
    if run.fragment:
        hear(run, "\n")
