"""Start a command whose Python processes, children included, are instrumented by a file."""

import functools
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from otelflow._core.process import losses, shutdown
from otelflow.errors import ConfigurationError
from otelflow.instrument._command import program_of, seen_from
from otelflow.instrument._instrumented import begin
from otelflow.instrument._plan import read
from otelflow.instrument._survey import check

#: The file of patterns, for the processes that are started
VARIABLE: Final = "OTELFLOW_INSTRUMENT"
#: The process that the command line became: it says aloud what its children keep to themselves
PROCESS_VARIABLE: Final = "OTELFLOW_INSTRUMENT_PID"
#: Milliseconds that the end by a signal may wait for the exporter of another provider
_LONGEST_FLUSH: Final = 5_000
_SITE: Final = str(Path(__file__).parent / "_site")


def start() -> None:
    """Instrument this process by the file that the environment names; the program starts whatever happens here."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return
    try:
        begin(read(Path(path)))
        deliver_at_signals()
    except Exception as error:  # noqa: BLE001 the interpreter starts, and a mistake was told before
        losses.warn_once("instrument", "%s runs without instrumentation: %s", sys.executable, error)


def deliver_at_signals() -> None:
    """Deliver everything before a signal ends this process, unless it is handled otherwise.

    A server such as uvicorn ends well, and then raises the signal again for what was there before it: that would end
    the process where it is. The first process of a container is not ended so by any signal.
    """
    if os.getpid() == 1 or threading.current_thread() is not threading.main_thread():
        return
    for number in shutdown.end_signals():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end_by_signal)


def end_by_signal(number: int, frame: object) -> None:
    """Handle the signal *number*: deliver everything, and let it end the process as it would have."""
    del frame
    signal.signal(number, signal.SIG_DFL)  # another one ends it at once
    try:
        shutdown.deliver_at_end()
        if "opentelemetry.sdk.trace" in sys.modules:
            from otelflow import force_flush  # noqa: PLC0415 the SDK takes long

            force_flush(_LONGEST_FLUSH)  # of a provider that is not ours, too
    finally:
        signal.raise_signal(number)


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
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, list(command), environment)  # noqa: S606 the user's own command


def is_program(command: Sequence[str], name: str, file: str) -> bool:
    """Tell whether the module *name*, in *file*, is what *command* has Python run."""
    program = program_of(command)
    if program is None:
        return False
    if program.module:
        return name == f"{program.module}.__main__" or (name == program.module and Path(file).name != "__init__.py")
    return bool(file and program.script) and Path(program.script).resolve() == Path(file).resolve()
