"""A worker: soon when woken, in intervals, to the end when closed, and never longer than it may."""

import contextlib
import multiprocessing
import sys
import threading
import time

import pytest

from otelflow._core.process import clock, shutdown
from otelflow._core.process.worker import Worker, uninstrumented


class Pile:
    """Pieces of work, done one at a time."""

    def __init__(self, pieces=0, seconds=0.0):
        self.pieces = pieces
        self.done = []
        self.seconds = seconds

    def work(self):
        if not self.pieces:
            return False
        time.sleep(self.seconds)
        self.pieces -= 1
        self.done.append(threading.current_thread())
        return True


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_flush_waits_until_nothing_is_left():
    pile = Pile(5)
    worker = Worker(pile.work)
    worker.start_thread()

    is_in_time = worker.flush(10)

    assert (is_in_time, len(pile.done)) == (True, 5)
    assert set(pile.done) == {worker.thread}
    worker.close()


def test_a_flush_keeps_its_time_limit():
    worker = Worker(Pile(1, seconds=1).work)
    worker.start_thread()
    began = time.monotonic()

    assert not worker.flush(0.05)
    assert time.monotonic() - began < 0.8
    worker.close()


@pytest.mark.parametrize("has_thread", [True, False])
def test_a_worker_that_has_ended_is_waited_for_by_nobody(has_thread):
    worker = Worker(Pile(2).work)
    if has_thread:
        worker.start_thread()
    worker.close()
    answers = []
    flush = threading.Thread(target=lambda: answers.append(worker.flush(60)), daemon=True)
    flush.start()
    flush.join(30)

    assert answers == [True]


def test_a_time_that_no_system_knows_is_a_very_long_one():
    pile = Pile(1)
    worker = Worker(pile.work, interval=1e30, shutdown_timeout=1e30)
    worker.start_thread()

    assert worker.flush(1e30)
    assert worker.close()
    assert pile.pieces == 0


def test_it_works_in_each_interval_one_piece_at_a_time():
    pile = Pile(3)
    worker = Worker(pile.work, interval=0.01)

    worker.start_thread()

    assert wait_for(lambda: len(pile.done) == 3)
    worker.close()


def test_it_works_when_it_is_due():
    pile = Pile(10)
    worker = Worker(pile.work, is_due=lambda: pile.pieces > 4)

    worker.start_thread()

    assert wait_for(lambda: len(pile.done) == 6)
    time.sleep(0.05)
    assert pile.pieces == 4
    worker.close()


def test_closing_does_what_is_left_and_ends_the_thread():
    pile = Pile(5)
    worker = Worker(pile.work)
    worker.start_thread()
    thread = worker.thread

    assert worker.close()
    assert (pile.pieces, thread.is_alive()) == (0, False)
    assert worker.close(), "a second time does nothing"


@pytest.mark.parametrize("is_held", [False, True])
def test_closing_ends_the_thread_also_from_a_signal_handler_that_comes_while_its_lock_is_held(is_held):
    pile = Pile(5)
    worker = Worker(pile.work, shutdown_timeout=600.0)
    worker.start_thread()
    results = []

    def close():
        with worker.lock if is_held else contextlib.nullcontext():
            results.append(worker.close())

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(30)

    assert results == [True]
    assert (pile.pieces, worker.thread.is_alive()) == (0, False)


def test_a_thread_may_be_told_to_end_after_what_it_does_and_nobody_waits_for_it():
    pile, may_go_on = Pile(1), threading.Event()

    def work():
        may_go_on.wait(10)
        return pile.work()

    worker = Worker(work)
    worker.start_thread()
    worker.wake()
    worker.close_soon()
    is_alive = worker.thread.is_alive()
    may_go_on.set()
    worker.thread.join(10)

    assert (is_alive, worker.thread.is_alive(), len(pile.done)) == (True, False, 1)


def test_closing_takes_no_longer_than_it_may():
    release = threading.Event()
    worker = Worker(lambda: release.wait(10) and False, shutdown_timeout=0.1)
    worker.start_thread()
    worker.wake()
    began = time.monotonic()

    assert not worker.close()
    assert time.monotonic() - began < 3
    release.set()


def test_workers_that_end_together_have_one_time_limit_and_begin_at_once():
    release = threading.Event()
    workers = [Worker(lambda: release.wait(10) and False, shutdown_timeout=0.5) for _ in range(4)]
    pile = Pile(3)
    quick = Worker(pile.work)
    for worker in (*workers, quick):
        worker.start_thread()
    began = time.monotonic()

    with shutdown.end_together():
        in_time = [worker.close() for worker in workers]
        left_before_its_turn = pile.pieces
        in_time.append(quick.close())

    assert time.monotonic() - began < 2
    assert in_time == [False] * 4 + [True]
    assert left_before_its_turn == 0
    release.set()


def test_what_goes_on_after_an_end_has_the_whole_time_again():
    release = threading.Event()
    with shutdown.end_together():
        hanging = Worker(lambda: release.wait(10) and False, shutdown_timeout=0.3)
        hanging.start_thread()
        hanging.wake()
        hanging.close()
    release.set()
    pile = Pile(1, seconds=0.6)
    worker = Worker(pile.work, shutdown_timeout=2)
    worker.start_thread()
    worker.wake()

    assert worker.close()
    assert pile.pieces == 0


