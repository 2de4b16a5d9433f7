"""The command that runs flows again and again."""

import re
import signal
import subprocess
import sys

import pytest

from otelflow_exporters import StoredTraces

PROGRAM = """
import threading
from otelflow import flow

@flow
def tick(word: str = "tick", fails: bool = False):
    print(word + "\\n", end="", flush=True)  # in one piece, beside that of another thread
    if fails:
        raise ValueError("as asked")

@flow
def tock():
    print("tock\\n", end="", flush=True)
"""


POOLED = """
import multiprocessing, time
from otelflow import flow

@flow
def pooled():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(abs, [-1, 2]), flush=True)
        pool.apply_async(time.sleep, [60])
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=[60])
    child.start()
    child.terminate()
    child.join(20)
    print(child.exitcode, flush=True)
"""


@pytest.fixture
def serving(tmp_path, store, environment_of):
    """Start ``otelflow serve``; the process is over when the test is."""
    (tmp_path / "clock.py").write_text(PROGRAM)
    processes = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "otelflow", "serve", *arguments],
            cwd=tmp_path, env=environment_of(store, **environment), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def ended(process):
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork here")
def test_the_processes_that_a_flow_forks_and_ends_are_gone(serving, tmp_path):
    (tmp_path / "pooled.py").write_text(POOLED)
    process = serving("pooled.py:pooled", "--every", "1h")

    lines = [process.stdout.readline()]
    lines.append(process.stdout.readline())
    _, err = ended(process)

    assert lines == ["[1, 2]\n", f"{-signal.SIGTERM}\n"], err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_runs_are_said_and_stored_and_sigterm_is_a_good_end(serving, store):
    process = serving("clock.py:tick", "clock.py:tock", "--every", "300ms")
    lines = [process.stdout.readline() for _ in range(4)]

    _, err = ended(process)
    assert sorted(lines) == ["tick\n", "tick\n", "tock\n", "tock\n"]
    assert process.returncode == 0, err
    said = err.splitlines()
    assert said[:2] == ["otelflow: tick: next run now", "otelflow: tock: next run now"]
    assert any(line.startswith("otelflow: tick: success in ") and "; next run at 20" in line for line in said)
    traces = list(StoredTraces(store).summaries())
    assert len(traces) >= 4
    assert all(trace.trace_id in err for trace in traces)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_parameter_is_converted_and_a_failure_names_its_place(serving):
    process = serving("clock.py:tick", "--every", "200ms", "-p", "word=hello", "-p", "fails=yes")
    lines = [process.stdout.readline() for _ in range(2)]

    _, err = ended(process)
    assert lines == ["hello\n", "hello\n"]
    assert process.returncode == 0
    assert "otelflow: tick: failure in " in err
    assert "ValueError: as asked (" in err
    assert "clock.py:9); trace " in err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_before_the_first_run_it_says_when_that_is(serving):
    process = serving("clock.py:tick", "--cron", "30 2 29 2 *", "--timezone", "Europe/Berlin", "--name", "leap day")
    line = process.stderr.readline()

    out, err = ended(process)
    assert line.startswith("otelflow: leap day: next run at 20")
    assert (out, err, process.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flows.py:ratio", "--every", "1h"], "The flow needs a: give --param a=<int>"),
        (["flows.py:leave", "--every", "1h", "-p", "code=x"], "--param code='x' must be int"),
        (["flows.py:leave", "-p", "code=0"], "serve: say when: --every 10m, or --cron '0 3 * * *'"),
        (
            ["flows.py:leave", "-p", "code=0", "--every", "1h", "--cron", "* * * * *"],
            "serve: say when in one way: --every 10m, or --cron '0 3 * * *'",
        ),
        (["flows.py:leave", "-p", "code=0", "--every", "soon"], "serve: every='soon' is no length of time"),
        (["flows.py:leave", "-p", "code=0", "--cron", "soon"], "cron='soon' cannot be used"),
        (["flows.py:leave", "-p", "code=0", "--cron", "* * * * *", "--timezone", "X"], "there is no timezone 'X'"),
        (["flows.py:leave", "-p", "code=0", "--every", "1h", "--overlap", "x"], "overlap must be one of refuse, queue"),
        (["flows.py:steps", "flows.py:steps", "-p", "count=1", "--every", "1h"], "two schedules of one name"),
        (["flows.py:steps", "flows.py:leave", "--name", "x", "--every", "1h"], "--name is for one flow"),
        (["nowhere.py:x", "--every", "1h"], "The file nowhere.py does not exist"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(otelflow, arguments, words):
    done = otelflow("serve", *arguments)

    assert (done.code, done.out, len(done.lines)) == (2, "", 1), done.err
    assert words in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_metrics_of_a_served_flow_are_where_the_variable_says(serving, tmp_path):
    file = tmp_path / "served.prom"
    process = serving("clock.py:tick", "--every", "200ms", OTELFLOW_METRICS=f"textfile:{file}")
    lines = [process.stdout.readline() for _ in range(2)]

    ended(process)
    assert lines == ["tick\n", "tick\n"]
    text = file.read_text()
    assert re.search(
        r'^otelflow_schedule_missed_runs_total\{reason="overlap",schedule="tick".*\} 0\.0$', text, re.MULTILINE
    )
    assert re.search(r'^otelflow_flow_runs_total\{flow="tick",result="success".*\} [1-9]', text, re.MULTILINE)
