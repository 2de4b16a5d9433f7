import pytest

COMMANDS = ["run", "serve", "exec", "demo", "show", "forget", "config", "doctor", "verify"]
COMMANDS += ["generate alerts", "generate promtool-tests", "generate dashboards"]


@pytest.mark.parametrize("columns", ["40", "60", "80"])
def test_the_list_of_commands_has_whole_sentences(otelflow, columns):
    done = otelflow("--help", COLUMNS=columns)

    text = " ".join(done.out.partition("Commands:")[2].split())
    sentence = "Look at everything between a flow and its dashboards, and say what to do about what is not right."
    assert "..." not in text
    assert f"doctor {sentence}" in text
    assert "Examples: otelflow demo" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_that_are_not_wrapped(otelflow, command):
    done = otelflow(*command.split(), "--help", COLUMNS="50")

    _, examples = done.out.split("Example", 1)
    lines = examples.splitlines()[1:]
    assert done.code == 0
    assert lines
    assert all(f"otelflow {command}" in line for line in lines)
    assert "..." not in done.out.replace("}...", "")  # it takes several
