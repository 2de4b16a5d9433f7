"""Start a command whose Python processes, children included, are instrumented by a file."""

import functools
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from otelflow.instrument._command import program_of, seen_from
from otelflow.instrument._instrumented import begin
from otelflow.instrument._plan import read
from otelflow.instrument._servers import deliver_after_servers
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
        deliver_after_servers()
    except Exception as error:  # noqa: BLE001 the interpreter starts, and a mistake was told before
        losses.warn_once("instrument", "%s runs without instrumentation: %s", sys.executable, error)


def run_instrumented(file: Path, command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Become *command*, with *variables* where the environment does not have them.

    Raises ConfigurationError for a *file* that says nothing usable, and for a command that is not there.
    """
    plan = read(file.absolute())
    with seen_from(command):
        check(plan, functools.partial(is_program, command))
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
    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed is None
        stream.flush()
    os.execve(program, list(command), environment)  # noqa: S606 the user's own command


def is_program(command: Sequence[str], name: str, file: str) -> bool:
    """Tell whether the module *name*, in *file*, is what *command* has Python run."""
    program = program_of(command)
    if program is None:
        return False
    if program.module:
        return name == f"{program.module}.__main__" or (name == program.module and Path(file).name != "__init__.py")
    return bool(file and program.script) and Path(program.script).resolve() == Path(file).resolve()
