"""The options that several commands have."""

from typing import Annotated

import typer

Traceback = Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of what was raised.")]
Strict = Annotated[bool, typer.Option("--strict-telemetry", help="Exit with 3 when telemetry was lost.")]


class Options:
    """The options that matter also where an error is reported."""

    traceback = False
