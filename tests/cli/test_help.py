import pytest
from typer.main import get_command

from otelflow._cli.app import app
from support.page_parts import COMMANDS

GROUPS = ("", "generate")


def test_the_pages_know_every_command():
    commands = get_command(app).commands
    inner = [f"{name} {word}" for name, command in commands.items() for word in getattr(command, "commands", ())]

    assert sorted(COMMANDS) == sorted(["", *commands, *inner])


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in GROUPS])
def test_every_command_has_examples_that_are_not_wrapped(otelflow, command):
    done = otelflow(*command.split(), "--help", COLUMNS="50")

    _, examples = done.out.split("Example", 1)
    lines = examples.splitlines()[1:]
    assert done.code == 0
    assert lines
    assert all(f"otelflow {command}" in line for line in lines)
    assert "..." not in done.out.replace("}...", "").replace("]...", "")  # it takes several
