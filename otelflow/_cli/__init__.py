"""The command line ``otelflow``: ``app.py`` has the commands and their options."""

import importlib.util
import sys
from typing import Final

_PACKAGES: Final = ("pydantic", "requests", "rich", "typer")


def main() -> None:
    """Run the command that the arguments name; exit with its code, 2 for bad input."""
    if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
        from otelflow.errors import MissingExtra  # noqa: PLC0415 only to say what is missing

        sys.stderr.write(f"otelflow: {MissingExtra('cli')}\n")
        sys.exit(2)
    from otelflow._cli.app import run_command_line  # noqa: PLC0415 needs what was looked for

    run_command_line()
