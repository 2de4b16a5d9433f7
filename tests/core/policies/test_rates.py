"""Rates: never more than so many in any stretch of time, in the order of arrival, across processes."""

import errno
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelflow import rate_limit
from otelflow._core.policies import limit_files, rates
from otelflow._core.policies.rates import Rate
from otelflow._core.process import clock as clock_of_limits
from otelflow._core.process import files, process
from otelflow.errors import LimitTimeout
from support.programs import Program, end

_WAIT = 30


class Clock:
    """A clock for both ends of a wait: who waits, waits as long as it was told."""

    def __init__(self):
        self.now = 1_000.0

    def steady(self):
        return self.now

    def time(self):
        return 1_000_000_000.0 + self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(rates, "clock", clock)
    return clock


def starts(rate, clock, pauses, timeout=None):
    """Return when each begins that comes after one of *pauses*."""
    moments = []
    for pause in pauses:
        clock.now += pause
        for seconds in rate.steps(timeout):
            clock.now += seconds
        moments.append(clock.now)
    return moments


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.floats(0.1, 50), st.lists(st.floats(0, 30), min_size=1, max_size=40))
def test_in_no_stretch_of_time_are_more_and_nobody_waits_without_need(count, seconds, pauses):
    process.reset()
    clock, before = Clock(), rates.clock
    rates.clock = clock
    name = f"rate-{count}-{seconds}-{hash(tuple(pauses))}"
    try:
        moments = starts(Rate(name, count, seconds), clock, pauses)
    finally:
        rates.clock = before

    for first, later in zip(moments, moments[count:], strict=False):
        assert later - first >= seconds * (1 - 1e-9)
    model, arrival = [], 1_000.0
    for pause in pauses:
        arrival += pause
        arrival = max(arrival, model[-count] + seconds if len(model) >= count else 0.0)
        model.append(arrival)
    assert moments == pytest.approx(model)


def test_another_count_under_the_same_name_keeps_what_has_begun(clock):
    assert starts(Rate("api", 3, 10.0), clock, [0, 0, 0]) == [1_000.0] * 3

    assert starts(Rate("api", 5, 10.0), clock, [0, 0, 0]) == [1_000.0, 1_000.0, 1_010.0]
    assert starts(Rate("api", 1, 10.0), clock, [0]) == [1_020.0]


def test_what_would_take_too_long_is_refused_at_once_and_takes_no_turn(clock):
    starts(Rate("api", 1, 10.0), clock, [0])
    with pytest.raises(LimitTimeout, match=r"the limit 'api' \(at most 1 in 10 s\) was not free within 5 s"):
        starts(Rate("api", 1, 10.0), clock, [0], timeout=5.0)

    assert clock.now == 1_000.0
    assert starts(Rate("api", 1, 10.0), clock, [0]) == [1_010.0]


def test_after_the_machine_was_started_again_what_was_written_before_does_not_count(clock):
    starts(Rate("api", 1, 10_000.0), clock, [0])
    clock.now = 5.0
    clock.time = lambda: 1_000_005_000.0 + clock.now

    assert starts(Rate("api", 1, 10_000.0), clock, [0]) == [5.0]


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 24, b"\xff" * 4_000])
def test_a_file_with_anything_in_it_is_begun_anew(clock, content):
    starts(Rate("api", 2, 10.0), clock, [0])
    (limit_files.directory() / "api.rate").write_bytes(content)

    assert starts(Rate("api", 2, 10.0), clock, [0, 0, 0]) == [1_000.0, 1_000.0, 1_010.0]


def test_a_file_whose_head_points_beyond_its_end_is_begun_anew(clock):
    starts(Rate("api", 2, 10.0), clock, [0, 0])
    head = rates._HEAD.pack(2, 2, clock.time() - clock.steady())
    (limit_files.directory() / "api.rate").write_bytes(head + b"\0" * 16)

    assert starts(Rate("api", 2, 10.0), clock, [0, 0, 0]) == [1_000.0, 1_000.0, 1_010.0]


def test_a_file_that_another_one_has_locked_is_waited_for_up_to_the_time_out():
    rate = Rate("api", 2, 10.0)
    for _ in rate.steps(None):
        pass
    descriptor = limit_files.open_file("api.rate")
    assert files.lock(descriptor)
    with pytest.raises(LimitTimeout, match=r"not free within 0\.02 s"), rate_limit("api", "2/10s", timeout=0.02):
        pass
    timer = threading.Timer(0.05, os.close, (descriptor,))
    timer.start()

    with rate_limit("api", "2/10s", timeout=_WAIT):
        timer.join(_WAIT)


