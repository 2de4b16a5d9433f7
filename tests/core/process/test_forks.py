"""Real forks: locks are free, state and objects begin anew, and a child knows that it is one."""

import gc
import os
import sys
import threading
import time

import pytest

from otelflow._core.process import forks
from support.programs import python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# ``in_child`` forks, and returns what *body* returns there as text.
PROGRAM = """
import os, threading, time
from otelflow._core.process import forks, process

def in_child(body):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(body()).encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with open(reading) as answer:
        return answer.read()

def held_by_a_thread(lock):
    holds = threading.Event()
    def hold():
        with lock:
            holds.set()
            threading.Event().wait()
    threading.Thread(target=hold, daemon=True).start()
    holds.wait()
"""


def printed(source):
    done = python(PROGRAM, source, options=())  # Python 3.12 warns of a fork with threads
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_lock_may_be_taken_twice_by_its_thread():
    lock = forks.new_lock()

    with lock:
        is_taken = lock.acquire(timeout=5)

    assert is_taken


def test_a_lock_that_a_thread_of_the_parent_holds_is_free_in_the_child():
    source = """
    lock = forks.new_lock()
    held_by_a_thread(lock)
    print(lock.acquire(timeout=0.1), in_child(lambda: lock.acquire(timeout=5)))
    """
    assert printed(source) == ["False True"]


def test_a_condition_around_such_a_lock_works_in_the_child():
    source = """
    lock = forks.new_lock()
    changed = threading.Condition(lock)
    held_by_a_thread(lock)
    def wait():
        ready = []
        def make_ready():
            with changed:
                ready.append(1)
                changed.notify_all()
        with changed:
            threading.Thread(target=make_ready).start()
            return changed.wait_for(lambda: ready, 5)
    print(in_child(wait))
    """
    assert printed(source) == ["[1]"]


def test_a_lock_of_a_child_is_free_in_its_own_child():
    source = """
    def grandchild():
        lock = forks.new_lock()
        held_by_a_thread(lock)
        return in_child(lambda: lock.acquire(timeout=5))
    print(in_child(grandchild))
    """
    assert printed(source) == ["True"]


def test_an_object_begins_anew_in_each_child_and_not_in_the_parent():
    source = """
    class Worker:
        generation = 0
        def begin(self):
            self.generation += 1
    worker = Worker()
    forks.begin_anew(worker, Worker.begin)
    print(in_child(lambda: worker.generation), in_child(lambda: in_child(lambda: worker.generation)))
    print(worker.generation)
    """
    assert printed(source) == ["1 2", "0"]


def test_an_object_begins_anew_with_what_its_class_and_its_base_class_have_for_it():
    source = """
    begun = []
    class Base:
        def begin(self):
            begun.append("base")
    class Derived(Base):
        def begin_more(self):
            begun.append("derived")
    derived = Derived()
    forks.begin_anew(derived, Base.begin)
    forks.begin_anew(derived, Derived.begin_more)
    print(in_child(lambda: begun))
    """
    assert printed(source) == ["['base', 'derived']"]


def test_an_object_that_is_gone_is_kept_by_nobody_and_begins_no_more():
    source = """
    import weakref
    begun = []
    class Worker: ...
    worker = Worker()
    forks.begin_anew(worker, begun.append)
    gone = weakref.ref(worker)
    del worker
    print(gone(), in_child(lambda: begun))
    """
    assert printed(source) == ["None []"]


def test_what_begins_anew_finds_locks_free_and_state_begun_before_it():
    source = """
    notes = []
    class Piece(process.State):
        def reset(self): ...
        def begin_anew(self):
            notes.append("state")
    class Worker:
        def begin(self):
            notes.append(lock.acquire(timeout=5))
    lock, piece, worker = forks.new_lock(), Piece(), Worker()
    forks.begin_anew(worker, Worker.begin)
    held_by_a_thread(lock)
    print(in_child(lambda: notes), notes)
    """
    assert printed(source) == ["['state', True] []"]


def test_a_child_knows_since_when_it_is_one():
    source = """
    before = time.perf_counter()
    print(forks.fork.clock, in_child(lambda: before < forks.fork.clock < time.perf_counter()))
    """
    assert printed(source) == ["-inf True"]


def test_a_fork_in_c_is_noticed_where_a_run_begins_or_ends():
    source = """
    import ctypes
    from otelflow._core.process.ids import new_id
    new_id("")
    libc = ctypes.PyDLL(None)
    reading, writing = os.pipe()
    lock = forks.new_lock()
    held_by_a_thread(lock)
    if libc.fork() == 0:
        own = new_id("")
        os.write(writing, f"{own} {lock.acquire(timeout=5)} {forks.fork.clock > 0}\\n".encode())
        os._exit(0)
    os.wait()
    print(os.read(reading, 100).decode().strip())
    print(new_id(""), forks.fork.clock > 0)
    """
    of_child, of_parent = printed(source)

    assert of_child.split()[1:] == ["True", "True"]
    assert of_parent.split()[1:] == ["False"]
    assert of_child.split()[0] != of_parent.split()[0]


class Owner:
    """Something that begins anew in a child."""


def test_what_is_gone_is_kept_in_no_list_of_what_begins_anew():
    gc.collect()  # what other tests have left
    before = len(forks._owners)
    owner = Owner()
    forks.begin_anew(owner, print)
    with_it = len(forks._owners)
    del owner
    gc.collect()

    assert (with_it - before, len(forks._owners)) == (1, before)


@pytest.fixture
def fork():
    forks.fork.reset()
    yield forks.fork
    forks.fork.reset()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux empties a page in a child")
def test_a_process_that_has_not_forked_has_a_page_that_says_so_and_looks_no_further(fork, monkeypatch):
    forks.notice()
    page = fork.page
    with monkeypatch.context() as asking:
        asking.setattr(os, "getpid", lambda: pytest.fail("it asks the system"))
        forks.notice()

    assert (page[0], fork.page) == (1, page)


def test_a_system_without_such_pages_is_asked_for_one_once(fork, monkeypatch):
    asked = []
    monkeypatch.setattr(forks, "_new_page", lambda: asked.append(1) or forks._EMPTY)
    monkeypatch.setattr(fork, "has_no_page", False)
    forks.notice()
    forks.notice()

    assert asked == [1]
    assert fork.has_no_page


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_where_a_page_is_not_emptied_there_is_none(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)

    assert forks._new_page() is forks._EMPTY


def test_a_child_knows_when_it_began_and_nothing_of_the_forks_of_its_parent(fork):
    forks.notice()
    fork.process_id, fork.noticing = -1, {1: threading.Lock()}
    before = time.perf_counter()
    fork.begin_anew()

    assert before <= forks.fork.clock <= time.perf_counter()
    assert (fork.process_id, fork.noticing, fork.page) == (os.getpid(), {}, forks._EMPTY)
    fork.reset()
    assert forks.fork.clock == float("-inf")


def test_a_fork_that_python_was_not_told_of_is_noticed_once(fork, monkeypatch):
    begun = []
    monkeypatch.setattr(forks, "_begin_in_child", lambda: begun.append(1) or fork.begin_anew())
    fork.process_id = -1
    forks.notice()
    forks.notice()

    assert begun == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux empties a page in a child")
def test_an_old_kernel_has_no_such_page(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no such advice")

    monkeypatch.setattr("mmap.mmap", refuse)

    assert forks._new_page() is forks._EMPTY
