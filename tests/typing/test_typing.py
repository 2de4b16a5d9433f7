"""Type checkers see of the public names what tests/typing/api.py says, and refuse what misuse.py marks."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from support.programs import run_python

HERE = Path(__file__).parent
FILES = ("api.py", "misuse.py")
MARKED = {number for number, line in enumerate((HERE / "misuse.py").read_text().splitlines(), 1) if "# error" in line}


def run(folder, *command):
    return run_python("-m", *command, cwd=folder, timeout=110)


def mypy(folder):
    done = run(folder, "mypy", "--strict", "--no-error-summary", *FILES)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return re.findall(r"^(\w+\.py):(\d+): error: (.*)", done.stdout, re.MULTILINE)


def pyright(folder):
    settings = {"typeCheckingMode": "strict", "reportUnusedExpression": False, "reportUnusedCoroutine": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", ".")
    if not done.stdout.lstrip().startswith("{"):
        pytest.skip(f"pyright could not get its node package: {(done.stdout + done.stderr)[-200:]}")
    errors = [
        complaint for complaint in json.loads(done.stdout)["generalDiagnostics"] if complaint["severity"] == "error"
    ]
    return [
        (Path(complaint["file"]).name, complaint["range"]["start"]["line"] + 1, complaint["message"])
        for complaint in errors
    ]


@pytest.fixture(scope="module", params=[mypy, pyright], ids=["mypy", "pyright"])
def complaints(request, tmp_path_factory):
    """What a type checker says of both files, by file and line; they are read outside this checkout."""
    pytest.importorskip(request.param.__name__, reason="not installed: pip install 'otelflow[check]'")
    folder = tmp_path_factory.mktemp(request.param.__name__)
    for name in FILES:
        shutil.copy(HERE / name, folder)
    errors = {name: {} for name in FILES}
    for name, line, message in request.param(folder):
        errors[name][int(line)] = message
    return errors


def test_a_type_checker_sees_parameters_and_return_types(complaints):
    assert complaints["api.py"] == {}


def test_a_type_checker_refuses_misuse(complaints):
    errors = complaints["misuse.py"]

    assert set(errors) == MARKED, {line: errors.get(line, "not refused") for line in set(errors) ^ MARKED}
