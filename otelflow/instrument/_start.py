"""Start a command whose Python processes, children included, are instrumented by a file."""

import functools
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from otelflow import settings
from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from otelflow.instrument._command import program_of, seen_from
from otelflow.instrument._instrumented import (
    TOLD_VARIABLE,
    begin,
    configure_as_planned,
    configure_here,
    set_up_with_first_run,
)
from otelflow.instrument._mistakes import end, end_while_it_starts
from otelflow.instrument._plan import Plan, read
from otelflow.instrument._servers import deliver_after_servers
from otelflow.instrument._survey import check

#: The file of patterns, for the processes that are started
VARIABLE: Final = "OTELFLOW_INSTRUMENT"
#: The process that the command line became: it says aloud what its children keep to themselves
PROCESS_VARIABLE: Final = "OTELFLOW_INSTRUMENT_PID"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_SITE: Final = str(Path(__file__).parent / "_site")


def start() -> None:
    """Instrument this process by the file that the environment names; the program starts whatever happens here."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return
    try:
        plan = _read(path)
        set_up_with_first_run(plan)
        begin(plan)
        end_while_it_starts()
        deliver_after_servers()
    except Exception as error:  # noqa: BLE001 the interpreter starts, and a mistake was told before
        losses.warn_once("instrument", "%s runs without instrumentation: %s", sys.executable, error)


def start_by_opentelemetry() -> None:
    """Do the same for ``opentelemetry-instrument``, which is here before Python knows where its program lies.

    What is wrong ends the program, unless the file is lenient, or there is none: nobody has looked before the first
    process does.
    """
    _with_plan(_instrument)


def configure_by_opentelemetry() -> None:
    """Set up metrics, and the listeners of the file, if there is one; functions are not wrapped."""
    _with_plan(_configure)


def _with_plan(use: Callable[[Plan, bool], None]) -> None:
    """Let *use* have the plan of the file, and whether this is the first process; configure if there is no file."""
    is_first = PROCESS_VARIABLE not in os.environ
    is_strict = bool(os.environ.get(VARIABLE))
    try:
        wrong = _wrong_setting() if is_first else None
        path = os.environ.get(VARIABLE, "") if wrong else str(settings.in_force()["instrument"].value)
        if not path:  # it starts whatever is installed
            configure_here()
            return
        plan = _read(path)
        is_strict = plan.is_strict
        if wrong is not None and is_strict:  # else the first flow or task warns
            raise wrong
        set_up_with_first_run(plan)
        use(plan, is_first)
    except ConfigurationError as error:
        if is_first and is_strict:
            end(error)
        losses.warn_once("instrument", "%s", error)


def _instrument(plan: Plan, is_first: bool) -> None:
    if is_first:
        os.environ[PROCESS_VARIABLE] = str(os.getpid())
        with seen_from(sys.orig_argv):
            plan = check(plan)
        os.environ[TOLD_VARIABLE] = " ".join(plan.told)
    begin(plan)
    end_while_it_starts()
    if not is_first:
        deliver_after_servers()


def _configure(plan: Plan, is_first: bool) -> None:
    """Configure now where no function will be wrapped; else that is for the process that has one of them, or runs."""
    disabled = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    if disabled & {"otelflow", "*"}:
        configure_as_planned(plan)


def _wrong_setting() -> ConfigurationError | None:
    """Return what ``configure()`` would refuse of the settings, beside the provider of the application."""
    try:
        settings.check()
        if settings.in_force()["metrics"].value:
            from otelflow import metrics  # noqa: PLC0415 prometheus-client only for programs that want metrics

            metrics.check()
    except ConfigurationError as error:
        return error
    return None


def _read(path: str) -> Plan:
    """Return the plan of the file, which knows of what the command line, or a parent, has warned."""
    plan = read(Path(path).absolute())
    return plan._replace(told=frozenset(os.environ.get(TOLD_VARIABLE, "").split()))


def run_instrumented(plan: Plan, command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Become *command*, with *variables* where the environment does not have them.

    Raises ConfigurationError for a *plan* that means nothing here, and for a command that is not there.
    """
    with seen_from(command):
        plan = check(plan, functools.partial(is_program, command))
    program = shutil.which(command[0])
    if program is None:
        is_file = Path(command[0]).is_file()
        cure = f"it is a file: write python {command[0]}" if is_file else "write it as in the shell, after --"
        raise ConfigurationError(f"There is no command {command[0]!r}: {cure}")
    folders = [_SITE, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **variables,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(folders),
        VARIABLE: plan.place,
        PROCESS_VARIABLE: str(os.getpid()),
        TOLD_VARIABLE: " ".join(plan.told),
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
