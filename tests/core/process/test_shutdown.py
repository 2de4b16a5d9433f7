"""The order in which processes end: open runs first, then what delivers them; with real exits and real forks."""

import gc
import os
import signal
import weakref

import pytest

from otelflow._core.process import shutdown
from support.programs import python

FLOW = """
import atexit, os, sys, threading
from otelflow import Listener, add_listener, flow
from otelflow._core.process import shutdown

class Ends(Listener):
    def on_flow_stop(self, event):
        os.write(1, f"flow {event.event_data.result}\\n".encode())

def write(text):
    os.write(1, f"{text}\\n".encode())

begun = threading.Event()

@flow
def open_for_ever():
    begun.set()
    threading.Event().wait()

def leave_a_run_open():
    begun.clear()
    threading.Thread(target=lambda: open_for_ever().execute(), daemon=True).start()
    begun.wait(10)

class Deliverer:
    def deliver(self):
        write("delivered")

add_listener(Ends())
"""


def printed(source):
    done = python(FLOW, source, options=())
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_open_runs_end_before_what_has_registered_its_exit_earlier():
    source = """
    atexit.register(write, "delivered")
    shutdown.end_open_runs_at_exit()
    leave_a_run_open()
    """
    assert printed(source) == ["flow cancellation", "delivered"]


def test_open_runs_end_once_and_as_late_as_they_were_asked_for_last():
    source = """
    shutdown.end_open_runs_at_exit()
    atexit.register(write, "delivered")
    shutdown.end_open_runs_at_exit()
    leave_a_run_open()
    """
    assert printed(source) == ["flow cancellation", "delivered"]


