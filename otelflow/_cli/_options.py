"""The options that several commands have, and what a command that runs flows begins with."""

from typing import Annotated

import typer

from otelflow._cli._console import show_warnings

Traceback = Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of what was raised.")]
Strict = Annotated[bool, typer.Option("--strict-telemetry", help="Exit with 3 when telemetry was lost.")]


class Options:
    """The options that matter also where an error is reported."""

    traceback = False


def begin_command(context: typer.Context, *, traceback: bool = False) -> None:
    """Begin a command that runs flows; with *traceback* also what it warns of has one."""
    context.ensure_object(Options).traceback = traceback
    show_warnings(with_tracebacks=traceback)
    # First of all that needs the SDK: it names a variable that the SDK cannot read.
    import otelflow._telemetry.configure as _  # noqa: F401, PLC0415 other commands need no SDK
