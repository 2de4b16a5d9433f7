"""``otelflow ps`` and ``recover`` as a person meets them: of programs that run, and of some that were killed."""

import re
import signal
import sys

import pytest

from support.programs import clean_environment, end, run_python, source_of, start
from support.receivers import OtlpReceiver

PROGRAM = source_of(
    """
    import os, sys, threading
    import otelflow

    otelflow.configure(service_name="shop", store=len(sys.argv) > 1)

    @otelflow.task
    def wait():
        os.write(1, b"ready\\n")
        threading.Event().wait(120)

    @otelflow.flow
    def nightly():
        print("on it")
        wait()

    nightly().execute()
    """
)


@pytest.fixture
def variables(tmp_path):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTELFLOW_SPOOL_DIR": tmp_path / "spool"}


@pytest.fixture
def running(variables):
    process = start(sys.executable, "-c", PROGRAM, **variables)
    while process.stdout.readline() != "ready\n":
        pass
    yield process
    end(process)


def words(text):
    return [line.split() for line in text.splitlines()]


def test_ps_lists_what_runs_and_where_it_is(running, variables):
    done = run_python("-m", "otelflow", "ps", **variables)
    lost = run_python("-m", "otelflow", "recover", **variables)

    headings, row = words(done.stdout)
    assert headings == ["trace", "process", "age", "service", "run", "inside", "last", "message"]
    assert (len(row[0]), row[1]) == (32, str(running.pid))
    assert row[4:9] == ["shop", "flow", "nightly", "task", "wait"]
    assert (lost.returncode, lost.stdout, lost.stderr) == (0, "", "otelflow: no run was lost\n")


def test_recover_lists_what_a_killed_process_was_doing_and_sends_it_once(running, variables):
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=30)

    done = run_python("-m", "otelflow", "ps", **variables)
    lost = run_python("-m", "otelflow", "recover", "--list", **variables)
    unsent = run_python("-m", "otelflow", "recover", **variables)
    nowhere = run_python("-m", "otelflow", "recover", variables["OTELFLOW_SPOOL_DIR"])

    assert (done.stdout, done.stderr) == ("", "otelflow: no run is open\n")
    headings, row = words(lost.stdout)
    assert headings == ["trace", "process", "after", "service", "run", "inside", "last", "message"]
    assert row[row.index("shop") :][:5] == ["shop", "flow", "nightly", "task", "wait"]
    assert nowhere.stdout == unsent.stdout == lost.stdout
    assert (lost.returncode, unsent.returncode, nowhere.returncode) == (0, 1, 1)
    assert "0 spans sent" in unsent.stderr
    assert "they wait: set OTEL_EXPORTER_OTLP_ENDPOINT" in nowhere.stderr


def test_what_recover_has_sent_is_told_to_nobody_again(tmp_path):
    with OtlpReceiver() as receiver:
        receiver.status = 503
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTELFLOW_SPOOL_DIR": tmp_path / "spool"}
        process = start(sys.executable, "-c", PROGRAM, **variables)
        while process.stdout.readline() != "ready\n":
            pass
        process.kill()
        process.communicate(timeout=30)
        receiver.status = 200
        receiver.requests.clear()

        done = run_python("-m", "otelflow", "recover", **variables)
        again = run_python("-m", "otelflow", "recover", **variables)
        elsewhere = run_python("-m", "otelflow", "recover", "--list", **variables)

    assert (done.returncode, done.stderr) == (0, "otelflow: 2 spans sent\n")
    assert sorted(span.name for span in receiver.spans) == ["flow nightly", "task wait"]
    assert {span.status.message for span in receiver.spans} == {"the process was lost"}
    assert (again.returncode, again.stderr) == (elsewhere.returncode, elsewhere.stderr)
    assert again.stderr == "otelflow: no run was lost\n"


def test_ps_follows_until_it_is_told_to_end(running, variables):
    process = start(sys.executable, "-m", "otelflow", "ps", "--follow", **variables)
    lines = [process.stdout.readline() for _ in range(2)]
    running.kill()
    said = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert "nightly" in lines[1]
    assert (said, process.returncode) == ("otelflow: no run is open\n", 0)


