"""A task in another process that waits is told when nobody needs it any more."""

import concurrent.futures
import multiprocessing
import tempfile
import threading
from pathlib import Path

import pytest

import otelflow
from otelflow import flow
from otelflow.runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from otelflow.runners._stops import Stop, SubmittedElsewhere
from support.remote_tasks import retry_for_ever, retry_for_ever_async, wait_for_rate
from support.servers import wait_until
from support.spans import result

PATIENCE = 60
TASKS = [retry_for_ever, retry_for_ever_async, wait_for_rate]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder for temporary files in which nobody else makes any."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def left_behind():
    return set(Path(tempfile.gettempdir()).glob("otelflow-stop-*"))


@pytest.fixture
def executor():
    """An executor of the user's, in whose processes Python begins anew."""
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(params=["spawn", "fork", "executor", "threads"])
def runner(request):
    if request.param == "executor":
        return request.getfixturevalue("executor")
    return ThreadPoolTaskRunner(2) if request.param == "threads" else ProcessPoolTaskRunner(2, request.param)


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.__name__)
def test_a_flow_that_fails_does_not_wait_for_what_waits_in_a_task(spans, tmp_path, monkeypatch, runner, kind):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before, ends = left_behind(), []

    @flow(task_runner=runner)
    def fails():
        kind.submit(str(tmp_path))
        wait_until((tmp_path / "waits").exists, PATIENCE)
        raise ValueError("it fails")

    def run():
        with otelflow.rate_limit("test-stops", "1/20d"), pytest.raises(ValueError, match="it fails"):
            fails().execute()
        ends.append("it has ended")

    threading.Thread(target=run, daemon=True).start()
    wait_until(lambda: ends, PATIENCE)

    assert result(spans.one("flow fails")) == "failure"
    assert result(spans.one(f"task {kind.__name__}")) == "cancellation"
    assert left_behind() <= before


def test_one_future_that_is_cancelled_is_not_tried_again_elsewhere(spans, tmp_path, executor):
    @flow(task_runner=executor)
    def cancels():
        future = retry_for_ever.submit(str(tmp_path))
        wait_until((tmp_path / "waits").exists, PATIENCE)
        is_cancelled = future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(PATIENCE)
        return is_cancelled

    assert cancels().execute().flow_return_value is False, "it runs still when it is asked"
    assert result(spans.one("task retry_for_ever")) == "cancellation"


def test_a_file_is_there_from_the_word_to_the_end_and_not_after():
    stop, late = Stop(), Stop()
    here = SubmittedElsewhere(stop.path)
    seen = [here.is_cancel_asked]
    stop.give()
    stop.give()
    seen.append(here.is_cancel_asked)
    stop.clear()
    seen.append(here.is_cancel_asked)
    late.clear()
    late.give()

    assert seen == [False, True, False]
    assert stop.path != late.path
    assert not Path(late.path).exists()


def test_a_task_removes_the_file_when_it_ends_since_who_made_it_may_be_gone():
    stop = Stop()
    stop.give()
    here = SubmittedElsewhere(stop.path)
    before = left_behind()
    here.end()
    here.end()

    assert before == {Path(stop.path)}
    assert left_behind() == set()


def test_without_a_folder_to_write_to_nothing_is_told(monkeypatch):
    def refuse():
        raise FileNotFoundError("No usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)

    stop = Stop()
    stop.give()
    stop.clear()

    assert stop.path == ""
    here = SubmittedElsewhere(stop.path)
    here.end()
    assert not here.is_cancel_asked
