"""Start a command whose Python processes, children included, are instrumented by a file."""

import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from otelflow.instrument._instrumented import begin
from otelflow.instrument._plan import read
from otelflow.instrument._survey import check

#: The file of patterns, for the processes that are started
VARIABLE: Final = "OTELFLOW_INSTRUMENT"
#: The process that the command line became: it says aloud what its children keep to themselves
PROCESS_VARIABLE: Final = "OTELFLOW_INSTRUMENT_PID"
_SITE: Final = str(Path(__file__).parent / "_site")


def start() -> None:
    """Instrument this process by the file that the environment names; the program starts whatever happens here."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return
    try:
        begin(read(Path(path)))
    except Exception as error:  # noqa: BLE001 the interpreter starts, and a mistake was told before
        losses.warn_once("instrument", "%s runs without instrumentation: %s", sys.executable, error)


def run_instrumented(file: Path, command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Become *command*, with *variables* where the environment does not have them.

    Raises ConfigurationError for a *file* that says nothing usable, and for a command that is not there.
    """
    plan = read(file.absolute())
    with seen_from(command):
        check(plan, functools.partial(_is_program, command))
    program = shutil.which(command[0])
    if program is None:
        raise ConfigurationError(f"There is no command {command[0]!r}: write it as in the shell, after --")
    folders = [_SITE, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **variables,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(folders),
        VARIABLE: plan.place,
        PROCESS_VARIABLE: str(os.getpid()),
    }
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, list(command), environment)  # noqa: S606 the user's own command


def _is_program(command: Sequence[str], name: str, file: str) -> bool:
    """Tell whether the module *name*, in *file*, is what *command* has Python run."""
    if not Path(command[0]).name.startswith(("python", "pypy")):
        return False
    for option, value in zip(command[1:], [*command[2:], ""], strict=True):
        if option == "-m":
            return name == f"{value}.__main__" or (name == value and Path(file).name != "__init__.py")
        if not option.startswith("-"):
            return bool(file) and Path(option).resolve() == Path(file).resolve()
    return False


@contextlib.contextmanager
def seen_from(command: Sequence[str]) -> Iterator[None]:
    """Inside, modules are looked for where *command* will find them."""
    before = list(sys.path)
    scripts = [part for part in command[1:2] if part.endswith(".py")]
    sys.path[:0] = [*(str(Path(script).absolute().parent) for script in scripts), str(Path.cwd())]
    try:
        yield
    finally:
        sys.path[:] = before
