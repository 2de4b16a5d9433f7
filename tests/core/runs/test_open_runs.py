"""The one register of open runs, and who is told when the first one opens and the last one closes."""

import gc
import threading

import pytest

from otelflow import Flow, flow, task
from otelflow._core.runs import open_runs


class Notes:
    """Writes down what it is told."""

    def __init__(self):
        self.notes = []

    def first_opened(self):
        self.notes.append("first opened")

    def last_closed(self):
        self.notes.append("last closed")


@pytest.fixture
def notes(monkeypatch):
    watcher = Notes()
    monkeypatch.setattr(open_runs._open, "watchers", (watcher,))
    return watcher.notes


def names():
    return [run.task_name or run.flow_name for run in open_runs.open_runs()]


def test_open_runs_stand_in_the_order_in_which_they_were_opened():
    @task
    def inner():
        return names()

    @flow
    def outer():
        return inner()

    assert outer().execute().flow_return_value == ["outer", "inner"]
    assert names() == []


def test_the_first_to_open_and_the_last_to_close_are_told_once_each(notes):
    @task
    def inner():
        """Open and close within the flow."""

    @flow
    def outer():
        inner()
        inner()

    outer().execute()
    outer().execute()

    assert notes == ["first opened", "last closed"] * 2


def test_a_run_that_fails_is_open_no_more(notes):
    @task
    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()

    assert not open_runs.is_any()
    assert notes == ["first opened", "last closed"]


def test_a_block_is_no_run_that_can_be_ended_and_keeps_print_captured():
    with Flow(flow_name="around"):
        is_any, inside = open_runs.is_any(), names()

    assert (is_any, inside, open_runs.is_any()) == (True, [], False)


def test_an_abandoned_generator_is_kept_by_nobody():
    @task
    def numbers():
        yield 1
        yield 2

    waiting = numbers()
    next(waiting)
    inside = names()
    del waiting
    gc.collect()

    assert inside == ["numbers"]
    assert not open_runs.is_any()


def test_runs_of_all_threads_are_in_the_register():
    together = threading.Barrier(4, timeout=10)
    seen = []

    @task
    def meets():
        together.wait()
        seen.append(len(open_runs.open_runs()))
        together.wait()

    threads = [threading.Thread(target=meets) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert seen == [4] * 4
    assert not open_runs.is_any()