def test_what_is_remembered_without_files_is_forgotten_with_the_process(clock, monkeypatch, tmp_path):
    (tmp_path / "otelflow").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    starts(Rate("api", 1, 10.0), clock, [0])
    process.reset()

    assert starts(Rate("api", 1, 10.0), clock, [0]) == [1_000.0]


def test_without_files_it_holds_in_this_process(clock, monkeypatch, tmp_path):
    (tmp_path / "otelflow").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert starts(Rate("api", 2, 10.0), clock, [0, 0, 0]) == [1_000.0, 1_000.0, 1_010.0]


def test_threads_share_a_rate():
    moments = []

    def call():
        for _ in range(4):
            with rate_limit("api", "3/100ms"):
                moments.append(time.monotonic())

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)

    # Twelve, three at a time: what one thread does between its turn and the note is not the limit's.
    assert max(moments) - min(moments) > 0.25


def test_processes_share_a_rate(tmp_path):
    code = """
import time
import otelflow
for _ in range(3):
    with otelflow.rate_limit("api", "2/200ms"):
        print(time.monotonic(), flush=True)
"""
    programs = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        programs.append(Program(folder))
    try:
        for one in programs:
            one.start(code, prelude="")
        moments = sorted(float(line) for one in programs for line in one.done().out.splitlines())
    finally:
        for one in programs:
            end(one.process)

    assert len(moments) == 6
    assert moments[-1] - moments[0] > 0.3


@pytest.mark.skipif(os.name == "nt", reason="no files of limits there")
def test_a_full_disk_fails_nobody_and_forgets_nothing(clock, monkeypatch, caplog):
    rate = Rate("api", 2, 10)
    assert starts(rate, clock, [0]) == [1_000]
    write = os.pwrite

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert starts(rate, clock, [0, 0, 0]) == [1_000, 1_010, 1_010]
    monkeypatch.setattr(os, "pwrite", write)
    assert starts(rate, clock, [0, 0]) == [1_020, 1_020]

    assert [record.getMessage() for record in caplog.records] == [
        "Limits hold in this process only: their files cannot be used ([Errno 28] No space left on device)"
    ]
    rates._memory.contents.clear()
    assert starts(rate, clock, [0]) == [1_030]


def test_a_machine_that_slept_is_the_same_machine():
    """Else its limits would be forgotten: the clock that stands still meanwhile seems to have begun anew."""
    assert clock_of_limits.steady is not clock_of_limits.monotonic or not hasattr(time, "CLOCK_BOOTTIME")
    if hasattr(time, "CLOCK_BOOTTIME"):
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert before <= clock_of_limits.steady() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_who_would_wait_too_long_is_told_the_rate(clock):
    rate = Rate("api", 1, 60)
    starts(rate, clock, [0])

    with pytest.raises(LimitTimeout, match=r"^the limit 'api' \(at most 1 in 60 s\) was not free within 30 s"):
        starts(rate, clock, [0], timeout=30)
    assert starts(rate, clock, [0], timeout=60) == [1_060.0]


def test_who_would_not_wait_begins_when_there_is_room():
    for _ in range(2):
        with rate_limit("at-once", "2/h", timeout=0):
            pass
    with pytest.raises(LimitTimeout), rate_limit("at-once", "2/h", timeout=0):
        pass


def test_who_would_not_wait_waits_for_one_who_looks(clock):
    rate = Rate("looked-at", 1, 60.0)
    steps = rate.steps(0)
    with rate.locked():
        pause = next(steps)
    clock.now += pause

    assert list(steps) == []


def test_what_was_waited_for_one_who_looks_counts_towards_the_time_out(clock):
    rate = Rate("looked-at", 1, 10.0)
    starts(rate, clock, [0])
    steps = rate.steps(9.0)
    with rate.locked():
        next(steps)
    clock.now += 2.0  # its turn is in 8 s, but 10 s after it came

    with pytest.raises(LimitTimeout):
        next(steps)


def test_the_largest_rate_that_there_can_be_is_remembered_too(clock):
    rate = Rate("largest", 10_000, 60)
    starts(rate, clock, [0, 1, 1])

    with rate.locked() as content:
        oldest, moments = content.read(10_000)
    assert (len(moments), oldest, sorted(moments)[-3:]) == (10_000, 3, [1_000.0, 1_001.0, 1_002.0])
