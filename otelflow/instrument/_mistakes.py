"""What a mistake in a file of patterns is to who starts a program: one sentence on stderr, and the exit code 2."""

import functools
import os
import sys
import types
import weakref
from collections.abc import Callable
from typing import Final, NoReturn

from otelflow._core.process.process import State
from otelflow.errors import ConfigurationError

# What is wrong with a pattern, in the same words before the program starts and when its modules are imported
IS_CLASS: Final = "it is a class: name its methods, such as {pattern}.*"
WRITTEN_IN_C: Final = "it is written in C, and cannot be wrapped: name the Python function that calls it"
NO_FUNCTION: Final = "it is no function but {kind}: name a function or method"
#: The way out that stands at the end
LENIENT: Final = "(strict = false starts without)"
_BAD_INPUT: Final = 2
_Hook = Callable[[type[BaseException], BaseException, types.TracebackType | None], object]


class _Mistakes(State):
    """The errors that were raised where a module was imported, by a program that knows nothing of them."""

    def reset(self) -> None:
        """Remember none."""
        self.errors: weakref.WeakSet[ConfigurationError] = weakref.WeakSet()
        self.is_hook_due = False


_mistakes: Final = _Mistakes()


def new_mistake(text: str) -> ConfigurationError:
    """Return the error that says *text*, which is no fault of the program that it ends."""
    error = ConfigurationError(text)
    _mistakes.errors.add(error)
    if _mistakes.is_hook_due:
        _mistakes.is_hook_due = False
        # Not before there is a mistake: a console of Python's shows other tracebacks where the hook is not its own.
        sys.excepthook = functools.partial(_tell, sys.excepthook)
    return error


def kind_of(value: object) -> str:
    """Return what *value* is, for the person who has taken it for a function."""
    return "a property" if issubclass(type(value), property) else type(value).__name__


def end(error: ConfigurationError) -> NoReturn:
    """End the process, whose program has not started yet."""
    _say(error)
    os._exit(_BAD_INPUT)  # an exit would be told by the interpreter, as a failure of its own start


def end_in_one_sentence() -> None:
    """Let a mistake that ends the program be told without the traceback of its imports."""
    _mistakes.is_hook_due = True


def _tell(others: _Hook, kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    if not any(error is mistake for mistake in _mistakes.errors):
        others(kind, error, trace)
        return
    _say(error)
    raise SystemExit(_BAD_INPUT)


def _say(error: BaseException) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"otelflow: {error}\n")
        sys.stderr.flush()