def test_a_worker_takes_work_until_its_own_end_while_others_end():
    pile = Pile()
    first, second = Worker(Pile().work), Worker(pile.work)
    for worker in (first, second):
        worker.start_thread()

    with shutdown.end_together():
        first.close()
        pile.pieces = 2
        is_in_time = second.close()

    assert (is_in_time, pile.pieces) == (True, 0)


def test_without_a_thread_what_is_left_is_done_by_who_closes(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pile = Pile(3)
    worker = Worker(pile.work)
    worker.start_thread()

    assert worker.close()
    assert (worker.thread, pile.done) == (None, [threading.current_thread()] * 3)


def test_a_closed_worker_starts_no_thread():
    worker = Worker(Pile().work)
    worker.close()

    worker.start_thread()

    assert worker.thread is None


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_forked_child_has_a_thread_of_its_own():
    pile = Pile(0)
    worker = Worker(pile.work)
    worker.start_thread()
    with worker.changed:  # held by the parent, free in the child
        child = multiprocessing.get_context("fork").Process(target=work_in_child, args=(worker, pile))
        child.start()
    child.join(20)

    assert child.exitcode == 0
    worker.close()


def work_in_child(worker, pile):
    assert worker.thread is None
    pile.pieces = 2
    worker.start_thread()
    assert worker.flush(10)
    assert len(pile.done) == 2


def test_what_a_worker_sends_is_no_matter_for_instrumentations():
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    with uninstrumented():
        inside = is_instrumentation_enabled()

    assert (inside, is_instrumentation_enabled()) == (False, True)


def test_starting_tells_whether_there_is_a_thread(monkeypatch):
    worker, late, without = Worker(Pile().work), Worker(Pile().work), Worker(Pile().work)
    late.close()
    started = [worker.start_thread(), worker.start_thread(), late.start_thread()]
    worker.close()
    started.append(worker.start_thread())
    with monkeypatch.context() as refusing:
        refusing.setattr(threading.Thread, "start", refuse)
        started.append(without.start_thread())

    assert started == [True, True, False, True, False]
    assert without.start_thread(), "the next attempt may succeed"
    without.close()


def refuse(_):
    raise RuntimeError("can't start new thread")


def test_an_end_has_a_deadline_of_four_and_a_half_seconds_unless_the_user_says_otherwise():
    workers = Worker(Pile().work), Worker(Pile().work, shutdown_timeout=60)
    before = [worker.deadline for worker in workers]
    began = time.monotonic()
    for worker in workers:
        worker.close()
    ended = time.monotonic()

    assert before == [float("inf")] * 2
    for worker, seconds in zip(workers, (4.5, 60), strict=True):
        assert began + seconds <= worker.deadline <= ended + seconds


def test_only_a_thread_that_works_is_woken_before_the_end():
    without, closed = Worker(Pile().work), Worker(Pile().work)
    closed.start_thread()
    closed.close()
    for worker in (without, closed):
        worker.deliver_soon()

    assert not without.is_behind
    assert not closed.is_behind
    without.wake()
    assert without.is_behind


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_may_be_closed_by_its_own_work():
    closed = []
    worker = Worker(lambda: closed.append(worker.close()) or False)
    worker.start_thread()
    thread = worker.thread
    worker.wake()
    thread.join(10)

    assert closed[0] is True
    assert not thread.is_alive()


def test_what_a_thread_that_has_not_begun_would_do_is_done_by_who_closes(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    pile = Pile(2)
    worker = Worker(pile.work)
    worker.start_thread()

    assert worker.close()
    assert pile.done == [threading.current_thread()] * 2


def test_a_thread_whose_work_raises_goes_on_after_a_pause(caplog):
    calls = []

    def work():
        calls.append(threading.current_thread())
        if len(calls) == 1:
            raise ZeroDivisionError("at work")
        return False

    worker = Worker(work, is_due=lambda: len(calls) < 3)
    worker.start_thread()
    wait_for(lambda: calls)
    time.sleep(0.1)  # in which thousands would come without the pause
    calls_meanwhile = len(calls)
    is_in_time = worker.flush(10)

    assert (calls_meanwhile, is_in_time) == (1, True)
    assert len(calls) > 1
    assert set(calls) == {worker.thread}
    assert "ZeroDivisionError: at work" in caplog.text
    assert worker.close()


def test_a_close_whose_work_raises_comes_to_its_end(caplog):
    def work():
        raise ZeroDivisionError("at work")

    without, with_thread = Worker(work), Worker(work)
    with_thread.start_thread()

    assert without.close()
    assert with_thread.close()
    assert "ZeroDivisionError: at work" in caplog.text


def test_where_no_thread_is_to_be_had_it_works_on_this_one_until_a_deadline():
    pieces = [1, 2, 3]
    worker = Worker(lambda: pieces.pop() > 1)

    assert not worker.work_here(clock.monotonic() - 1)
    assert pieces == [1, 2]
    assert worker.work_here(clock.monotonic() + 60)
    assert pieces == []
