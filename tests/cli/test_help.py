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


def test_help_and_version_are_had_as_people_ask_for_them(otelflow):
    pages = {("help",): ("--help",), ("help", "run"): ("run", "--help"), ("-V",): ("--version",)}

    for words, usual in pages.items():
        done, expected = otelflow(*words), otelflow(*usual)
        assert (done.code, done.out) == (0, expected.out)
        assert done.out
    wrong, version = otelflow("help", "rnu"), otelflow("version")

    assert (wrong.code, version.code) == (2, 2)
    assert "No such command 'rnu'. Did you mean 'run'?" in wrong.err
    assert "No such command 'version'. Did you mean '--version'?" in version.err
