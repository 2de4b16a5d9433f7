"""A resumed flow finds what its tasks have returned in other processes, inside a map too."""

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
