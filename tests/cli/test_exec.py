"""Any program as a flow: what runs in it is in its trace, and its end is the program's."""

import signal
import subprocess
import sys

import pytest

from otelflow import semconv
from otelflow_exporters import StoredTraces

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells and signals of POSIX")

PARENT = """
import os, subprocess, sys
import otelflow

@otelflow.task
def ask_child():
    command = [sys.executable, "-m", "otelflow", "run", "child.py:answer"]
    subprocess.run(command, env=os.environ | otelflow.trace_environment(), check=True)

@otelflow.flow
def nightly():
    ask_child()
"""
CHILD = """
import otelflow

@otelflow.flow
def answer():
    print("an answer")
"""


def stored(store):
    (summary,) = StoredTraces(store).summaries()
    spans = StoredTraces(store).load(summary.trace_id).spans
    names = {span.span_id: span.name for span in spans}
    return {span.name: names.get(span.parent_id) for span in spans}, {span.name: span for span in spans}


def test_bash_python_and_a_subprocess_of_it_are_one_trace(tmp_path, store, run_command):
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "child.py").write_text(CHILD)
    python = f"{sys.executable} -m otelflow"
    script = f"set -e; {python} run parent.py:nightly; {python} exec --name files -- ls > files.txt"

    done = run_command("exec", "--name", "job", "--", "bash", "-c", script, store=store, cwd=tmp_path)

    assert done.code == 0, done.err
    assert done.out == "an answer\n"
    parents, _ = stored(store)
    assert parents == {
        "flow job": None,
        "flow nightly": "flow job",
        "task ask_child": "flow nightly",
        "flow answer": "task ask_child",
        "flow files": "flow job",
    }


@pytest.mark.parametrize(("end", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_program_s(otelflow, store, end, code):
    done = otelflow("exec", "--", "sh", "-c", f"echo out; {end}")

    assert (done.code, done.out) == (code, "out\n")
    _, spans = stored(store)
    assert spans["flow sh"].attributes["process.exit.code"] == (-9 if code == 137 else code)
    assert spans["flow sh"].attributes["otelflow.run.result"] == ("failure" if code else "success")
    reason = {0: None, 3: "sh ended with the exit code 3", 137: "sh was ended by signal 9"}[code]
    assert spans["flow sh"].attributes.get("error.type") == ("SystemExit" if code else None)
    assert [event.attributes["exception.message"] for event in spans["flow sh"].events] == ([reason] if code else [])


def test_quiet_says_nothing_of_a_good_end_and_all_of_a_bad_one(otelflow):
    assert otelflow("exec", "--quiet", "--", "true").err == ""
    assert len(otelflow("exec", "--quiet", "--", "false").lines) == 2


def test_options_after_the_program_are_its_own(otelflow):
    assert otelflow("exec", "echo", "--name", "x", "--help").out == "--name x --help\n"


def test_a_program_that_is_not_there_is_one_line(otelflow):
    done = otelflow("exec", "--", "no-such-program")

    assert done.code == 2
    assert done.err == "otelflow: There is no program 'no-such-program': give its path, or a name that PATH finds\n"


def test_sigterm_is_handed_on_and_what_the_program_does_then_is_waited_for(flows, store, environment_of):
    script = "trap 'echo bye; exit 7' TERM; echo begun; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [sys.executable, "-m", "otelflow", "exec", "--", "sh", "-c", script],
        cwd=flows, env=environment_of(store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (143, "bye\n"), err
    attributes = stored(store)[1]["flow sh"].attributes
    assert attributes["otelflow.run.result"] == "cancellation"
    assert attributes[semconv.PROCESS_EXIT_CODE] == 7


def test_a_second_sigterm_is_handed_on_too_and_no_program_is_left_alone(flows, store, environment_of):
    script = "trap 'trap \"echo two; exit 7\" TERM; echo one' TERM; echo begun; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [sys.executable, "-m", "otelflow", "exec", "--", "sh", "-c", script],
        cwd=flows, env=environment_of(store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (143, "two\n"), err
    assert stored(store)[1]["flow sh"].attributes["otelflow.run.result"] == "cancellation"
