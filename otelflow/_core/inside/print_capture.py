"""Take what a program prints while a run is open as messages, without touching what it prints."""

import builtins
import functools
import logging
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from otelflow._core import inside
from otelflow._core.inside import messages
from otelflow._core.process import forks, losses
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers, open_runs
from otelflow._core.runs.current import open_run_here
from otelflow._core.runs.run import Run

_FRAGMENT: Final = 65_536
# Of one text with more lines than twice this, the middle is counted and left out.
_LINES: Final = 1_000
_AS_THEY_ARE: Final = frozenset(map(id, (str, int, float, bool, type(None))))  # a metaclass may raise in its __hash__

Print = Callable[..., None]


class _LazyText:
    """Turns an argument of ``print`` into text once, for the stream and for the message."""

    __slots__ = ("text", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.text: str | None = None

    def __str__(self) -> str:
        self.text = str(self.value)
        return self.text


class _Passing(threading.local):
    """Whether a ``print`` of ours is being passed on in this thread, by way of a foreign wrapper."""

    on = False


_passing: Final = _Passing()


class _Wrapper(State):
    """What ``builtins.print`` was before the first run opened, and what stands in its place while one is."""

    original: Print
    wrapper: Print
    wrappers: "weakref.WeakSet[Print]"
    is_installed: bool

    def __init__(self) -> None:
        self.lock = forks.new_lock()
        self.is_installed = False
        super().__init__()

    def reset(self) -> None:
        """Have wrapped nothing."""
        if self.is_installed and builtins.print is self.wrapper:
            builtins.print = self.original
        self.is_installed = False
        self.wrappers = weakref.WeakSet()
        self.original = self.wrapper = lambda *_, **__: None  # nothing is wrapped yet

    def first_opened(self) -> None:
        """Wrap ``builtins.print``, and capture the loggers that the settings name."""
        with self.lock:
            present: Any = builtins.print
            if present is not self.original:
                if present in self.wrappers:  # another wrapper, around one of ours, has put ours back since
                    self.original, self.wrapper = present.__wrapped__, present
                else:
                    self.original, self.wrapper = present, _wrap(present)
                    self.wrappers.add(self.wrapper)
            builtins.print = self.wrapper
            self.is_installed = True
        if settings().capture_loggers:
            inside.log_capture.capture_configured()

    def last_closed(self) -> None:
        """Put ``builtins.print`` back, unless a library has wrapped it since."""
        with self.lock:
            if open_runs.is_any():
                return  # a run that opened meanwhile in another thread has still seen it installed
            if self.is_installed and builtins.print is self.wrapper:
                builtins.print = self.original
            self.is_installed = False


def _wrap(original: Print) -> Print:
    """Return a ``print`` that prints exactly as *original* and then lets the current run hear the text."""
    # A foreign print may look at its arguments; the built-in one only makes texts of them.
    write = _print_once if isinstance(original, types.BuiltinFunctionType) else _pass_on

    @functools.wraps(original)
    def print(*values: Any, **options: Any) -> None:  # noqa: A001 tracebacks show the name
        run = _run_of_print(options)
        if run is None:
            original(*values, **options)
            return
        texts = write(original, values, options)
        try:
            sep, end = options.get("sep"), options.get("end")
            take(run, (" " if sep is None else sep).join(texts) + ("\n" if end is None else end))
        except Exception as error:  # noqa: BLE001 it is printed; no trouble of ours (a full stack, say) may follow
            losses.record("messages", "failed", "Something printed could not be made a message", error=error)

    return print


_wrapper: Final = _Wrapper()
open_runs.watch(_wrapper)


def _run_of_print(options: dict[str, Any]) -> Run | None:
    """Return the run whose message it is when something is printed with *options*, if it is one."""
    try:
        file = options.get("file")
        is_watched = file is None or file is sys.stdout or file is sys.stderr
        run = open_run_here() if is_watched and not _passing.on else None
        return None if run is None or not run.settings.logging_enabled or observers.in_listener() else run
    except RecursionError:  # the last print before the stack is full must still print
        return None


def _print_once(original: Print, values: tuple[Any, ...], options: dict[str, Any]) -> list[str]:
    once = [value if id(type(value)) in _AS_THEY_ARE else _LazyText(value) for value in values]
    original(*once, **options)
    return [(value.text or "") if isinstance(value, _LazyText) else str(value) for value in once]


def _pass_on(original: Print, values: tuple[Any, ...], options: dict[str, Any]) -> Iterable[str]:
    _passing.on = True
    try:
        original(*values, **options)
    finally:
        _passing.on = False
    return map(str, values)  # read where nothing that is raised comes out: it is printed


def take(run: Run, text: str) -> None:
    """Turn printed *text* into messages, one a line; a line that is not ended yet waits for its rest."""
    if not run.fragment and text.endswith("\n") and text.find("\n") == len(text) - 1:
        _write(run, text[:-1])
        return
    with _wrapper.lock:  # threads may share a run, and must not take the same fragment twice
        lines = (run.fragment + text).split("\n")
        rest = _last_state(lines.pop())
        run.fragment = rest if len(rest) < _FRAGMENT else ""
    if len(rest) >= _FRAGMENT:
        lines.append(rest)
    if len(lines) > 2 * _LINES:
        messages.leave_out(run, len(lines) - 2 * _LINES)
        lines[_LINES:-_LINES] = []
    for line in lines:
        _write(run, line)


def _last_state(line: str) -> str:
    """Return what is left of a line that a progress bar redraws, by a return at the beginning or the end of each state.

    After one at the end the state stands there until the next one comes.
    """
    if "\r" not in line:
        return line
    states = line.rstrip("\r")
    return states.rpartition("\r")[2] + ("\r" if states != line else "")


def _write(run: Run, line: str) -> None:
    if line and not line.isspace():
        text = _last_state(line).removesuffix("\r") if "\r" in line else line
        messages.write(run, logging.INFO, text, printed=True)


def finish(run: Run) -> None:
    """Take the line that a run printed without ending it."""
    if run.fragment:
        take(run, "\n")
