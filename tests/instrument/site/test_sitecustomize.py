"""What each Python below a command loads first: it instruments, and gets in nobody's way."""

import shutil
import sys

import pytest

from support.instrumented import otelflow, traces


def test_children_are_instrumented_too(program):
    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py", "children")

    assert (done.returncode, done.stdout, done.stderr) == (3, "bill 6\npool [2]\n", "")
    assert traces(program) == [f"success {spans} 0 flow nightly_bill" for spans in (2, 3, 4)]


def test_the_sitecustomize_of_the_user_still_runs(program):
    (program / "other").mkdir()
    (program / "other" / "sitecustomize.py").write_text("print('of the user')\n")

    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", sys.executable, "main.py")

    assert done.stdout == "of the user\nof the user\nbill 6\n"  # first of the command line itself
    assert traces(program) == ["success 4 0 flow nightly_bill"]


def test_a_python_without_otelflow_runs_and_says_so(program):
    other = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if other is None:
        pytest.skip("no Python of the system")

    done = otelflow(program, "run", "--instrument", "otelflow.toml", "--", other, "main.py")

    assert (done.returncode, done.stdout) == (3, "bill 6\n")
    assert "runs without instrumentation: No module named 'o" in done.stderr  # otelflow, or what it needs
