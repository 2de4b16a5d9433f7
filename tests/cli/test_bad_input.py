import subprocess
import sys
from pathlib import Path

import pytest

CASES = {
    "unknown name": (["run", "flows.py:rato"], "flows.py has no 'rato'; did you mean 'ratio'?"),
    "name like no other": (["run", "flows.py:zzz"], "flows.py has no 'zzz'; its flows: ratio, leave"),
    "missing file": (["run", "flow.py:ratio"], "The file flow.py does not exist; did you mean 'flows.py'?"),
    "folder": (["run", "./:x"], "is a folder"),
    "missing module": (["run", "nowhere:x"], "There is no module 'nowhere'"),
    "missing submodule": (["run", "email.nowhere:x"], "There is no module 'email.nowhere'"),
    "no module name": (["run", "no-name:x"], "'no-name' is no name of a module"),
    "no place": (["run", ":x"], "':x' names no file or module"),
    "task": (["run", "flows.py:divide"], "flows.py:divide is a task, not a flow; its flows: ratio"),
    "plain function": (["run", "flows.py:plain"], "flows.py:plain is a plain function, not a flow"),
    "class": (["run", "flows.py:Order"], "flows.py:Order is a class, not a flow"),
    "method": (["run", "flows.py:Desk.total"], "flows.py:Desk.total is a method: make a Desk in flows.py"),
    "several flows": (["run", "flows.py"], "flows.py has 11 flows; say which: flows.py:ratio, flows.py:leave"),
    "missing parameter": (["run", "flows.py:ratio"], "The flow needs a: give --param a=<int>"),
    "unknown parameter": (["run", "flows.py:leave", "-p", "cod=1"], "--param cod: the flow has no such parameter; did"),
    "no such type": (["run", "flows.py:ratio", "-p", "a=six"], "--param a='six' must be int"),
    "no equals": (["run", "flows.py:ratio", "-p", "a"], "--param 'a' is not name=value"),
    "given twice": (["run", "flows.py:ratio", "-p", "a=1", "-p", "a=2"], "--param a is given twice"),
    "injected": (["run", "flows.py:leave_artifacts", "-p", "this_flow=1"], "otelflow fills this parameter by itself"),
    "no trace id": (["show", "xyz"], "'xyz' is no trace id"),
    "no such trace": (["show", "abcdef"], "No trace in"),
    "nothing stored": (["show"], "'otelflow demo' makes one"),
    "nothing failed": (["show", "--failed"], "No flow that failed is stored"),
    "forget what": (["forget"], "Say what to forget: a TRACE_ID, or --older-than 7d, or --all"),
    "forget too much": (["forget", "abc", "--all"], "forget takes one of these, not several"),
    "no age": (["forget", "--older-than", "soon"], "--older-than 'soon' is no age: give 90s"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_that_names_culprit_and_cure(otelflow, case):
    arguments, words = CASES[case]

    done = otelflow(*arguments)

    assert done.code == 2
    assert done.out == ""
    assert len(done.lines) == 1, done.err
    assert done.err.startswith("otelflow: ")
    assert words in done.err


BROKEN = {
    "raises": ("x = 1\nx / 0\n", "broken.py does not import: ZeroDivisionError: division by zero (", "broken.py:2)"),
    "syntax": ("def f(:\n", "SyntaxError: invalid syntax (", "broken.py:1)"),
    "raises in otelflow": (
        "import otelflow\n\n@otelflow.flow(config=1)\ndef f(): ...\n",
        "broken.py does not import: UnknownKeyword: @flow has no keyword 'config'; did you mean 'flow_config'? (",
        "broken.py:3)",
    ),
    "null bytes": ("x = 1\0\n", "broken.py does not import: SyntaxError: ", "null bytes"),
    "missing package": ("import not_there\n", "No module named 'not_there'", "-m pip install"),
    "ends itself": ("import sys\nsys.exit('bye')\n", "SystemExit: bye", "under if __name__ == '__main__':"),
    "no flow": ("x = 1\n", "broken.py has no 'f', and no flow at all", "decorate a function with @flow"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_does_not_import_is_named_with_exception_and_line(otelflow, tmp_path, case):
    program, *words = BROKEN[case]
    (tmp_path / "broken.py").write_text(program)

    done = otelflow("run", "broken.py:f", cwd=tmp_path)

    assert (done.code, len(done.lines)) == (2, 1), done.err
    assert all(word in done.err for word in words), done.err
    assert "None" not in done.err


def test_a_module_of_which_nothing_can_be_generated_is_named_with_the_users_line(otelflow, tmp_path):
    (tmp_path / "broken.py").write_text("import otelflow\n\n@otelflow.flow(config=1)\ndef f(): ...\n")
    (tmp_path / "missing.py").write_text("x = 1\nimport not_there\n")

    wrong = otelflow("generate", "alerts", "--from", "broken", cwd=tmp_path)
    missing = otelflow("generate", "alerts", "--from", "missing", cwd=tmp_path)

    assert (wrong.code, missing.code) == (2, 2)
    assert f"({tmp_path / 'broken.py'}:3)" in wrong.err
    assert f"({tmp_path / 'missing.py'}:2)" in missing.err


def test_a_traceback_of_an_import_is_there_when_asked_for(otelflow, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")

    done = otelflow("run", "broken.py:f", "--traceback", cwd=tmp_path)

    assert done.code == 2
    assert 'broken.py", line 1, in <module>' in done.err


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OTELFLOW_VALUE_LIMIT": "many"}, "OTELFLOW_VALUE_LIMIT: value_limit must be a whole number, not 'many'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"}, "OTEL_EXPORTER_OTLP_ENDPOINT=nowhere is no endpoint"),
        ({"OTEL_TRACES_EXPORTER": "otpl"}, "otpl"),
    ],
)
def test_a_variable_that_says_nothing_usable_is_bad_input_before_the_flow_runs(otelflow, environment, words):
    done = otelflow("run", "flows.py:ratio", "-p", "a=6", **environment)

    assert (done.code, done.out, len(done.lines)) == (2, "", 1), done
    assert words in done.err


def test_a_store_that_cannot_be_read_is_named(otelflow, tmp_path):
    (tmp_path / "file").write_text("not a folder")

    done = otelflow("show", OTELFLOW_STORE=str(tmp_path / "file"))

    assert (done.code, len(done.lines)) == (2, 1)
    assert "cannot be read" in done.err
    assert "OTELFLOW_STORE" in done.err


def test_a_store_that_is_off_has_nothing_to_show(otelflow):
    done = otelflow("show", OTELFLOW_STORE="off")

    assert (done.code, len(done.lines)) == (2, 1)
    assert "The store is off (OTELFLOW_STORE says so)" in done.err


@pytest.mark.parametrize("missing", ["typer", "rich", "pydantic", "requests"])
def test_without_the_extra_one_line_names_the_cure(missing):
    program = f"import sys; sys.modules[{missing!r}] = None; from otelflow._cli import main; main()"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 2
    assert done.stderr == "otelflow: This needs an optional package: pip install 'otelflow[cli]'\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "abcd", "--list"), "show takes TRACE_ID or --list, not both"),
        (("show", "--list", "--json"), "show takes --list or --json, not both"),
        (("forget", "abcd", "--all"), "forget takes one of these, not several: a TRACE_ID"),
        (("forget", "--all", "--older-than", "7d"), "forget takes one of these, not several: a TRACE_ID"),
        (
            ("run", "sh", "flows.py"),
            "'sh' is a command, not a flow: otelflow run --instrument FILE -- sh … runs it, or otelflow exec -- sh …",
        ),
        (("run", "flows.py:ratio", "a=6"), "'a=6' is too much: a parameter of the flow is given as --param a=6"),
        (("show", "abcd"), "'otelflow show --list' lists what is stored"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_way_that_does(otelflow, arguments, words):
    done = otelflow(*arguments)

    assert (done.code, done.out, len(done.lines)) == (2, "", 1), done.err
    assert words in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("option", ["--list", "--json"])
def test_an_output_that_takes_nothing_is_one_line(otelflow, flows, store, environment_of, option):
    otelflow("run", "flows.py:ratio", "-p", "a=6")

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "otelflow", "show", option],
            cwd=flows,
            env=environment_of(store),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1
