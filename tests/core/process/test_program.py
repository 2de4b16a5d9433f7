"""A program is called by its file, however it was started; no two programs are called the same."""

import subprocess
import sys

import pytest

PROGRAM = """
from dataclasses import dataclass
from pathlib import Path
from otelflow import flow, task
from otelflow.cache_policies import INPUTS

@dataclass
class Place:
    name: str

@task(cache_policy=INPUTS)
def look(place):
    with Path("looks").open("a") as file:
        print(WORD, file=file)
    return WORD

@task(cache_policy=INPUTS)
def make(name):
    with Path("looks").open("a") as file:
        print("made", file=file)
    return Place(name)

@flow
def inline():
    return look(make("here"))

@flow(task_runner="processes")
def processes():
    return look.submit(Place("here")).result()

if __name__ == "__main__":
    import sys
    print(globals()[sys.argv[1]]().execute().flow_return_value)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("OTELFLOW_RESULTS", str(tmp_path / "results"))

    def run_in_folder(*command):
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
        ).stdout.strip()

    return run_in_folder


def write(path, word):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"WORD = {word!r}\n{PROGRAM}")


@pytest.mark.parametrize("flow", ["inline", "processes"])
@pytest.mark.parametrize("names", [["first/job.py", "second/job.py"], ["first.py", "second.py"]])
def test_two_programs_share_no_value(tmp_path, run, names, flow):
    if flow == "processes":
        pytest.importorskip("cloudpickle")
    for name in names:
        write(tmp_path / name, name)

    outputs = [run(name, flow) for name in names]

    assert outputs == names


def test_a_program_has_its_values_however_it_was_started_and_whichever_process_runs_its_tasks(tmp_path, run):
    pytest.importorskip("cloudpickle")
    write(tmp_path / "job.py", "job")

    run("job.py", "inline")
    run("job.py", "processes")
    run("-m", "job", "inline")
    run("-m", "otelflow", "run", "job.py:inline")
    run("-c", "import job; job.inline().execute()")

    assert (tmp_path / "looks").read_text().split() == ["made", "job"]
