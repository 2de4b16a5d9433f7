"""The parts of pages that are made of the product's own tables and help texts."""

import functools

from otelflow._core.process.environment import PREFIX
from otelflow._core.process.settings_table import RUN_SETTINGS, SETTINGS

COMMANDS = ("", "run", "resume", "show", "forget", "config", "doctor", "verify", "ship", "ps", "recover", "instrument")
COMMANDS = (*COMMANDS, "demo", "serve", "exec", "generate")
COMMANDS = (*COMMANDS, "generate alerts", "generate promtool-tests", "generate dashboards")


def settings_of(table):
    """Return a Markdown table of *table*: a setting's names, its default, and what it means."""
    lines = ["| Variable, key, keyword | Default | Meaning |", "|---|---|---|"]
    for name, setting in table.items():
        default = {True: "`on`", False: "`off`", (): "empty", "": "empty"}.get(setting.default, f"`{setting.default}`")
        choices = f" ({', '.join(f'`{choice}`' for choice in setting.choices)})" if setting.choices else ""
        only_own = "" if setting.is_harmless else " *"
        meaning = setting.meaning.replace("|", "\\|")
        lines.append(f"| `{PREFIX}{name.upper()}`<br>`{name}`{only_own} | {default} | {meaning}{choices} |")
    return "\n".join(lines) + "\n"


def run_settings():
    return settings_of(RUN_SETTINGS)


def process_settings():
    return settings_of({name: setting for name, setting in SETTINGS.items() if name not in RUN_SETTINGS})


@functools.cache
def help_of(command, width=80):
    """Return what ``--help`` says of a *command* of otelflow, in this process: there are many."""
    from typer.testing import CliRunner

    from otelflow._cli.app import app

    result = CliRunner().invoke(
        app, [*command.split(), "--help"], prog_name="otelflow", env={"COLUMNS": str(width), "NO_COLOR": "1"}
    )
    return result.output if result.exit_code == 0 else ""


def help_block(command):
    words = " ".join(f"otelflow {command}".split())
    return f"```text\n$ {words} --help\n{help_of(command)}```\n"


PARTS = {"settings of a flow": run_settings, "settings of the process": process_settings}
PARTS |= {f"help {command}".strip(): functools.partial(help_block, command) for command in COMMANDS}