def test_open_runs_end_whenever_it_is_asked_for():
    source = """
    leave_a_run_open()
    shutdown.end_open_runs()
    write("the program goes on")
    shutdown.end_open_runs()
    """
    assert printed(source) == ["flow cancellation", "the program goes on"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_of_multiprocessing_ends_its_runs_and_delivers_before_it_leaves():
    source = """
    import multiprocessing
    deliverer = Deliverer()
    shutdown.deliver_before_child_ends(deliverer, Deliverer.deliver)
    child = multiprocessing.get_context("fork").Process(target=leave_a_run_open)
    child.start()
    child.join(30)
    write(f"the child left with {child.exitcode}")
    """
    assert printed(source) == ["flow cancellation", "delivered", "the child left with 0"]


CHILD = """
deliverer = Deliverer()

def work():
    shutdown.deliver_before_child_ends(deliverer, Deliverer.deliver)
    leave_a_run_open()
"""
MAIN = """
import multiprocessing
import os
import signal
import work

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work.work)
    child.start()
    child.join(30)
    os.write(1, f"the child left with {child.exitcode}\\n".encode())
"""


def test_a_spawned_child_delivers_what_it_set_up_itself(tmp_path):
    (tmp_path / "work.py").write_text(FLOW + CHILD)
    (tmp_path / "main.py").write_text(MAIN)
    done = python("import runpy; runpy.run_path('main.py', run_name='__main__')", options=(), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["flow cancellation", "delivered", "the child left with 0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_what_is_gone_delivers_nothing_and_keeps_no_child():
    source = """
    import multiprocessing
    deliverer = Deliverer()
    shutdown.deliver_before_child_ends(deliverer, Deliverer.deliver)
    del deliverer
    child = multiprocessing.get_context("fork").Process(target=leave_a_run_open)
    child.start()
    child.join(30)
    write(f"the child left with {child.exitcode}")
    """
    lines = printed(source)

    assert "delivered" not in lines
    assert lines[-1] == "the child left with 0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_what_goes_in_a_child_ends_no_run_of_it():
    source = """
    import multiprocessing

    @flow
    def go_on():
        shutdown.deliver_before_child_ends(Deliverer(), Deliverer.deliver)
        write(f"is ending: {shutdown.is_ending()}")

    child = multiprocessing.get_context("fork").Process(target=lambda: go_on().execute())
    child.start()
    child.join(30)
    """
    assert printed(source) == ["is ending: False", "flow success"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("late", ["", "import billiard.util, billiard.pool"], ids=["early", "late"])
def test_a_process_of_billiard_and_a_worker_of_its_pool_deliver_before_they_leave(late):
    pytest.importorskip("billiard")
    source = f"""
    {"" if late else "import billiard.util, billiard.pool"}
    deliverer = Deliverer()
    shutdown.deliver_before_child_ends(deliverer, Deliverer.deliver)
    {late}
    import billiard
    process = billiard.Process(target=leave_a_run_open)
    process.start()
    process.join(20)
    write("the pool")
    pool = billiard.pool.Pool(1, maxtasksperchild=1)
    pool.apply_async(leave_a_run_open).get(20)
    pool.close()
    pool.join()
    """
    lines = printed(source)

    assert lines[:3] == ["flow cancellation", "delivered", "the pool"]
    assert lines[3:5] == ["flow cancellation", "delivered"]


def test_what_has_registered_its_exit_later_ends_before_everything_begins_to_end():
    source = """
    class Hasty:
        def deliver_soon(self):
            write("begins to deliver")
    hasty = [Hasty(), Hasty()]
    for deliverer in hasty:
        shutdown.deliver_together(deliverer)
    shutdown.begin_end_at_exit()
    atexit.register(write, "late")
    atexit.register(write, "before")
    shutdown.begin_end_at_exit()
    """
    assert printed(source) == ["begins to deliver"] * 2 + ["before", "late"]


class Hasty:
    """Counts how often it was asked to begin."""

    def __init__(self):
        self.times = 0

    def deliver_soon(self):
        self.times += 1


@pytest.fixture
def deliverers(monkeypatch):
    """No deliverer but those of the test, and an end that has not begun."""
    deliverers = weakref.WeakSet()
    monkeypatch.setattr(shutdown._shutdown, "deliverers", deliverers)
    monkeypatch.setattr(shutdown._shutdown, "deliveries", {})
    return deliverers


@pytest.mark.parametrize(("count", "times"), [(1, 0), (2, 1), (3, 1)])
def test_deliverers_that_end_together_all_begin_when_the_end_does(deliverers, count, times):
    hasty = [Hasty() for _ in range(count)]
    for deliverer in hasty:
        shutdown.deliver_together(deliverer)

    with shutdown.end_together():
        assert [deliverer.times for deliverer in hasty] == [times] * count


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by what it is told: ``clock(2.5)``."""
    now = [100.0]
    monkeypatch.setattr(shutdown.clock, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_all_that_end_together_have_one_time_limit(deliverers, clock):
    before = shutdown.seconds_left(5)
    with shutdown.end_together():
        left = [shutdown.seconds_left(5)]
        for _ in range(3):
            with shutdown.waiting():
                clock(2)
            left.append(shutdown.seconds_left(5))
    with shutdown.waiting():  # of no end
        clock(2)

    assert before == shutdown.seconds_left(5) == 5
    assert left == [5, 3, 1, 0.1]


def test_a_wait_that_is_broken_off_counts_as_well(deliverers, clock):
    def interrupted():
        clock(2)
        raise KeyboardInterrupt

    with shutdown.end_together():
        with pytest.raises(KeyboardInterrupt), shutdown.waiting():
            interrupted()
        left = shutdown.seconds_left(5)

    assert left == 3


def test_a_process_that_is_ending_goes_on_ending_when_a_part_has_ended(deliverers, clock):
    shutdown.begin_end()
    with shutdown.waiting():
        clock(2)
    with shutdown.end_together():
        clock(0)
    left = shutdown.seconds_left(5)
    shutdown._shutdown.begin_anew()  # a child of it
    of_the_child = shutdown.seconds_left(5)
    shutdown.begin_end()
    shutdown._shutdown.reset()

    assert (left, of_the_child, shutdown.seconds_left(5)) == (3, 5, 5)


class Box:
    """Something that delivers."""


def test_whoever_is_still_there_delivers_after_open_runs_have_ended_and_the_pool_was_told(deliverers, monkeypatch):
    done = []
    monkeypatch.setattr(shutdown._shutdown, "end_runs", lambda: done.append("runs"))
    boxes = [Box(), Box()]
    for box in boxes:
        shutdown.deliver_before_child_ends(box, lambda box: done.append(box))
    gone, there = boxes[0], boxes[1]
    reference = weakref.ref(gone)
    del gone, boxes[0], box
    gc.collect()
    assert reference() is None
    assert len(shutdown._shutdown.deliveries) == 1

    shutdown._shutdown.deliver_after(None)
    without, done[:] = list(done), []
    shutdown._shutdown.deliver_after(lambda *arguments: done.append(arguments), 1, 2)

    assert without == ["runs", there]
    assert done == [(1, 2), "runs", there]


def test_what_a_pool_does_at_its_end_may_raise(deliverers):
    done = []
    box = Box()
    shutdown.deliver_before_child_ends(box, done.append)

    with pytest.raises(ZeroDivisionError):
        shutdown._shutdown.deliver_after(lambda: 1 / 0)

    assert done == [box]


def test_to_ask_for_the_end_of_open_runs_twice_is_to_ask_once():
    source = """
    shutdown.runs_end_with(lambda: write("runs end"))
    for _ in range(3):
        shutdown.end_open_runs_at_exit()
    """
    assert printed(source) == ["runs end"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_in_a_child_of_multiprocessing_everything_begins_to_end_before_the_first_is_waited_for():
    source = """
    import multiprocessing
    class Hasty(Deliverer):
        def deliver_soon(self):
            write("begins to deliver")
    hasty = [Hasty(), Hasty()]
    for deliverer in hasty:
        shutdown.deliver_together(deliverer)
        shutdown.deliver_before_child_ends(deliverer, Hasty.deliver)
    child = multiprocessing.get_context("fork").Process(target=lambda: None)
    child.start()
    child.join(30)
    write(f"the child left with {child.exitcode}")
    """
    lines = printed(source)

    assert lines[:2] == ["begins to deliver"] * 2
    assert sorted(lines[2:]) == ["begins to deliver"] * (len(lines) - 5) + ["delivered"] * 2 + ["the child left with 0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_worker_of_billiard_delivers_what_it_set_up_itself():
    pytest.importorskip("billiard")
    source = """
    import billiard.util, billiard.pool
    deliverer = Deliverer()
    def work():
        shutdown.deliver_before_child_ends(deliverer, Deliverer.deliver)
        leave_a_run_open()
    pool = billiard.pool.Pool(1, maxtasksperchild=1)
    pool.apply_async(work).get(20)
    pool.close()
    pool.join()
    """
    assert printed(source)[:2] == ["flow cancellation", "delivered"]


POOL = """
import os
import signal

import billiard
import billiard.pool

import work

if __name__ == "__main__":
    pool = billiard.get_context("spawn").Pool(1, maxtasksperchild=1)
    pool.apply_async(work.work).get(30)
    pool.close()
    pool.join()
    os.write(1, b"joined\\n")
"""


def test_a_worker_of_billiard_that_was_spawned_delivers_what_it_set_up_itself(tmp_path):
    pytest.importorskip("billiard")
    (tmp_path / "work.py").write_text(FLOW + CHILD)
    (tmp_path / "main.py").write_text(POOL)
    done = python("import runpy; runpy.run_path('main.py', run_name='__main__')", options=(), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["flow cancellation", "delivered", "joined"]


def test_the_end_has_begun_while_something_ends_and_not_before_or_afterwards(deliverers):
    before = shutdown.is_ending()
    with shutdown.end_together():
        meanwhile = shutdown.is_ending()

    assert (before, meanwhile, shutdown.is_ending()) == (False, True, False)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a signal of POSIX")
@pytest.mark.parametrize(
    ("hangup", "signals"),
    [(signal.SIG_DFL, ["SIGTERM", "SIGHUP"]), (signal.SIG_IGN, ["SIGTERM"])],
    ids=["in a terminal", "under nohup"],
)
def test_a_closed_terminal_ends_a_program_unless_that_is_ignored(hangup, signals):
    before = signal.signal(signal.SIGHUP, hangup)
    try:
        names = [signal.Signals(number).name for number in shutdown.end_signals()]
    finally:
        signal.signal(signal.SIGHUP, before)

    assert names == signals