def test_ps_tells_the_last_message_and_of_programs_that_have_a_store_alone(tmp_path):
    state = {"XDG_STATE_HOME": tmp_path / "state", "COLUMNS": "200"}
    spooling = start(sys.executable, "-c", PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **state)
    storing = start(sys.executable, "-c", PROGRAM, "store", **state)
    try:
        for process in (spooling, storing):
            while process.stdout.readline() != "ready\n":
                pass
        for _ in range(30):
            done = run_python("-m", "otelflow", "ps", **state)
            if len(words(done.stdout)) == 3 and "on it" in done.stdout:
                break
    finally:
        end(spooling)
        end(storing)

    _, spooled, stored = words(done.stdout)
    assert spooled[-5:] == ["nightly", "task", "wait", "on", "it"]
    assert (stored[-2:], stored[1]) == (["flow", "nightly"], str(storing.pid))


def test_ps_lists_the_processes_of_one_trace_each(tmp_path):
    trace = {"TRACEPARENT": f"00-{'ab' * 16}-{'cd' * 8}-01", "XDG_STATE_HOME": tmp_path / "state", "COLUMNS": "200"}
    spooling = start(sys.executable, "-c", PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **trace)
    storing = start(sys.executable, "-c", PROGRAM, "store", **trace)
    try:
        for process in (spooling, storing):
            while process.stdout.readline() != "ready\n":
                pass
        for _ in range(30):
            done = run_python("-m", "otelflow", "ps", **trace)
            if len(words(done.stdout)) == 3:
                break
    finally:
        end(spooling)
        end(storing)

    _, *rows = words(done.stdout)
    assert [row[:2] for row in rows] == [["ab" * 16, str(process.pid)] for process in (spooling, storing)]


def test_ps_lists_a_run_of_a_store_however_many_have_begun_since(tmp_path):
    store = tmp_path / "store"
    many = (
        "import sys, otelflow; otelflow.configure(service_name='shop', store=sys.argv[1])\n"
        "for number in range(25): otelflow.flow(flow_name=f'short {number}')(int)().execute()\n"
    )
    process = start(sys.executable, "-c", PROGRAM, "store", OTELFLOW_STORE=store)
    try:
        while process.stdout.readline() != "ready\n":
            pass
        run_python("-c", many, store)
        for _ in range(30):
            done = run_python("-m", "otelflow", "ps", OTELFLOW_STORE=store)
            if done.stdout:
                break
    finally:
        end(process)
    ended = run_python("-m", "otelflow", "ps", OTELFLOW_STORE=store)

    _, row = words(done.stdout)
    assert row[1] == str(process.pid)
    assert row[-2:] == ["flow", "nightly"]
    assert ended.stderr == "otelflow: no run is open\n"


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize("columns", [20, 80])
def test_on_a_narrow_terminal_neither_an_id_nor_a_name_is_broken(running, variables, columns):
    from support.terminals import run_in_terminal

    for _ in range(30):  # until the message is told, each second
        shown = run_in_terminal(
            [sys.executable, "-m", "otelflow", "ps"], cwd=None, env=clean_environment(**variables), columns=columns
        )
        raw = re.sub(r"\x1b\[[\d;]*m", "", shown.raw)
        if "on it" in raw:
            break

    first, *others = [line.rstrip() for line in raw.splitlines()]
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert "flow nightly" in " ".join(others)
    assert [line for line in others if line.endswith(("  flow nightly", "  task wait", "  on it"))] == others[-3:]


def test_every_spool_of_this_user_is_looked_at_when_none_is_named(variables, tmp_path):
    own = {**variables, "OTELFLOW_SPOOL_DIR": "", "OTELFLOW_SPOOL": "on", "XDG_STATE_HOME": tmp_path / "state"}
    process = start(sys.executable, "-c", PROGRAM, **own)
    try:
        process.stdout.readline()
        done = run_python("-m", "otelflow", "ps", XDG_STATE_HOME=tmp_path / "state")
        nothing = run_python("-m", "otelflow", "ps", XDG_STATE_HOME=tmp_path / "none")
    finally:
        end(process)

    assert "nightly" in done.stdout
    assert nothing.stderr == "otelflow: no run is open\n"


def test_a_folder_that_is_no_spool_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")

    done = run_python("-m", "otelflow", "ps", tmp_path)

    assert done.returncode == 2
    assert "holds files of others" in done.stderr


@pytest.mark.parametrize("command", ["ps", "recover"])
def test_a_folder_that_is_not_there_is_named(tmp_path, command):
    done = run_python("-m", "otelflow", command, tmp_path / "none")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"otelflow: There is no spool {tmp_path / 'none'}; without a folder, every spool of this user is looked at\n"
    )
