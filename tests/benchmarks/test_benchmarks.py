import json
from pathlib import Path

import pytest

from support.programs import run_python

COMMAND = Path(__file__).with_name("run.py")


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
    assert len(report["targets"]) == 7
    assert "otelflow, 10 listeners" in done.stdout
