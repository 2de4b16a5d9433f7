"""examples/nightly_report: by hand and with otelflow the same comes out, on every runner, and is made once."""

import itertools
import signal
import sys
from pathlib import Path

import pytest

from support.programs import end, run_python, start

FOLDER = Path(__file__).parents[3] / "examples/nightly_report"
DAY = "2026-11-27"
TOTAL = "16219.68 euros"


@pytest.fixture
def run_program(tmp_path):
    def call(program, *arguments, **environment):
        return run_python(FOLDER / program, *arguments, cwd=tmp_path, XDG_STATE_HOME=tmp_path / "state", **environment)

    return call


@pytest.mark.parametrize("program", ["before.py", "after.py"])
def test_both_print_the_same_and_reckon_nothing_twice(program, run_program):
    first, second = (run_program(program, DAY) for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert [done.stdout.count("forecast of") for done in (first, second)] == [3, 0]
    assert all(done.stdout.endswith(f"{TOTAL}\n") for done in (first, second))


@pytest.mark.parametrize("program", ["before.py", "after.py"])
@pytest.mark.parametrize(("arguments", "culprit"), [((DAY, "Paris"), "Paris"), (("someday",), "someday")])
def test_both_refuse_what_is_no_day_or_no_shop(program, arguments, culprit, run_program):
    done = run_program(program, *arguments)

    assert done.returncode != 0
    assert culprit in done.stderr.splitlines()[-1]
    assert "forecast of" not in done.stdout


@pytest.mark.parametrize("runner", ["inline", "threads", "dask", "ray"])
def test_what_is_kept_at_an_address_counts_on_every_runner(runner, run_program, installed, tmp_path):
    needed = {"dask": "distributed", "ray": "ray"}.get(runner)
    installed("fsspec", *[needed] if needed else [], extra=runner if needed else "fsspec")
    environment = {"KEPT": f"file://{tmp_path}/far", "RUNNER": runner}

    first = run_program("after.py", DAY, **environment)
    second = run_program("after.py", DAY, "Oslo", **environment | {"RUNNER": "inline"})

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert TOTAL in first.stdout
    assert second.stdout == "554.08 euros\n"  # what it is made of was there
    assert len(list((tmp_path / "far").iterdir())) == 3


@pytest.mark.parametrize(
    ("command", "stream", "line"),
    [
        ((FOLDER / "before.py", DAY, "--every", "0.1"), "stdout", TOTAL),
        (
            ("-m", "otelflow", "serve", f"{FOLDER / 'after.py'}:report", "--param", f"day={DAY}", "--every", "100ms"),
            "stderr",
            "report: success in",
        ),
    ],
    ids=["before", "after"],
)
def test_both_do_it_again_and_again_until_they_are_told_to_end(command, stream, line, tmp_path):
    process = start(sys.executable, *command, cwd=tmp_path, XDG_STATE_HOME=tmp_path / "state", RUNNER="threads")
    try:
        lines = iter(getattr(process, stream).readline, "")
        seen = itertools.islice((text for text in lines if line in text), 3)
        assert len([*seen]) == 3
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

        assert process.returncode == 0
    finally:
        end(process)


def test_runs_have_names_tags_and_links_to_what_was_made_before_in_jaeger(otelflow_run, read_tree, tmp_path):
    words = (f"{FOLDER / 'after.py'}:report", "--param", f"day={DAY}")
    state = {"XDG_STATE_HOME": tmp_path / "state"}
    _, first = otelflow_run(*words, **state)
    done, second = otelflow_run(*words, "--param", 'shops=["Oslo"]', **state)
    made, reused = read_tree(first, 8), read_tree(second, 4)

    assert sorted(line.strip() for line in made.lines()) == sorted(
        ["flow report", "map rate", *["task rate"] * 3, *["task forecast"] * 3]
    )
    assert made.attributes["otelflow.flow.run.name"] == f"report of {DAY}"
    assert "sales" in str(made.attributes["otelflow.run.tags"])
    assert {span.attributes["otelflow.task.run.name"] for span in made.find("task forecast")} == {
        f"{name} {DAY}" for name in ("Basel", "Oslo", "Turin")
    }
    (hit,) = reused.find("task forecast")
    assert hit.attributes["otelflow.cache.hit"] is True
    assert "forecast of Oslo" not in done.stdout
