import pytest

COMMANDS = ["run", "serve", "exec", "demo", "show", "forget", "config", "doctor", "verify"]
COMMANDS += ["generate alerts", "generate promtool-tests", "generate dashboards"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_that_are_not_wrapped(otelflow, command):
    done = otelflow(*command.split(), "--help", COLUMNS="50")

    _, examples = done.out.split("Example", 1)
    lines = examples.splitlines()[1:]
    assert done.code == 0
    assert lines
    assert all(f"otelflow {command}" in line for line in lines)
    assert "..." not in done.out.replace("}...", "")  # it takes several
