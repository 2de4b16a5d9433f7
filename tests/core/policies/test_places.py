"""Places across processes: killed holders, forks, fairness; and a state machine of all of it in one process."""

import gc
import os
import signal
import sys
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from otelflow import concurrency
from otelflow._core.policies import limit_files, places
from otelflow._core.policies.places import Places, Waiter
from otelflow._core.process import process
from otelflow.errors import LimitTimeout
from support.programs import Program, end

_WAIT = 30
posix = pytest.mark.skipif(sys.platform == "win32", reason="no locks of files there")

HOLDER = """
import sys, time
import otelflow
with otelflow.concurrency("db", 1):
    print("held", flush=True)
    sys.stdin.readline() if sys.argv[1:] == ["stdin"] else time.sleep(60)
print("free", flush=True)
"""


@posix
def test_a_killed_holder_of_another_process_gives_its_place_back(program):
    program.start(HOLDER, prelude="")
    assert program.line() == "held"
    with pytest.raises(LimitTimeout), concurrency("db", 1, timeout=0.05):
        pass
    program.send(signal.SIGKILL)
    program.done()

    with concurrency("db", 1, timeout=_WAIT):
        pass


@posix
def test_processes_share_the_places_and_each_of_them_gets_some(tmp_path):
    code = """
import sys, time
import otelflow
inside = sys.argv[1]
import os
for number in range(10):
    with otelflow.concurrency("db", 1, timeout=60):
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # nobody else is inside
        time.sleep(0.002)
        os.unlink(inside)
print("done")
"""
    programs = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        programs.append(Program(folder))
    try:
        for one in programs:
            one.start(code, prelude="", arguments=[tmp_path / "inside"])
        for one in programs:
            one.done()
    finally:
        for one in programs:
            end(one.process)

    assert [(one.out, one.err) for one in programs] == [("done\n", "")] * 3


@posix
def test_one_who_takes_it_again_and_again_does_not_starve_another_process(program):
    program.start(
        """
import otelflow
print("ready", flush=True)
with otelflow.concurrency("db", 1, timeout=30):
    print("got it", flush=True)
""",
        prelude="",
    )
    assert program.line() == "ready"
    stop = threading.Event()

    def greedy():
        while not stop.is_set():
            with concurrency("db", 1):
                time.sleep(0.002)

    thread = threading.Thread(target=greedy)
    thread.start()
    line = program.line()
    stop.set()
    thread.join(_WAIT)

    assert line == "got it"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_holds_nothing_and_takes_nothing_away(program):
    program.run(
        """
import os, time
import otelflow
from otelflow.errors import LimitTimeout

with otelflow.concurrency("db", 1):
    child = os.fork()
    if child == 0:
        try:
            with otelflow.concurrency("db", 1, timeout=0.1):
                print("child got it", flush=True)
        except LimitTimeout:
            print("child waits", flush=True)
        time.sleep(0.5)
        os._exit(0)
    time.sleep(0.3)
with otelflow.concurrency("db", 1, timeout=0.1):  # though the child lives, and had its file
    print("parent again", flush=True)
os.waitpid(child, 0)
""",
        prelude="",
    )

    assert program.out == "child waits\nparent again\n", program.err


def test_who_came_first_in_a_process_goes_first():
    order, begun = [], threading.Event()

    def hold():
        with concurrency("db", 1):
            begun.set()
            while len(places._lines.lines["db"].waiters) < 5:
                time.sleep(0.001)

    def want(number):
        with concurrency("db", 1):
            order.append(number)

    threads = [threading.Thread(target=hold)]
    threads[0].start()
    assert begun.wait(_WAIT)
    for number in range(5):
        threads.append(threading.Thread(target=want, args=(number,)))
        threads[-1].start()
        while number < 4 and len(places._lines.lines["db"].waiters) <= number:  # with the last one it goes on
            time.sleep(0.001)
    for thread in threads:
        thread.join(_WAIT)

    assert order == [0, 1, 2, 3, 4]
    assert places._lines.lines == {}


def test_without_files_the_limit_holds_in_this_process_and_says_so(monkeypatch, tmp_path, caplog):
    (tmp_path / "otelflow").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    with concurrency("db", 1):
        errors = []

        def want():
            with pytest.raises(LimitTimeout) as failure, concurrency("db", 1, timeout=0.02):
                pass
            errors.append(failure.value)

        thread = threading.Thread(target=want)
        thread.start()
        thread.join(_WAIT)

    assert len(errors) == 1
    assert caplog.text.count("Limits hold in this process only: their files cannot be used") == 1
    with concurrency("db", 1, timeout=0):
        pass


