import json
import os
import re
import subprocess
import sys

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from otelflow_exporters._spool.batches import request_of
from otelflow_exporters._spool.signals import LOG_RECORDS
from otelflow_exporters._store.records import Segment

KILLED = """
import time, otelflow

telemetry = otelflow.configure(store=True)

@otelflow.task
def step():
    pass

@otelflow.flow
def endless():
    for _ in range(20):
        step()
    telemetry.force_flush(10_000)
    print("stored")
    time.sleep(60)

endless().execute()
"""

MARKS = """
import otelflow

@otelflow.flow
def marks(this_flow: otelflow.Flow = otelflow.INJECTED):
"""

PICTURE = "this_flow.add_flow_artifact(key='dots', data=bytes(range(60)), artifact_type='image')"

REQUEST = """
import otelflow
from opentelemetry import trace

telemetry = otelflow.configure(store=True)

@otelflow.flow
def handle():
    raise LookupError("no such order")

with trace.get_tracer("web").start_as_current_span("GET /orders"):
    try:
        handle().execute()
    except LookupError:
        pass
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory, flows, run_command):
    """A store with three runs: a success, a failure, and one with artifacts; the command line that reads it."""
    store = tmp_path_factory.mktemp("stored")

    def call(*arguments):
        return run_command(*arguments, store=store, cwd=flows)

    for arguments in (["ratio", "-p", "a=6"], ["ratio", "-p", "a=6", "-p", "b=0"], ["leave_artifacts"]):
        call("run", f"flows.py:{arguments[0]}", *arguments[1:])
    return call


def ids_of(done):
    documents = [json.loads(line) for line in done.out.splitlines()]
    return [document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] for document in documents]


def test_the_newest_trace_is_shown_with_its_artifacts_rendered(stored):
    done = stored("show")

    assert done.code == 0
    assert "✓ flow leave_artifacts" in done.out
    assert "Title" in done.out
    assert "# Title" not in done.out
    assert "fruit   count" in done.out
    assert "[whole: " in done.out
    assert done.err == ""


def test_the_last_ones_come_oldest_first(stored):
    done = stored("show", "--last", "2")

    assert done.out.index("✗ flow ratio") < done.out.index("✓ flow leave_artifacts")


def test_failed_traces_can_be_picked(stored):
    done = stored("show", "--failed", "--last", "9")

    assert done.out.count("trace ") == 1
    assert "✗ flow ratio" in done.out


def test_a_trace_is_found_by_how_its_id_begins(stored):
    trace_id = ids_of(stored("show", "--failed", "--json"))[0]

    done = stored("show", trace_id[:8])

    assert f"trace {trace_id}" in done.out


def test_json_is_otlp_with_one_line_for_each_trace(stored):
    done = stored("show", "--last", "3", "--json")

    assert len(set(ids_of(done))) == 3
    span = json.loads(done.out.splitlines()[0])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert isinstance(span["kind"], int)
    assert len(span["spanId"]) == 16


def test_the_list_has_one_line_for_each_trace_with_whole_ids_for_other_programs(stored):
    done = stored("show", "--list")

    heading, *lines = done.out.splitlines()
    assert heading.split() == ["trace", "started", "result", "spans", "failed", "seconds", "name"]
    assert [line.split()[0] for line in lines] == ids_of(stored("show", "--last", "3", "--json"))[::-1]


def test_the_list_is_as_long_as_asked(stored):
    assert [len(stored("show", "--list", "--last", str(count)).out.splitlines()) - 1 for count in (1, 2)] == [1, 2]


def test_a_run_that_was_killed_is_told_from_one_that_ended(otelflow, flows, store, environment_of):
    program = subprocess.Popen(
        [sys.executable, "-u", "-c", KILLED], cwd=flows, env=environment_of(store), stdout=subprocess.PIPE, text=True
    )
    assert program.stdout.readline() == "stored\n"
    program.kill()
    program.wait(10)
    program.stdout.close()

    shown, failed = otelflow("show"), otelflow("show", "--failed")
    (row,) = otelflow("show", "--list").out.splitlines()[1:]
    lost = otelflow("recover")

    assert row.split()[-6:] == ["incomplete", "21", "0", "?", "flow", "endless"]
    assert re.search(r"flow endless incomplete .* \?$", shown.out, re.MULTILINE)
    assert lost.lines == [
        (
            "otelflow: no run that was lost waits to be sent; 1 trace of the store is incomplete: "
            "'otelflow show --list --failed' has them"
        )
    ]
    assert "incomplete: the process of flow endless is gone" in shown.out
    assert "? flow endless incomplete" in shown.out
    assert "task step" in failed.out
    assert otelflow("forget", row.split()[0][:10]).out == "Forgot 1 trace with 20 spans.\n"


IDLE = """
import os, signal, otelflow

