"""The options that several commands have, and what a command that runs flows begins with."""

import shutil
from typing import Annotated, NoReturn

import typer

from otelflow._cli._console import show_warnings
from otelflow.errors import InvalidParameter

Traceback = Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of what was raised.")]
Strict = Annotated[bool, typer.Option("--strict-telemetry", help="Exit with 3 when telemetry was lost.")]


class Options:
    """The options that matter also where an error is reported."""

    traceback = False


def refuse_surplus(target: str, word: str) -> NoReturn:
    """Say what to do instead of the *word* that stands after the *target* of ``otelflow run``.

    Raises InvalidParameter.
    """
    if shutil.which(target) is not None:
        cure = f"otelflow run --instrument FILE -- {target} … runs it, or otelflow exec -- {target} …"
        raise InvalidParameter(f"{target!r} is a command, not a flow: {cure}")
    cure = f"--param {word}" if "=" in word else "--param NAME=VALUE, and a program is run by 'otelflow exec'"
    raise InvalidParameter(f"{word!r} is too much: a parameter of the flow is given as {cure}")


def begin_command(context: typer.Context, *, traceback: bool = False) -> None:
    """Begin a command that runs flows; with *traceback* also what it warns of has one."""
    context.ensure_object(Options).traceback = traceback
    show_warnings(with_tracebacks=traceback)
    # First of all that needs the SDK: it names a variable that the SDK cannot read.
    import otelflow._telemetry.configure as _  # noqa: F401, PLC0415 other commands need no SDK
