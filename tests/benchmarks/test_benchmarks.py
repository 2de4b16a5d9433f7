import http.client
import json
import re
import runpy
import socket
import threading
from pathlib import Path

import pytest

from support.programs import run_python

COMMAND = Path(__file__).with_name("run.py")
WEB_REQUESTS = Path(__file__).with_name("web_requests.py")
FAULTS = Path(__file__).with_name("faults.py")
DELIVERED = Path(__file__).with_name("delivered.py")


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_every_figure_as_json(tmp_path):
    written = tmp_path / "figures.json"

    done = run_python(COMMAND, "--quick", "--json", written, cwd=tmp_path, timeout=110)

    assert done.returncode == 0, done.stderr
    report = json.loads(written.read_text())
    measured = {(figure["group"], figure["name"]) for figure in report["figures"]}
    assert {("task", "hand-written"), ("task", "otelflow, 1 listener"), ("flow", "otelflow")} <= measured
    assert all(figure["microseconds"] > 0 for figure in report["figures"])
    assert {"opentelemetry.trace", "otelflow"} <= set(report["import_milliseconds"])
    assert "otelflow" in report["bytes_retained_per_flow"]
    assert len(report["targets"]) == 10
    assert "otelflow, 10 listeners" in done.stdout


def figures_of(line):
    """Return the numbers of one line that ``faults.py`` prints, by their names."""
    figures = [figure.rsplit(" ", 1) for figure in line.split("  ") if figure.strip()]
    return {name.strip(): float(value.replace(",", "")) for name, value in figures[1:]}


def measured(what, cwd):
    done = run_python(FAULTS, what, "--quick", cwd=cwd, timeout=110)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.startswith(f"{what}, size ")
    return [figures_of(line + "  ") for line in lines]


@pytest.mark.slow
def test_the_measure_of_the_exit_has_a_line_for_each_collector(tmp_path):
    bare, *collectors = measured("exit", tmp_path)

    assert list(bare) == ["seconds"]
    ways = [f"{how}, {signals}" for how in ("queue", "spool") for signals in ("traces", "all signals")]
    assert [list(figures) for figures in collectors] == [ways] * 4


@pytest.mark.slow
def test_the_measure_of_an_event_loop_tells_what_arrived_and_what_did_not(tmp_path):
    without, by_hand, queue, spool = measured("loop", tmp_path)

    assert without["units"] > 0
    assert 0 < by_hand["arrived"] <= by_hand["units"]
    for figures in (queue, spool):
        assert figures["arrived"] + figures["lost"] + figures["waiting"] == figures["units"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["flood", "outage"])
def test_of_each_span_of_a_fault_it_is_told_where_it_is(tmp_path, what):
    queue, spool = measured(what, tmp_path)

    for figures in (queue, spool):
        assert figures["made"] == figures["arrived"] + figures["waiting"] + figures["lost"]
    assert spool["arrived"] == spool["made"] > 0
    assert (spool["lost"], spool.get("twice", 0)) == (0, 0)


@pytest.mark.slow
def test_of_killed_programs_everything_that_had_ended_arrives_with_a_spool(tmp_path):
    queue, spool = measured("kill", tmp_path)

    assert queue["of them told"] == 0
    assert spool["of them arrived"] == spool["ended"] > 0
    assert spool["of them told"] == spool["open flows"] == 2


@pytest.mark.slow
def test_the_measure_of_requests_has_a_line_for_each_server(tmp_path):
    pytest.importorskip("uvicorn", reason="not installed: pip install 'otelflow[hosts]'")
    pytest.importorskip("gunicorn", reason="not installed: pip install 'otelflow[hosts]'")
    done = run_python(WEB_REQUESTS, "--rounds", "1", "--requests", "100", "--wait", "0", cwd=tmp_path, timeout=110)

    assert done.returncode == 0, done.stderr
    number = r"-?\d+\.\d\d"
    line = rf"median {number}  p99 {number}  throughput {number}  added ms {number}"
    assert re.fullmatch(rf"uvicorn  {line}\ngunicorn  {line}\n", done.stdout)


def test_a_server_that_has_ended_the_idle_connection_is_asked_on_a_new_one():
    measure = runpy.run_path(str(WEB_REQUESTS))["latencies"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer_once_each, args=(server, 2), daemon=True)
        answering.start()
        connection = http.client.HTTPConnection(*server.getsockname(), timeout=20)

        seconds = [*measure(connection, 1), *measure(connection, 1)]

        answering.join(20)
        connection.close()
    assert len(seconds) == 2


def answer_once_each(server, connections):
    """Answer the first request of each connection, and end it, as a server whose client was idle."""
    for _ in range(connections):
        connection = server.accept()[0]
        with connection:
            while not connection.recv(65_536).endswith(b"\r\n\r\n"):
                pass
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n0.5")


@pytest.mark.slow
def test_the_cost_of_a_delivered_span_is_that_of_spans_that_all_arrived(tmp_path):
    done = run_python(DELIVERED, "--rounds", "1", "--spans", "200", cwd=tmp_path, timeout=110)

    assert done.returncode == 0, done.stderr
    line = re.compile(r"(.{16}) *\d+\.\d µs  \(.*\)  of by hand \d+\.\d\d  arrived (\d\.\d{4})")
    figures = dict(line.fullmatch(each).groups() for each in done.stdout.splitlines())
    assert {name.strip() for name in figures} >= {"by hand", "otelflow, spool", "otelflow, queue", "logfire"}
    assert set(figures.values()) == {"1.0000"}