@otelflow.flow
def idle():
    otelflow.configure(store=True).force_flush(10_000)
    os.kill(os.getpid(), signal.SIGKILL)

otelflow.configure(store=True)
idle().execute()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_run_that_was_killed_before_anything_had_ended_is_forgotten_by_its_id(otelflow, flows, store, environment_of):
    subprocess.run([sys.executable, "-c", IDLE], cwd=flows, env=environment_of(store), check=False, timeout=60)
    trace_id = otelflow("show", "--list").out.splitlines()[1].split()[0]

    done = otelflow("forget", trace_id)

    assert (done.code, done.out) == (0, "Forgot 1 trace with 0 spans.\n")
    assert otelflow("forget", trace_id).code == 2


def test_a_run_that_goes_on_is_listed_as_running_under_its_name_and_then_as_it_ended(
    otelflow, flows, store, environment_of
):
    program = subprocess.Popen(
        [sys.executable, "-u", "-m", "otelflow", "run", "flows.py:wait"],
        cwd=flows,
        env=environment_of(store),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout.readline() == "waiting\n"
    listed = until(lambda: otelflow("show", "--list"), "running since")
    tree, failed = otelflow("show"), otelflow("show", "--failed")
    program.terminate()
    program.wait(20)
    program.stdout.close()
    ended = otelflow("show", "--list")

    assert re.search(r"running since \d\d:\d\d:\d\d .* flow wait", listed.out)
    assert re.search(r"▸ flow wait running since \d\d:\d\d:\d\d", tree.out)
    assert failed.code == 2
    assert "running" not in ended.out
    assert re.search(r"cancellation .* flow wait", ended.out)


def until(look, words):
    """Return what *look* returns as soon as *words* are in its output."""
    for _ in range(30):
        done = look()
        if words in done.out:
            return done
    raise AssertionError(done)


def test_a_flow_that_failed_under_a_root_that_succeeded_is_among_the_failed(otelflow, flows, store, environment_of):
    subprocess.run([sys.executable, "-c", REQUEST], cwd=flows, env=environment_of(store), check=True, timeout=60)

    done = otelflow("show", "--failed")

    assert "✓ GET /orders" in done.out
    assert "✗ flow handle" in done.out


POOL = """
from concurrent.futures import ThreadPoolExecutor
import otelflow

telemetry = otelflow.configure(store=True)

@otelflow.task
def step(number):
    return number

@otelflow.flow
def nightly():
    with ThreadPoolExecutor() as pool:
        return list(pool.map(step, range(3)))

nightly().execute()
"""


def test_tasks_that_began_in_a_plain_pool_do_not_hide_the_flow(otelflow, flows, store, environment_of):
    subprocess.run([sys.executable, "-c", POOL], cwd=flows, env=environment_of(store), check=True, timeout=60)
    meanwhile = otelflow("show")
    subprocess.run(
        [sys.executable, "-c", f"{POOL}step(3)"], cwd=flows, env=environment_of(store), check=True, timeout=60
    )
    later = otelflow("show")

    assert "✓ flow nightly" in meanwhile.out
    assert "3 tasks began meanwhile outside of it, each a trace of its own: 'otelflow show --list'" in meanwhile.err
    assert "✓ task step" in later.out, "what began after its end is the newest"


def test_a_task_that_failed_in_a_plain_pool_does_not_hide_the_flow_that_failed(otelflow, flows, store, environment_of):
    program = POOL.replace("    return number\n", "    return 1 / number\n")
    alone = "import otelflow; otelflow.configure(store=True); otelflow.task(len)(3)"

    subprocess.run([sys.executable, "-c", alone], cwd=flows, env=environment_of(store), check=False, timeout=60)
    without = otelflow("show", "--failed")
    subprocess.run([sys.executable, "-c", program], cwd=flows, env=environment_of(store), check=False, timeout=60)
    subprocess.run([sys.executable, "-c", alone], cwd=flows, env=environment_of(store), check=False, timeout=60)
    done, listed = otelflow("show", "--failed"), otelflow("show", "--failed", "--list")

    assert "✗ task len" in without.out
    assert "✗ flow nightly" in done.out
    assert "outside of any flow failed since, each a trace of its own: 'otelflow show --list --failed'" in done.err
    assert listed.out.count("task ") == 3


def test_a_flow_that_caught_what_failed_in_a_map_or_an_attempt_is_not_among_the_failed(otelflow, flows):
    (flows / "caught.py").write_text(
        """
import contextlib
from otelflow import flow, task

@task
def half(number):
    return 1 / number

@flow(retries=1, retry_delay=0)
def caught(attempts=[]):
    attempts.append(half.map([0, 0, 1]))
    with contextlib.suppress(ZeroDivisionError):
        attempts[-1].result()
    assert len(attempts) == 2
"""
    )
    run = otelflow("run", "caught.py:caught")

    failed, listed = otelflow("show", "--failed"), otelflow("show", "--list")

    assert (run.code, failed.code) == (0, 2)
    assert "No flow that failed is stored" in failed.err
    assert listed.out.splitlines()[1].split()[3:6] == ["success", "11", "4"]


def test_a_failed_run_has_its_file_its_line_and_its_traceback(stored):
    done = stored("show", "--failed")

    assert "ZeroDivisionError: division by zero\n" in done.out
    assert "Traceback (most recent call last):\n" in done.out
    assert re.search(r'File ".*flows\.py", line \d+, in divide\n', done.out)
    assert "otelflow/_core" not in done.out


def test_options_unfold_the_tree_and_are_refused_without_one(stored, otelflow, flows):
    source = """
@task
def note(number):
    print("note", number)

@flow
def notes():
    for number in range(20):
        note(number)
        print("line", number)
"""
    (flows / "notes.py").write_text("from otelflow import flow, task\n" + source)
    run = otelflow("run", "notes.py", "--tree")
    (trace_id,) = ids_of(otelflow("show", "--json"))
    usual, full, logs = otelflow("show"), otelflow("show", "--full"), otelflow("show", "--logs")
    refused = otelflow("show", "--list", "--full")

    assert f"what is folded: otelflow show {trace_id} --full\n" in run.err
    assert f"what is folded: otelflow show {trace_id} --full\n" in usual.out
    assert "folded with 20 messages" in usual.out
    for done in (full, logs):
        assert done.out.count(" note ") == 20 + 20
        assert done.out.count(" line ") == 20
        assert "folded" not in done.out
    assert otelflow("show", "--failed-only").out.endswith("nothing failed\n")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_a_large_artifact_comes_out_whole(stored):
    done = stored("show", "--artifact", "much")

    assert done.out == "x" * 100_000


def test_of_an_artifact_that_was_cut_the_beginning_comes_out_and_it_says_so(otelflow, flows):
    body = "    this_flow.add_flow_artifact(key='heap', data='x' * 10**6)"
    source = f"from otelflow import flow\n\n\n@flow\ndef leave_too_much(this_flow=None):\n{body}\n"
    (flows / "much.py").write_text(source)
    otelflow("run", "much.py:leave_too_much")

    done = otelflow("show", "--artifact", "heap")

    assert done.out.startswith("x" * 100_000)
    assert done.out.endswith("… [cut, 1,000,000 characters]")
    assert "The artifact heap was too large to be stored whole; this is its beginning" in done.err


def test_a_picture_is_no_base64_in_the_tree_and_comes_out_as_its_bytes(otelflow, flows, store, environment_of):
    otelflow("run", "flows.py:leave_artifacts")
    line = [sys.executable, "-m", "otelflow", "show", "--artifact", "dot"]

    written = subprocess.run(line, cwd=flows, env=environment_of(store), capture_output=True, timeout=30, check=True)

    assert written.stdout == bytes(range(60))
    assert "a picture of 60 bytes" in otelflow("show").out


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_a_terminal_gets_the_text_of_an_artifact_without_what_it_would_obey_and_no_bytes(
    otelflow, flows, store, environment_of
):
    from support.terminals import run_in_terminal

    text = "first\\x1b[31m red\\x1b]0;title\\x07\\u202e\\nsecond \\u20ac"
    body = f"    this_flow.add_flow_artifact(key='text', data='{text}', artifact_type='markdown')\n"
    (flows / "marks.py").write_text(f"{MARKS}{body}    {PICTURE}\n")
    otelflow("run", "marks.py:marks", cwd=flows)
    shown = [
        run_in_terminal(
            [sys.executable, "-m", "otelflow", "show", "--artifact", key], cwd=flows, env=environment_of(store)
        )
        for key in ("text", "dots")
    ]

    assert shown[0].raw == "first red\r\nsecond €\r\n"
    assert shown[1].raw == "otelflow: The artifact dots is no text but 60 bytes; lead them into a file: > FILE\r\n"


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize("columns", [40, 60, 132])
def test_what_a_dumb_terminal_shows_is_as_wide_as_it_is(otelflow, flows, store, environment_of, columns):
    from support.terminals import run_in_terminal

    body = (
        f"    this_flow.add_flow_artifact('words ' * 60, key='text', data='{'word ' * 60}', artifact_type='markdown')\n"
    )
    (flows / "marks.py").write_text(f"{MARKS}{body}")
    otelflow("run", "marks.py:marks", cwd=flows)
    tree, traces = (
        run_in_terminal(
            [sys.executable, "-m", "otelflow", "show", *options],
            cwd=flows,
            env=environment_of(store),
            columns=columns,
            kind="dumb",
        ).raw.splitlines()
        for options in ([], ["--list"])
    )

    assert columns - 12 < max(map(len, tree)) <= columns
    assert max(map(len, traces)) <= columns
    assert "\x1b" not in "".join(tree + traces)


def test_an_artifact_that_is_not_there_is_answered_with_those_that_are(stored):
    done = stored("show", "--artifact", "mush")

    assert done.code == 2
    assert "None of the newest 3 traces has an artifact 'mush'; the newest, " in done.err
    assert ", has: dot, much, page, rows" in done.err


def test_an_artifact_that_a_named_trace_does_not_have_is_answered_with_those_that_it_has(stored):
    trace_id = ids_of(stored("show", "--json"))[0]

    done = stored("show", trace_id, "--artifact", "mush")

    assert done.code == 2
    assert f"Trace {trace_id} has no artifact 'mush'; it has: dot, much, page, rows" in done.err


def test_an_artifact_comes_from_the_newest_trace_that_has_it(stored):
    before = stored("show", "--artifact", "much")
    stored("run", "flows.py:ratio", "-p", "a=6")

    after = stored("show", "--artifact", "much")
    absent = stored("show", "--artifact", "mush")

    assert (after.code, after.out) == (0, before.out)
    assert absent.code == 2
    assert re.search(
        r"None of the newest 4 traces has an artifact 'mush'; the newest, \w{32}, has: none$", absent.err, re.MULTILINE
    )


@pytest.mark.parametrize("options", [(), ("--list",)])
def test_a_number_of_traces_may_be_any(otelflow, options):
    otelflow("run", "flows.py:ratio", "-p", "a=6")

    done = otelflow("show", "--last", str(10**30), *options)

    assert (done.code, done.err) == (0, "")
    assert "flow ratio" in done.out


def test_what_is_forgotten_is_gone_and_the_rest_stays(otelflow):
    for _ in range(3):
        otelflow("run", "flows.py:ratio", "-p", "a=6")
    first = ids_of(otelflow("show", "--last", "9", "--json"))[0]

    one = otelflow("forget", first[:10])
    old = otelflow("forget", "--older-than", "1h")
    rest = otelflow("forget", "--all")

    assert one.out == "Forgot 1 trace with 2 spans.\n"
    assert old.out == "Forgot 0 traces with 0 spans.\n"
    assert rest.out == "Forgot 2 traces with 4 spans.\n"
    assert otelflow("show").code == 2


def test_what_is_forgotten_is_not_sent_either(otelflow, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for _ in range(3):
        otelflow("run", "flows.py:ratio", "-p", "a=6", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    first = ids_of(otelflow("show", "--last", "9", "--json"))[0]

    one = otelflow("forget", first[:10])
    left = otelflow("forget", first, OTELFLOW_STORE="off")
    rest = otelflow("forget", "--all", OTELFLOW_STORE="off")

    assert one.out == "Forgot 1 trace with 2 spans.\nForgot 2 spans of a spool, sent or not.\n"
    assert left.code == 2
    assert rest.out == "Forgot 4 spans of a spool, sent or not.\n"
    assert not list((tmp_path / "state").rglob("*.otlp"))


def waiting_log_records(folder):
    """Return the text of each log record that waits, by its trace."""
    texts = {}
    for segment in (folder / "state").rglob("logs/*.otlp"):
        for _, start, fields_end, _ in Segment(segment.read_bytes()).bodies():
            item = LOG_RECORDS.read(segment.read_bytes()[start:fields_end], 0)
            for resource_logs in LogsData.FromString(request_of([item])).resource_logs:
                for record in resource_logs.scope_logs[0].log_records:
                    texts.setdefault(record.trace_id.hex(), []).append(record.body.string_value)
    return texts


def test_the_log_records_of_what_is_forgotten_are_not_sent_either(otelflow, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    variables = {"OTELFLOW_EVENTS": "both", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    for number in (6, 8, 10):
        otelflow("run", "flows.py:ratio", "-p", f"a={number}", **variables)
    first, second, third = ids_of(otelflow("show", "--last", "9", "--json"))
    before = waiting_log_records(tmp_path)

    one = otelflow("forget", first[:10])
    after = waiting_log_records(tmp_path)
    without_store = otelflow("forget", second[:10], OTELFLOW_STORE="off")
    recent = otelflow("forget", "--older-than", "1h")
    last = waiting_log_records(tmp_path)
    old = otelflow("forget", "--older-than", "0s", OTELFLOW_STORE="off")

    assert before[first] == ["dividing 6 by 2", "3.0"]
    assert "Forgot 2 log records of a spool, sent or not.\n" in one.out
    assert after == {second: ["dividing 8 by 2", "4.0"], third: ["dividing 10 by 2", "5.0"]}
    assert "Forgot 2 spans of a spool, sent or not.\nForgot 2 log records of a spool" in without_store.out
    assert "log record" not in recent.out
    assert last == {third: ["dividing 10 by 2", "5.0"]}
    assert "Forgot 2 log records of a spool, sent or not.\n" in old.out
    assert waiting_log_records(tmp_path) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_a_narrow_terminal_keeps_the_id_and_the_name(otelflow, flows, store, environment_of):
    otelflow("run", "flows.py:ratio", "-p", "a=6")
    heads = {}
    for columns in (110, 80, 60, 40):
        master, slave = os.openpty()
        subprocess.run(
            [sys.executable, "-m", "otelflow", "show", "--list"],
            cwd=flows,
            env=environment_of(store, COLUMNS=str(columns), TERM="xterm"),
            stdout=slave,
            check=True,
            timeout=30,
        )
        os.close(slave)
        heads[columns] = re.sub(r"\x1b\[[\d;]*m", "", os.read(master, 4_096).decode()).splitlines()
        os.close(master)

    (trace_id,) = ids_of(otelflow("show", "--json"))
    assert [lines[0].split() for lines in heads.values()] == [
        ["trace", "started", "result", "spans", "failed", "seconds", "name"],
        ["trace", "started", "result", "failed", "name"],
        ["trace", "result", "name"],
        [trace_id],
    ]
    assert heads[40][1] == "  success  flow ratio"
    assert all(trace_id in "\n".join(lines) for lines in heads.values())
    assert all(lines[1].rstrip().endswith("flow ratio") for lines in heads.values())


def test_a_spool_that_is_not_its_own_is_called_a_spool(otelflow, tmp_path):
    (tmp_path / "docs").mkdir(mode=0o700)
    (tmp_path / "docs" / "thesis.odt").write_text("mine")

    done = otelflow("forget", "--all", OTELFLOW_SPOOL_DIR=tmp_path / "docs")

    assert done.code == 2
    assert f"The spool {tmp_path / 'docs'} holds files of others" in done.err
    assert "OTELFLOW_SPOOL_DIR" in done.err
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["thesis.odt"]


@pytest.mark.parametrize(
    "arguments", [("--list",), (), ("--failed",), ("4bf9",), ("4bf92f3577b34da6a3ce929d0e0e4736",)]
)
def test_a_store_of_which_nothing_can_be_read_is_not_called_empty(otelflow, store, arguments):
    otelflow("run", "flows.py:leave_artifacts")
    for segment in store.glob("*.otlp"):
        segment.write_bytes(b"\xff" * 1_000)

    done = otelflow("show", *arguments)

    assert "1,000 bytes there are unreadable" in done.err
    assert done.code == 2
