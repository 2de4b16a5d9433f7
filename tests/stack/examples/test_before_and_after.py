"""examples/before_and_after: by hand and with otelflow the same comes out, and only one of them leaves a trace."""

import re
import sys
from pathlib import Path

import pytest

from support.programs import run, run_python

FOLDER = Path(__file__).parents[3] / "examples/before_and_after"
REPORT = f"{FOLDER / 'after.py'}:report"
CITIES = ("--param", 'cities=["Bern", "Oslo", "Atlantis"]')


@pytest.mark.parametrize("program", ["before.py", "after.py"])
def test_both_print_the_same_and_ask_nothing_twice(program, tmp_path):
    (tmp_path / "mail-is-up").touch()

    runs = [run_python(FOLDER / program, cwd=tmp_path, XDG_STATE_HOME=tmp_path / "state") for _ in range(2)]

    assert [(done.returncode, done.stdout) for done in runs] == [(0, "Atlantis is missing\n4 cities\n")] * 2
    assert [done.stderr.count("the service is away; the next one follows in 50 ms") for done in runs] == (
        [4, 0] if program == "after.py" else [0, 0]
    )


def test_what_was_tried_waited_for_and_resumed_is_in_jaeger(otelflow_run, read_tree, collector, tmp_path):
    state = {"XDG_STATE_HOME": tmp_path / "state"}
    failed, trace_id = otelflow_run(REPORT, *CITIES, **state)

    root = read_tree(trace_id, 10)
    assert sorted(line.strip() for line in root.lines()) == sorted(
        ["✗ flow report", "✗ map degrees", "✗ task mail", "✗ task degrees", "✗ attempt degrees"]
        + ["task degrees", "✗ attempt degrees", "attempt degrees"] * 2
    )
    tasks = {span.attributes["otelflow.task.run.name"]: span.attributes for span in root.find("task degrees")}
    assert {name: task.get("otelflow.run.attempts") for name, task in tasks.items()} == {
        "Bern": "2",
        "Oslo": "2",
        "Atlantis": "1",
    }
    assert tasks["Atlantis"]["otelflow.run.result"] == "timeout"

    (tmp_path / "mail-is-up").touch()
    run_id = re.findall(r"otelflow resume \S+ (\S+)", failed.stderr)[-1]
    resumed = run(
        *(sys.executable, "-m", "otelflow", "resume", REPORT, run_id),
        cwd=tmp_path,
        OTELFLOW_STORE=tmp_path / "store",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector,
        **state,
    )

    assert (failed.returncode, resumed.returncode) == (1, 0), resumed.stderr
    again = read_tree(re.findall(r"trace ([0-9a-f]{32})", resumed.stderr)[-1], 6)
    assert again.attributes["otelflow.flow.run.attempt"] == "2"
    hits = {span.attributes["otelflow.task.run.name"] for span in again.find("task degrees") if not span.children}
    assert hits == {"Bern", "Oslo"}
