"""``otelflow resume`` goes on with a run that has failed or was killed."""

import re

import pytest

PROGRAM = """
import os, signal
from otelflow import Flow, flow, task

@task(persist_result=True)
def fetch(page: int) -> list[int]:
    print(f"fetching {page}")
    return [page]

@flow(persist_result=True)
def pages(last: int, this_flow=None):
    print(f"run {this_flow.flow_id}", flush=True)
    values = [fetch(page) for page in range(last)]
    if not os.path.exists("mended"):
        os.kill(os.getpid(), signal.SIGKILL)
    print(values)

@flow(persist_result=True)
def failing():
    raise LookupError("down")

@flow
def plain(): ...

class Main(Flow):
    def main(self): ...

class Nightly(Flow):
    def __init__(self):
        super().__init__(flow_name="nightly", persist_result=True)

    def main(self, last: int):
        print(f"run {self.flow_id}", flush=True)
        values = [fetch(page) for page in range(last)]
        if not os.path.exists("mended"):
            raise LookupError("down")
        print(values)
"""


@pytest.fixture
def program(tmp_path, run_command):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.py").write_text(PROGRAM)

    def call(*arguments):
        return run_command(*arguments, store=tmp_path / "store", cwd=folder, XDG_STATE_HOME=str(tmp_path / "state"))

    call.folder = folder
    return call


def test_a_run_that_was_killed_goes_on_with_its_parameters_and_what_was_done_is_not_done_again(program):
    killed = program("run", "shop.py:pages", "--param", "last=2")
    run_id = re.search(r"run (flow_id__\w+)", killed.out)[1]
    (program.folder / "mended").touch()

    resumed = program("resume", "shop.py:pages", run_id)
    again = program("resume", "shop.py:pages", run_id)

    assert (killed.code, killed.out.count("fetching")) == (-9, 2)
    assert (resumed.code, resumed.out) == (0, f"run {run_id}\n[[0], [1]]\n")
    assert "otelflow: flow pages: success in" in resumed.err
    assert (again.code, again.out) == (2, "")
    assert again.err == f"otelflow: Run {run_id} has ended well: there is nothing to resume\n"


def test_a_run_of_a_flow_class_goes_on_too(program):
    failed = program("run", "shop.py:Nightly", "--param", "last=2")
    run_id = re.search(r"run (flow_id__\w+)", failed.out)[1]
    (program.folder / "mended").touch()

    resumed = program("resume", "shop.py:Nightly", run_id)

    assert f"otelflow: to go on with it: otelflow resume shop.py:Nightly {run_id}\n" in failed.err
    assert (resumed.code, resumed.out) == (0, f"run {run_id}\n[[0], [1]]\n")


def test_what_cannot_be_resumed_is_one_line_that_says_why(program):
    unknown = program("resume", "shop.py:pages", "flow_id__0")
    plain = program("resume", "shop.py:plain", "flow_id__0")
    main = program("resume", "shop.py:Main", "flow_id__0")

    assert unknown.err.startswith("otelflow: No run 'flow_id__0' is kept in FolderStorage(")
    assert plain.err == "otelflow: flow 'plain' keeps nothing of its runs: write @flow(persist_result=True)\n"
    assert main.err == "otelflow: flow 'Main' keeps nothing of its runs: give it persist_result=True\n"
    assert {done.code for done in (unknown, plain, main)} == {2}


def test_what_was_kept_is_forgotten_with_its_trace(program):
    run_id = re.search(r"run (flow_id__\w+)", program("run", "shop.py:pages", "-p", "last=2").out)[1]

    done = program("forget", "--all")

    assert "Forgot 3 values that tasks and flows had kept.\n" in done.out
    assert program("resume", "shop.py:pages", run_id).code == 2
    assert "value" not in program("forget", "--all").out


def test_a_run_that_has_failed_says_how_to_go_on_with_it(program):
    failed = program("run", "shop.py:failing")
    command = failed.lines[-1].removeprefix("otelflow: to go on with it: otelflow ").split()

    again = program(*command)

    assert command[:2] == ["resume", "shop.py:failing"]
    assert (failed.code, again.code) == (1, 1)
    assert again.lines[-1] == failed.lines[-1]
    assert "to go on" not in program("run", "shop.py:plain").err


IDLE = """
import os, signal
import otelflow
from otelflow import flow

@flow(persist_result=True)
def idle():
    if not os.path.exists("mended"):
        otelflow.configure().force_flush()  # the store notes what is open
        os.kill(os.getpid(), signal.SIGKILL)
    print("to the end")
"""


def test_a_run_that_was_killed_before_a_task_had_ended_is_named_by_show(program):
    (program.folder / "idle.py").write_text(IDLE)

    assert program("run", "idle.py:idle").code == -9
    shown = program("show")
    run_id = re.search(r"the process of flow idle is gone \(run (flow_id__\w+)\)", shown.out).group(1)
    trace_id = re.match(r"trace (\w+)", shown.out).group(1)
    mistaken = program("resume", "idle.py:idle", trace_id[:8])
    (program.folder / "mended").touch()
    done = program("resume", "idle.py:idle", run_id)

    # What goes on with it is said only if the note of the store was written after its first checkpoint.
    assert shown.err in ("", f"otelflow: to go on with flow idle: otelflow resume FILE:FLOW {run_id}\n")
    assert f"is it a trace id? 'otelflow show {trace_id[:8]}' names the run" in mistaken.err
    assert mistaken.code == 2
    assert done.out == "to the end\n"
    assert done.code == 0
    assert "to go on with" not in program("show").err


def test_a_run_that_has_failed_is_named_by_show_with_what_goes_on_with_it(program):
    program("run", "shop.py:failing")
    program("run", "shop.py:plain")

    assert re.fullmatch(
        r"otelflow: to go on with flow failing: otelflow resume FILE:FLOW flow_id__\w+\n",
        program("show", "--failed").err,
    )
    assert program("show").err == ""
