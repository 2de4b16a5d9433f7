"""A resumed flow finds what its tasks have returned in other processes, inside a map too."""

import subprocess
import sys

import pytest

from otelflow import flow, semconv, task
from otelflow._core.runs.observers import add_observer
from otelflow.metrics._counts import Aggregator
from otelflow.runners import ProcessPoolTaskRunner

pytest.importorskip("cloudpickle")


def test_what_was_done_in_other_processes_is_not_done_again_and_counted_apart(tmp_path, spans):
    aggregator = Aggregator()
    add_observer(aggregator)
    calls, mended = tmp_path / "calls", tmp_path / "mended"

    @task(persist_result=True)
    def double(number):
        with calls.open("a") as file:
            file.write(f"{number}\n")
        return 2 * number

    @task
    def finish():
        if not mended.exists():
            raise LookupError("not yet")
        return 0

    @flow(persist_result=True, task_runner=ProcessPoolTaskRunner(2))
    def nightly():
        return [*double.map([1, 2, 1, 3]).result(), finish.submit().result()]

    run = nightly()
    with pytest.raises(LookupError):
        run.execute()
    mended.touch()

    resumed = nightly.resume(run.flow_id).execute()

    assert resumed.flow_return_value == [2, 4, 2, 6, 0]
    assert sorted(calls.read_text().split()) == ["1", "1", "2", "3"]
    replayed = [span for span in spans.named("task double") if span.attributes.get(semconv.RUN_REPLAYED)]
    first = {span.context.span_id for span in spans.named("task double")[:4]}
    assert {span.links[0].context.span_id for span in replayed} == first
    numbers = {
        series.task: (series.reused, series.durations["success"].count) for series in aggregator.snapshot().tasks
    }
    assert numbers == {"double": (4, 4), "finish": (0, 1)}


PROGRAM = """
import sys, uuid
from pathlib import Path
from otelflow import flow, task

@task(persist_result=True)
def draw(word):
    with Path("draws").open("a") as file:
        print(word, file=file)
    return uuid.uuid4().hex

@task(persist_result=True)
def outer(number):
    drawn = draw("same")
    with Path("drawn").open("a") as file:
        print(number, drawn, file=file)
    if not Path("mended").exists():
        raise LookupError("not yet")
    return f"{number} {drawn}"

@flow(persist_result=True, task_runner=Path("runner").read_text())
def nightly():
    singles = draw.map(["single"] * 3).result()
    return [*outer.map(range(4)).result(), len(set(singles))]

if __name__ == "__main__":
    run = nightly()
    print(run.flow_id)
    try:
        run.execute()
    except LookupError:
        pass
"""


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_the_program_and_the_command_resume_the_same_calls_also_inside_of_tasks(tmp_path, monkeypatch, runner):
    monkeypatch.setenv("OTELFLOW_RESULTS", str(tmp_path / "results"))
    (tmp_path / "job.py").write_text(PROGRAM)
    (tmp_path / "runner").write_text(runner)

    def python(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
        ).stdout

    run_id = python("job.py").split()[0]
    draws, drawn = sorted((tmp_path / "draws").read_text().split()), (tmp_path / "drawn").read_text().splitlines()
    (tmp_path / "mended").touch()
    python("-m", "otelflow", "resume", "job.py:nightly", run_id)

    assert draws[-3:] == ["single"] * 3
    drawn_again = (tmp_path / "drawn").read_text().splitlines()[len(drawn) :]
    assert len({line.split()[1] for line in drawn_again}) == len(drawn_again) == 4
    assert set(drawn) <= set(drawn_again)
    assert sorted((tmp_path / "draws").read_text().split()) == ["same"] * 4 + ["single"] * 3


CACHED = """
import uuid
from otelflow import flow, task
from otelflow.cache_policies import FLOW_PARAMETERS

@task(cache_policy=FLOW_PARAMETERS, result_storage="kept")
def draw():
    return uuid.uuid4().hex

@flow(task_runner="processes")
def remote(number):
    return draw.submit().result()

@flow
def local(number):
    return draw()

if __name__ == "__main__":
    print(*[each.execute().flow_return_value for each in (remote(1), remote(1), remote(2), local(1))])
"""


def test_the_parameters_of_the_flow_are_known_in_other_processes(tmp_path):
    (tmp_path / "job.py").write_text(CACHED)

    run = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )

    first, again, other, local = run.stdout.split()
    assert first == again == local != other
