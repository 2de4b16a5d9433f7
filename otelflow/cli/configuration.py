"""Print what is in force."""

import os
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from otelflow import redact, settings
from otelflow.cli.ending import BAD_INPUT, SUCCESS
from otelflow.cli.reporting import page
from otelflow.errors import ConfigurationError
from otelflow_exporters.settings import store_directory

_SECRET: Final = ("HEADERS", "KEY", "TOKEN", "PASSWORD", "CERTIFICATE")


def print_configuration() -> int:
    """Print every setting and the ``OTEL_*`` variables that are set; return 2 when some variable says nothing usable.

    What is wrong comes out as warnings, each with its cure.
    """
    code = SUCCESS
    try:
        settings.check()
    except ConfigurationError:
        code = BAD_INPUT
    found = settings.in_force()
    console = page()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("setting", "value", "from", "meaning"):
        table.add_column(heading, overflow="fold")
    for one in found.values():
        style = "" if one.origin == "default" else "bold"
        table.add_row(
            Text(one.name, style), Text(_shown(one), style), Text(one.origin, style), Text(one.meaning, "dim")
        )
    console.print(table)
    console.print(_variables())
    return code


def _shown(one: settings.Setting) -> str:
    if one.name == "store" and one.value.lower() != "off":
        directory = store_directory(one.value if one.value.lower() not in ("", "on") else None)
        return str(directory)
    return _text(one.value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _variables() -> Text:
    """Return the variables of OpenTelemetry that are set; what may be a secret is not shown."""
    names = sorted(name for name in os.environ if name.startswith("OTEL_") and os.environ[name])
    if not names:
        return Text("\nNo OTEL_* variable is set: runs are stored here and sent nowhere.", "dim")
    lines = [f"{name}={'(hidden)' if name.endswith(_SECRET) else redact(os.environ[name])}" for name in names]
    return Text("\n" + "\n".join(lines))
