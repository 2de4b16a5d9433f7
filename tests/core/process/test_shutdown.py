"""The order in which processes end: open runs first, then what delivers them; with real exits and real forks."""

import os

import pytest

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