class Line(RuleBasedStateMachine):
    """Some who want a place of two, take it, give up and give it back, in any order; compared with a simple model."""

    LIMIT = 2

    def __init__(self):
        super().__init__()
        process.reset()
        self.limit = Places("machine", self.LIMIT)
        self.waiting, self.holding = [], []  # of the model, in the order in which they came

    def look(self):
        """Let each who waits look once; the first ones get what is free."""
        for one in list(self.waiting):
            waiter, steps = one
            try:
                next(steps)
            except StopIteration:
                assert self.waiting[0] is one, "one who came later was quicker"
                self.waiting.remove(one)
                self.holding.append(waiter.place)

    @rule()
    def one_comes(self):
        waiter = Waiter(lambda: None)
        self.waiting.append((waiter, self.limit.steps(waiter, None)))
        self.look()

    @rule(data=st.data())
    def one_gives_up(self, data):
        if self.waiting:
            one = data.draw(st.sampled_from(self.waiting))
            self.waiting.remove(one)
            one[1].close()
        self.look()

    @rule(data=st.data())
    def one_gives_back(self, data):
        if self.holding:
            place = data.draw(st.sampled_from(self.holding))
            self.holding.remove(place)
            place.release()
            place.release()
        self.look()

    def teardown(self):
        for _, steps in self.waiting:
            steps.close()
        for place in self.holding:
            place.release()
        assert places._lines.lines == {}
        process.reset()

    @invariant()
    def no_place_is_too_much_or_idle(self):
        assert len(self.holding) <= self.LIMIT
        assert not self.waiting or len(self.holding) == self.LIMIT


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


@posix
def test_files_are_private_and_named_safely():
    with concurrency("../../etc/passwd", 1), concurrency("A", 1), concurrency("a", 1):
        folder = limit_files.directory()
        names = {path.name for path in folder.iterdir()}

        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(names) == 6
        assert all("/" not in name and not name.startswith(".") for name in names)
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def first_step(name, limit=1, timeout=None):
    """Return a waiter of the limit *name* after its first look, and how long it would wait then."""
    waiter = Waiter(lambda: None)
    steps = Places(name, limit).steps(waiter, timeout)
    return waiter, next(steps, None), steps


@posix
def test_a_place_is_free_at_once_also_if_a_process_that_was_never_told_holds_its_file():
    holder, wait, _ = first_step("db")
    copy = os.dup(holder.place._file.descriptor)  # as a child has one that was forked in C
    holder.place.release()
    next_holder, next_wait, _ = first_step("db")
    os.close(copy)

    assert (wait, next_wait) == (None, None)
    assert next_holder.place.is_held
    next_holder.place.release()


def test_a_place_that_two_hold_is_free_when_both_have_let_it_go():
    holder, _, _ = first_step("db")
    place = holder.place
    is_shared = place.share()
    place.release()
    others, wait, steps = first_step("db")
    held = place.is_held
    place.release()
    after = next(steps, None), others.place
    others.place.release()

    assert (is_shared, held, place.is_held, place.share()) == (True, True, False, False)
    assert wait is not None
    assert after[0] is None
    assert after[1] is not None


@posix
def test_who_looks_again_and_again_opens_no_more_files():
    holder, _, _ = first_step("db", limit=3)
    others = [first_step("db", limit=3)[0] for _ in range(2)]
    waiter, _, steps = first_step("db", limit=3)
    gc.collect()  # what others have left open
    opened = len(os.listdir("/dev/fd"))  # noqa: PTH208 as it is
    waits = [next(steps) for _ in range(20)]
    count = len(os.listdir("/dev/fd"))  # noqa: PTH208
    steps.close()

    assert (waiter.place, count) == (None, opened)
    assert waits == sorted(waits)
    assert waits[0] < 0.01
    for each in (holder, *others):
        each.place.release()
    assert len(os.listdir("/dev/fd")) < opened  # noqa: PTH208


@posix
def test_a_child_of_a_fork_keeps_no_file_open_that_is_its_parents():
    holder, _, _ = first_step("db")
    waiter, _, steps = first_step("db")
    gc.collect()  # what others have left open
    opened = len(os.listdir("/dev/fd"))  # noqa: PTH208 as it is
    places._lines.begin_anew()
    count = len(os.listdir("/dev/fd"))  # noqa: PTH208

    assert (holder.place.is_held, waiter.line_file) == (False, None)
    assert count == opened - 2
    steps.close()


def test_who_waits_too_long_is_told_the_limit():
    holder, _, _ = first_step("db")
    with pytest.raises(LimitTimeout, match=r"^the limit 'db' \(at most 1 at once\) was not free within 0 s: "):
        first_step("db", timeout=0)
    holder.place.release()


@posix
def test_a_place_whose_file_the_program_has_closed_is_given_back_and_what_has_its_number_stays_open(tmp_path):
    holder, _, _ = first_step("db")
    number = holder.place._file.descriptor
    with (tmp_path / "user.dat").open("wb") as user:
        os.dup2(user.fileno(), number)
        holder.place.release()
    os.write(number, b"mine")
    os.close(number)

    assert (tmp_path / "user.dat").read_bytes() == b"mine"
