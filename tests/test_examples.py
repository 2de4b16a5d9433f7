import re
import shlex
from pathlib import Path

import pytest

from support.programs import run_python

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "first_flow.py": "",
    "existing_function.py": "200 OK\n13.75\n",
    "async_fan_out.py": "[0, 1, 4, 16, 25]\n",
    "class_with_methods.py": "1 kinds of fruit are missing\n",
}

LOGS = {
    "async_fan_out.py": "Error executing task 'fetch': ConnectionError: page 3 is not there "
    "(it stays inside: raise_on_error=False)\n"
}

SERVES = ("service.py",)  # runs until it is told to end: test_service.py


def test_every_example_is_tested_and_listed():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert {file.name for file in EXAMPLES.glob("*.py")} == {*SAYS, *SERVES}
    assert [name for name in (*SAYS, *SERVES) if f"[{name}]({name})" not in listed] == []


def test_every_larger_example_is_listed_runs_by_one_command_and_is_tested_with_real_programs():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tests = Path(__file__).parent / "stack/examples"
    pages = {file.parent.name: file.read_text(encoding="utf-8") for file in EXAMPLES.glob("*/README.md")}

    assert {
        "before_and_after",
        "data_pipeline",
        "database",
        "microservices",
        "nightly_report",
        "web_automation",
    } <= pages.keys()
    for name, page in pages.items():
        command = re.search(r"```sh\n(?:otelflow run|python) (\S+)", page)
        assert f"[{name}/]({name}/README.md)" in listed
        assert (EXAMPLES.parent / command[1]).is_file()
        assert (tests / f"test_{name}.py").is_file()
        assert page.count("\n") < 40  # one screen


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_alone(name, tmp_path):
    done = run_python(EXAMPLES / name, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, SAYS[name], LOGS.get(name, ""))


def test_each_command_that_the_examples_readme_gives_for_a_flow_runs(tmp_path):
    commands = re.findall(r"`otelflow (run [^`]*)`", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    done = {
        command: run_python("-m", "otelflow", *shlex.split(command), cwd=EXAMPLES.parent, OTELFLOW_STORE=str(tmp_path))
        for command in commands
    }

    assert len(commands) == len(SAYS)
    assert {command: process.stderr for command, process in done.items() if process.returncode} == {}


@pytest.mark.parametrize(
    ("target", "parameters", "tree"),
    [
        ("first_flow.py", ["budget=10"], "= result flow-return-value: 7.25"),
        ("async_fan_out.py", ["count=2"], "= result flow-return-value: [0, 1]"),
        ("existing_function.py", ["path=/2"], "· converted to 2.2"),
        ("class_with_methods.py:check_inventory", ['basket={"apple": 3}'], "artifact missing (table): What to order"),
    ],
)
def test_an_example_is_a_flow_for_the_command_line(target, parameters, tree, tmp_path):
    options = [part for parameter in parameters for part in ("--param", parameter)]
    done = run_python(
        *("-m", "otelflow", "run", EXAMPLES / target, *options, "--tree"),
        cwd=tmp_path,
        OTELFLOW_STORE=str(tmp_path),
    )

    assert done.returncode == 0, done.stderr
    assert tree in done.stderr
