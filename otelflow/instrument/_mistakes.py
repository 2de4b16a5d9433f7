"""Tell who starts a program of a mistake in its file of patterns: one sentence on stderr, and the exit code 2."""

import inspect
import os
import sys
import traceback
from typing import Final, NoReturn, cast

from otelflow._core.process.once import OncePerTree
from otelflow._core.process.process import State
from otelflow._core.runs.observers import Observer, add_observer, remove_observer
from otelflow._core.runs.run import Run
from otelflow.errors import ConfigurationError

# What is wrong with a pattern, in the same words before the program starts and when its modules are imported
IS_CLASS: Final = "it is a class: name its methods, such as {pattern}.*"
WRITTEN_IN_C: Final = "it is written in C, and cannot be wrapped: name the Python function that calls it"
ABSTRACT: Final = "it is abstract, and what overrides it is called: name that, such as {pattern}"
NO_FUNCTION: Final = "it is no function but {kind}: name a function or method"
#: The way out that stands at the end
LENIENT: Final = "(strict = false starts without)"
_BAD_INPUT: Final = 2
# Who imports a program and takes its exit for something else: module and function
_PYTEST: Final = ("_pytest.main", "wrap_session")
_UNITTEST: Final = ("unittest.loader", "TestLoader.discover")
_GUNICORN: Final = ("gunicorn.arbiter", "Arbiter.spawn_worker")
_UVICORN: Final = ("uvicorn._subprocess", "subprocess_started")


class _Mistakes(State):
    """Whether a mistake ends this process, which is about to start a program that knows nothing of otelflow."""

    def reset(self) -> None:
        """Raise mistakes, for who instruments in code."""
        self.is_start = False
        self.told: OncePerTree | None = None


class _FirstRun(Observer):
    """Hears of the first flow or task: the program has started, and a mistake ends it no more."""

    def run_started(self, run: Run) -> None:
        """Hear of no more."""
        _mistakes.is_start = False
        remove_observer(self)


_mistakes: Final = _Mistakes()


def is_late() -> bool:
    """Tell whether the program has started, which a mistake has no right to end: its other flows run."""
    return _mistakes.told is not None and not _mistakes.is_start


def new_mistake(text: str) -> BaseException:
    """Return what is to be raised for the mistake *text*: an exit of the program that has told it, while that starts.

    An error would be told once more, with the traceback of its imports, by who catches it: gunicorn, Celery, pytest.
    """
    if _mistakes.told is None or is_late():
        return ConfigurationError(text)
    frames = [frame for frame, _ in traceback.walk_stack(inspect.currentframe())]
    callers = {(frame.f_globals.get("__name__"), frame.f_code.co_qualname) for frame in frames}
    if _PYTEST in callers:
        bases: tuple[type, ...]
        if "PYTEST_XDIST_WORKER" in os.environ:  # pytest-xdist waits for ever for a worker that was interrupted
            # Shown without a traceback in a test's file by the one, in a folder's conftest by the other
            bases = (
                sys.modules["_pytest.nodes"].Collector.CollectError,
                sys.modules["_pytest.fixtures"].FixtureLookupError,
            )
        else:
            # Ends pytest as Ctrl-C does: it takes an exit for a failure of its own, and an error for one of a test.
            bases = (KeyboardInterrupt,)
        members = {"__init__": BaseException.__init__, "formatrepr": BaseException.__str__}
        kind = type("ConfigurationError", bases, {"__module__": "otelflow.errors", **members})
        return cast("BaseException", kind(f"otelflow: {text}"))
    if _mistakes.told.is_first(text):
        _say(text)
    if _UNITTEST in callers:  # it takes whatever comes for a test that fails
        os._exit(_BAD_INPUT)
    if _GUNICORN in callers:
        # One worker ends all by its code; those that ended otherwise are started again; two would confuse gunicorn.
        is_first = _mistakes.told.is_first(f"gunicorn {text}")
        return SystemExit(sys.modules["gunicorn.arbiter"].Arbiter.APP_LOAD_ERROR if is_first else 0)
    if _UVICORN in callers:  # after another code it starts workers for ever
        return SystemExit(sys.modules["uvicorn.config"].STARTUP_FAILURE)
    return SystemExit(_BAD_INPUT)


def kind_of(value: object) -> str:
    """Return what *value* is, for the person who has taken it for a function."""
    return "a property" if issubclass(type(value), property) else type(value).__name__


def end(error: ConfigurationError) -> NoReturn:
    """End the process, whose program has not started yet."""
    _say(error)
    os._exit(_BAD_INPUT)  # an exit would be told by the interpreter, as a failure of its own start


def end_while_it_starts() -> None:
    """Let a mistake that only an import can tell end the program, as long as none of its flows and tasks has run."""
    _mistakes.is_start = True
    _mistakes.told = OncePerTree()
    add_observer(_FirstRun())


def _say(text: object) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"otelflow: {text}\n")
        sys.stderr.flush()
