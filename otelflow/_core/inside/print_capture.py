"""Hear what a program prints while a run is open, without touching what it prints."""

import builtins
import functools
import logging
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any, Final

from otelflow._core.inside import events, messages
from otelflow._core.process import forks, losses
from otelflow._core.runs.current import open_run_here
from otelflow._core.runs.run import Run

_FRAGMENT: Final = 65_536
# Of one text with more lines than twice this, the middle is counted and left out.
_LINES: Final = 1_000
_AS_THEY_ARE: Final = frozenset({str, int, float, bool, type(None)})

Print = Callable[..., None]


class _Once:
    """Turns an argument of ``print`` into text once, for the stream and for the message."""

    __slots__ = ("text", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.text: str | None = None

    def __str__(self) -> str:
        self.text = str(self.value)
        return self.text


class _Passing(threading.local):
    """Whether a ``print`` of ours is being passed on in this thread, by way of somebody else's wrapper."""

    on = False


_passing: Final = _Passing()


class _State:
    """The state of the wrapper: which runs are open, and what ``builtins.print`` was before the first."""

    # Re-entrant: the garbage collector may end a generator's run while this thread holds it.
    lock: Final = forks.new_lock()
    # Ids, so that nothing is kept alive. A set takes no lock: each run comes and goes here.
    open_runs: Final[set[int]] = set()
    installed: Print | None = None
    original: Print = print
    made: Final[weakref.WeakSet[Print]] = weakref.WeakSet()


# An object, since each run counts here: whatever changes in a class makes Python forget what it has cached of it.
_Wrapper: Final = _State()


def run_opened(run: Run) -> None:
    """Wrap ``builtins.print`` when the first run opens."""
    _Wrapper.open_runs.add(id(run))
    if _Wrapper.installed is None:
        with _Wrapper.lock:
            _install()


def is_any_run_open() -> bool:
    """Tell whether there may be an open run in this process."""
    return bool(_Wrapper.open_runs)


def run_closed(run: Run) -> None:
    """Put ``builtins.print`` back when the last run closes, unless somebody else has wrapped it since."""
    _Wrapper.open_runs.discard(id(run))
    if not _Wrapper.open_runs:
        with _Wrapper.lock:
            _uninstall()


def _uninstall() -> None:
    if builtins.print is _Wrapper.installed:
        builtins.print = _Wrapper.original
    _Wrapper.installed = None
    if _Wrapper.open_runs:  # a run that opened meanwhile in another thread has still seen it installed
        _install()


def _install() -> None:
    if builtins.print not in _Wrapper.made:  # who wrapped ours may have put it back since
        builtins.print = _heard(builtins.print)
        _Wrapper.made.add(builtins.print)
    _Wrapper.installed = builtins.print
    _Wrapper.original = _wrapped_by(builtins.print)


def _wrapped_by(ours: Any) -> Print:
    wrapped: Print = ours.__wrapped__
    return wrapped


def _heard(original: Print) -> Print:
    """Return a ``print`` that prints exactly as *original* and then lets the current run hear the text."""
    # Somebody else's print may look at its arguments; the built-in one only makes texts of them.
    write = _print_once if isinstance(original, types.BuiltinFunctionType) else _pass_on

    @functools.wraps(original)
    def print(*values: Any, **options: Any) -> None:  # noqa: A001 tracebacks show the name
        run = _hearing_run(options)
        if run is None:
            original(*values, **options)
            return
        texts = write(original, values, options)
        try:
            sep, end = options.get("sep"), options.get("end")
            hear(run, (" " if sep is None else sep).join(texts) + ("\n" if end is None else end))
        except Exception as error:  # noqa: BLE001 it is printed; no trouble of ours (a full stack, say) may follow
            losses.record("messages", "failed", "Something printed could not be made a message", error=error)

    return print


def _hearing_run(options: dict[str, Any]) -> Run | None:
    """Return the run that hears what is printed with *options*, if one does."""
    try:
        run = open_run_here() if _is_ours(options.get("file")) and not _passing.on else None
        return None if run is None or not run.config.logging_enabled or events.in_listener() else run
    except RecursionError:  # the last print before the stack is full must still print
        return None


def _print_once(original: Print, values: tuple[Any, ...], options: dict[str, Any]) -> list[str]:
    once = [value if type(value) in _AS_THEY_ARE else _Once(value) for value in values]
    original(*once, **options)
    return [(value.text or "") if isinstance(value, _Once) else str(value) for value in once]


def _pass_on(original: Print, values: tuple[Any, ...], options: dict[str, Any]) -> list[str]:
    _passing.on = True
    try:
        original(*values, **options)
    finally:
        _passing.on = False
    return [str(value) for value in values]


def _is_ours(file: object) -> bool:
    return file is None or file is sys.stdout or file is sys.stderr


def hear(run: Run, text: str) -> None:
    """Turn printed *text* into messages, one a line; a line that is not ended yet waits for its rest."""
    if not run.fragment and text.endswith("\n") and text.find("\n") == len(text) - 1:
        _write(run, text[:-1])
        return
    with _Wrapper.lock:  # threads may share a run, and must not take the same fragment twice
        lines = (run.fragment + text).split("\n")
        rest = lines.pop().rpartition("\r")[2]  # a progress bar redraws its line: the last state counts
        run.fragment = rest if len(rest) < _FRAGMENT else ""
    if len(rest) >= _FRAGMENT:
        lines.append(rest)
    if len(lines) > 2 * _LINES:
        messages.leave_out(run, len(lines) - 2 * _LINES)
        lines[_LINES:-_LINES] = []
    for line in lines:
        _write(run, line)


def _write(run: Run, line: str) -> None:
    if line and not line.isspace():
        shown = line.rstrip("\r").rpartition("\r")[2] if "\r" in line else line
        messages.write(run, logging.INFO, shown, printed=True)


def finish(run: Run) -> None:
    """Take the line that a run printed without ending it."""
    if run.fragment:
        hear(run, "\n")
