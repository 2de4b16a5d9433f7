"""``otelflow instrument`` and ``otelflow run --instrument``: flows and tasks of a program that is not touched."""

import contextlib
import functools
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import typer

import otelflow
import otelflow.metrics
from otelflow import settings
from otelflow._cli._exit_codes import FAILURE, SUCCESS
from otelflow.errors import ConfigurationError
from otelflow.instrument._command import program_of, seen_from
from otelflow.instrument._plan import read
from otelflow.instrument._start import is_program, run_instrumented
from otelflow.instrument._survey import listener_faults, survey
from otelflow_exporters._otlp.endpoint import variable
from otelflow_exporters._store.limits import default_directory

#: Their `run` runs a program
_RUNNERS: Final = ("coverage", "uv")
_MOST_NAMES: Final = 5
#: It sets up traces itself
_FOREIGN: Final = "opentelemetry-instrument"


def run(files: Sequence[Path], context: typer.Context) -> NoReturn:
    """Become the command of ``otelflow run``, instrumented by one file: exit code, signals and output are its own.

    Raises ConfigurationError, also for an option that is for flows, and for several *files*.
    """
    file = files[0]
    if len(files) > 1:
        raise ConfigurationError("--instrument is given more than once: write all patterns into one file")
    if str(file).startswith("--"):
        raise ConfigurationError("--instrument names no file: write --instrument FILE -- python main.py")
    target = context.params["target"]
    for name in context.params.keys() - {"target", "instrument"}:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "no-tree" if context.params[name] is False else name.replace("_", "-")
            raise ConfigurationError(f"--{option} is for a flow: with --instrument the command runs on its own")
    if target is None:
        example = f"--instrument {file} -- python main.py"
        raise ConfigurationError(f"There is no command: write it after --, such as {example}")
    command = [target, *context.args]
    plan = read(file.absolute())
    logging.disable()  # of what is no error, the program hears: its first flow or task does this again
    try:
        _try_settings(command)
    except ConfigurationError:
        if plan.is_strict:
            raise
    variables = {}
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        variables["OTEL_SERVICE_NAME"] = service_name(command)
    if not variable("traces", "ENDPOINT")[1] and not settings.in_force()["store"].value:
        with contextlib.suppress(ConfigurationError):  # no home: nobody asked for a store
            variables["OTELFLOW_STORE"] = str(default_directory())  # `otelflow show` shows it, as any other run
    logging.disable(logging.NOTSET)
    run_instrumented(plan, command, variables)


def _try_settings(command: Sequence[str]) -> None:
    """Raise ConfigurationError for a variable that the first flow or task of *command* would stumble over."""
    settings.check()
    program = shutil.which(command[0])
    if program is None or Path(program).absolute().parent != Path(sys.executable).absolute().parent:
        return  # another Python, which may have other exporters, and says itself what is wrong
    if Path(program).name != _FOREIGN:
        # Nothing is stored, sent or served by this process, which is about to become another.
        otelflow.configure(store=False, metrics="off", spool="memory")
    if settings.in_force()["metrics"].value:
        otelflow.metrics.check()


def service_name(command: Sequence[str]) -> str:
    """Return what the service is called that *command* starts: its module, script or program."""
    words = list(command)
    if Path(words[0]).name == _FOREIGN:
        del words[0]
        while words and words[0].startswith("-"):
            del words[: 1 if "=" in words[0] else 2]
    if words[1:2] == ["run"] and Path(words[0]).name in _RUNNERS:
        del words[:2]
        if words and (words[0].startswith("-") or words[0].endswith(".py")):
            words.insert(0, "python")
    program = program_of(words)
    if program is not None and (program.module or program.script):
        return program.module.partition(".")[0] or Path(program.script).stem
    return Path((words or command)[0]).name


def print_report(file: Path, command: Sequence[str] = ()) -> int:
    """Print what each pattern of *file* means in the modules that *command* can import here; return the exit code.

    Raises ConfigurationError for a file that cannot be read.
    """
    plan = read(file.absolute())
    with seen_from(command):
        matches = survey(plan, functools.partial(is_program, command))
        faults = listener_faults(plan)
    for fault in plan.faults:
        typer.echo(f"{file}: {fault}")
    for match in matches:
        fault = f": {match.fault}" if match.fault else ""
        typer.echo(f"{match.rule.role} {match.rule.pattern}{fault}")
        for function in match.functions:
            typer.echo(f"  {function}")
    runs = Counter(
        f"{match.rule.role} {match.rule.name_of(*function.split(':'))}"
        for match in matches
        for function in match.functions
    )
    shared = [f"{name} ({count})" for name, count in runs.most_common(_MOST_NAMES) if count > 1]
    if shared:
        typer.echo(f"several functions have one name, also in metrics: {', '.join(shared)}")
    for name in plan.listeners:
        typer.echo(f"listener {name}{f': {faults[name]}' if name in faults else ''}")
    return FAILURE if plan.faults or faults or any(match.fault for match in matches) else SUCCESS
