"""A value that several want at once is made once: in threads, in coroutines, in processes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict

import pytest

from otelflow import ThreadPoolExecutor, flow, semconv, task
from otelflow._core.policies.cache_steps import TaskStep
from otelflow.cache_policies import INPUTS
from otelflow.errors import RunTimeout

PATIENCE = 60


@pytest.mark.parametrize("storage", ["memory", None])
def test_threads_that_want_the_same_value_wait_for_the_one_that_makes_it(storage, spans, monkeypatch):
    calls, began, may_go_on = [], threading.Event(), threading.Event()
    waiting, pause = defaultdict(list), TaskStep.pause
    monkeypatch.setattr(TaskStep, "pause", lambda step: (waiting[step].append(pause(step)), waiting[step][-1])[1])

    @task(cache_policy=INPUTS, result_storage=storage)
    def slow(number):
        calls.append(number)
        began.set()
        assert may_go_on.wait(PATIENCE)
        return number

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(slow, 1)
        assert began.wait(PATIENCE)
        others = [pool.submit(slow, 1) for _ in range(3)]
        end = time.monotonic() + PATIENCE
        while len(waiting) < 3:
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(0.5)  # they are open, and are about to look for the value
        may_go_on.set()
        values = [future.result(PATIENCE) for future in (first, *others)]

    assert (values, calls) == ([1] * 4, [1])
    hits = [span for span in spans.named("task slow") if span.attributes[semconv.CACHE_HIT]]
    assert len(hits) == 3
    assert all(span.attributes[semconv.CACHE_WAIT] > 0 for span in hits)
    for pauses in waiting.values():  # each looks again after twice as long, and at least every tenth of a second
        assert len(pauses) > 1
        assert pauses == [min(0.001 * 2**number, 0.1) for number in range(len(pauses))]


def test_coroutines_that_want_the_same_value_wait_without_blocking_their_loop():
    calls = []

    @task(cache_policy=INPUTS)
    async def slow(number):
        calls.append(number)
        await asyncio.sleep(0.05)
        return number

    async def many():
        return await asyncio.gather(*(slow(number % 2) for number in range(10)))

    assert asyncio.run(many()) == [0, 1] * 5
    assert sorted(calls) == [0, 1]


def test_one_that_waits_for_the_value_gives_up_after_its_own_timeout(spans):
    began, may_go_on = threading.Event(), threading.Event()

    def slow(number):
        began.set()
        assert may_go_on.wait(PATIENCE)
        return number

    patient = task(cache_policy=INPUTS, task_name="renamed")(slow)
    hasty = task(cache_policy=INPUTS, timeout=0.1, retries=2, task_name="renamed")(slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(patient, 1)
        assert began.wait(PATIENCE)
        try:
            with pytest.raises(RunTimeout, match=r"^task 'renamed' took longer than its timeout of 0.1 s") as raised:
                hasty(1)
        finally:
            may_go_on.set()
        assert first.result(PATIENCE) == 1
    value = hasty(1)

    assert value == 1
    assert raised.value.__notes__ == ["It has waited for another run that makes the value of the same cache key"]
    (given_up,) = [span for span in spans.named("task renamed") if semconv.RUN_TIMEOUT in span.attributes]
    assert given_up.attributes[semconv.RUN_RESULT] == semconv.TIMEOUT
    assert (given_up.attributes[semconv.RUN_TIMEOUT], given_up.attributes[semconv.RUN_BODY_RUNNING]) == (0.1, False)
    assert 0.1 <= given_up.attributes[semconv.CACHE_WAIT] <= (given_up.end_time - given_up.start_time) / 1e9
    assert spans.named("attempt renamed") == []


def test_a_coroutine_that_waits_for_the_value_gives_up_after_its_own_timeout(spans):
    async def slow(number):
        await asyncio.sleep(PATIENCE)

    async def two():
        first = asyncio.create_task(task(cache_policy=INPUTS)(slow)(1))
        await asyncio.sleep(0)
        try:
            await task(cache_policy=INPUTS, timeout=0.05)(slow)(1)
        finally:
            first.cancel()

    with pytest.raises(RunTimeout):
        asyncio.run(two())

    results = [span.attributes[semconv.RUN_RESULT] for span in spans.named("task slow")]
    assert sorted(results) == [semconv.CANCELLATION, semconv.TIMEOUT]


def test_a_failure_lets_the_next_one_try():
    calls = []

    @task(cache_policy=INPUTS)
    async def shaky():
        calls.append(1)
        await asyncio.sleep(0.02)
        if len(calls) == 1:
            raise LookupError("not yet")
        return len(calls)

    async def many():
        return await asyncio.gather(*(shaky() for _ in range(4)), return_exceptions=True)

    values = asyncio.run(many())

    assert [type(value) for value in values] == [LookupError, int, int, int]
    assert len(calls) == 2


def test_one_that_is_cancelled_lets_the_next_one_go_on():
    calls, began = [], asyncio.Event()

    @task(cache_policy=INPUTS)
    async def slow():
        calls.append(1)
        began.set()
        await asyncio.sleep(0 if len(calls) > 1 else PATIENCE)
        return 7

    async def two():
        first = asyncio.create_task(slow())
        await began.wait()
        second = asyncio.create_task(slow())
        await asyncio.sleep(0.01)
        first.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    cancelled, value = asyncio.run(two())

    assert isinstance(cancelled, asyncio.CancelledError)
    assert (value, len(calls)) == (7, 2)


class SlowToRead(dict):
    """A storage somewhere else, whose first answer is late."""

    def __init__(self):
        super().__init__()
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def read(self, name):
        self.asked.set()
        assert self.may_answer.wait(PATIENCE)
        return self.get(name)

    def write(self, name, content):
        self[name] = content


def test_one_that_is_cancelled_while_a_far_storage_is_asked_holds_up_nobody():
    storage = SlowToRead()

    @task(cache_policy=INPUTS, result_storage=storage)
    async def fetch():
        return 7

    async def two():
        first = asyncio.create_task(fetch())
        assert await asyncio.to_thread(storage.asked.wait, PATIENCE)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        storage.may_answer.set()
        return await asyncio.wait_for(fetch(), PATIENCE)

    assert asyncio.run(two()) == 7


def test_a_task_that_calls_itself_with_the_same_inputs_does_not_wait_for_itself():
    calls = []

    @task(cache_policy=INPUTS)
    def recursive(number):
        calls.append(number)
        return recursive(number) if len(calls) < 3 else number

    assert recursive(1) == 1
    assert len(calls) == 3


def test_where_nothing_can_be_kept_nobody_waits_for_the_next():
    barrier = threading.Barrier(2, timeout=PATIENCE)
    calls = []

    @task(cache_policy=INPUTS)
    def unkept():
        calls.append(1)
        if len(calls) > 1:
            barrier.wait()
        return object()

    unkept()
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(unkept) for _ in range(2)]:
            future.result(PATIENCE)

    assert len(calls) == 3


PROGRAM = """
import sys, time
from pathlib import Path
from otelflow import task
from otelflow.cache_policies import INPUTS

folder = Path(sys.argv[1])

@task(cache_policy=INPUTS, result_storage=sys.argv[3] if sys.argv[3:] else folder / "results")
def slow(number):
    with open(folder / "calls", "a") as file:
        file.write("call\\n")
    (folder / "began").touch()
    end = time.monotonic() + 60
    while not (folder / "go").exists() and time.monotonic() < end:
        time.sleep(0.001)
    return number

(folder / f"ready-{sys.argv[2]}").touch()
print(slow(7))
"""


def start(folder, *arguments, **keywords):
    file = folder / "program.py"
    if not file.exists():  # another process may be reading it
        file.write_text(PROGRAM)
    return subprocess.Popen([sys.executable, file, folder, *arguments], stdout=subprocess.PIPE, text=True, **keywords)


def wait_for(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.005)


def test_processes_that_want_the_same_value_wait_for_the_one_that_makes_it(tmp_path):
    processes = [start(tmp_path, str(number)) for number in range(3)]
    for number in range(3):
        wait_for(tmp_path / f"ready-{number}")
    wait_for(tmp_path / "began")

    (tmp_path / "go").touch()

    assert [process.communicate(timeout=PATIENCE)[0] for process in processes] == ["7\n"] * 3
    assert (tmp_path / "calls").read_text() == "call\n"
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_processes_that_share_an_address_may_make_the_same_value_each_and_all_have_a_right_one(tmp_path):
    address = f"file://{tmp_path}/results"
    processes = [start(tmp_path, str(number), address, stderr=subprocess.PIPE) for number in range(2)]
    wait_for(tmp_path / "ready-0")
    wait_for(tmp_path / "ready-1")
    wait_for(tmp_path / "began")

    (tmp_path / "go").touch()

    assert [process.communicate(timeout=PATIENCE) for process in processes] == [("7\n", "")] * 2
    assert start(tmp_path, "late", address).communicate(timeout=PATIENCE)[0] == "7\n"
    assert set((tmp_path / "calls").read_text().split()) == {"call"}
    assert (tmp_path / "calls").read_text().count("call") <= 2
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_when_the_process_that_makes_it_is_killed_the_next_one_goes_on(tmp_path):
    first = start(tmp_path, "first")
    wait_for(tmp_path / "began")
    second = start(tmp_path, "second")
    wait_for(tmp_path / "ready-second")

    first.kill()
    first.communicate(timeout=PATIENCE)
    (tmp_path / "go").touch()

    assert second.communicate(timeout=PATIENCE)[0] == "7\n"
    assert (tmp_path / "calls").read_text() == "call\ncall\n"


def test_a_forked_child_does_not_wait_for_what_its_parent_makes(tmp_path):
    program = """
import os, sys
from otelflow import task
from otelflow.cache_policies import INPUTS

@task(cache_policy=INPUTS, result_storage=sys.argv[1])
def forking(number):
    if os.fork() == 0:
        os._exit(forking(number) if False else other(number))
    return os.waitstatus_to_exitcode(os.wait()[1])

@task(cache_policy=INPUTS, result_storage=sys.argv[1])
def other(number):
    return number + 1

print(forking(7), forking(7), other(7))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (done.stdout, done.stderr) == ("8 8 8\n", "")


class Locking:
    """A storage in memory, with locks whose *acquire* and *unlock* raise what they are told."""

    def __init__(self, at_acquire=None, at_unlock=None):
        self.values, self.errors = {}, [at_acquire, at_unlock]

    def read(self, key):
        return self.values.get(key)

    def write(self, key, content):
        self.values[key] = content

    def acquire(self, key):
        self.fail(0)
        return lambda: self.fail(1)

    def fail(self, number):
        error, self.errors[number] = self.errors[number], None
        if error is not None:
            raise error


def test_after_a_ctrl_c_at_the_lock_the_next_call_goes_on():
    @task(cache_policy=INPUTS, result_storage=Locking(at_acquire=KeyboardInterrupt()), timeout=PATIENCE)
    def double(number):
        return number * 2

    with pytest.raises(KeyboardInterrupt):
        double(1)

    assert double(1) == 2


def test_a_lock_that_cannot_be_given_back_costs_no_value(caplog):
    @task(cache_policy=INPUTS, result_storage=Locking(at_unlock=RuntimeError("lock expired")))
    def double(number):
        return number * 2

    assert [double(1), double(1), double(2)] == [2, 2, 4]
    assert "A lock could not be given back: RuntimeError: lock expired" in caplog.text


def test_after_a_disk_was_full_for_a_moment_one_makes_a_value_again():
    storage, calls, began, may_go_on = Locking(), [], threading.Event(), threading.Event()

    @task(cache_policy=INPUTS, result_storage=storage)
    def slow(number):
        calls.append(number)
        began.set()
        assert number < 3 or may_go_on.wait(PATIENCE)
        return number

    storage.write, write = lambda *_: 1 / 0, storage.write
    slow(1)
    storage.write = write
    slow(2)
    began.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow, 3)
        assert began.wait(PATIENCE)
        second = pool.submit(slow, 3)
        time.sleep(0.2)
        may_go_on.set()
        values = [first.result(PATIENCE), second.result(PATIENCE)]

    assert (values, calls) == ([3, 3], [1, 2, 3])


def test_a_task_that_keeps_where_its_flow_does_blocks_no_loop():
    threads = set()

    class Far(Locking):
        def read(self, key):
            threads.add(threading.current_thread())
            return super().read(key)

    @task(persist_result=True)
    async def double(number):
        return number * 2

    @flow(persist_result=True, result_storage=Far())
    async def all_of_it():
        return await double(1)

    run = asyncio.run(all_of_it().execute_async())

    assert run.flow_return_value == 2
    assert threading.main_thread() not in threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_waits_for_no_run_of_its_parent():
    began, may_go_on, parent = threading.Event(), threading.Event(), os.getpid()

    @task(cache_policy=INPUTS, result_storage="memory")
    def slow(number):
        began.set()
        if os.getpid() == parent:
            assert may_go_on.wait(PATIENCE)
        return number

    thread = threading.Thread(target=slow, args=(1,), daemon=True)
    thread.start()
    assert began.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        value = None
        with contextlib.suppress(BaseException):
            value = slow(1)
        os._exit(0 if value == 1 else 1)
    _, status = os.waitpid(child, 0)
    may_go_on.set()
    thread.join(PATIENCE)

    assert os.waitstatus_to_exitcode(status) == 0


class SoftTimeLimitExceeded(Exception):
    """The time limit of a job, as Celery and RQ throw it into a thread."""


def test_where_no_lock_is_to_be_had_the_value_is_made_and_kept_all_the_same(caplog):
    caplog.set_level("DEBUG", "otelflow")
    storage = Locking(at_acquire=OSError("read-only"))
    calls = []

    @task(cache_policy=INPUTS, result_storage=storage)
    def double(number):
        calls.append(number)
        return number * 2

    assert [double(1), double(1)] == [2, 2]
    assert calls == [1]
    assert [message for message in caplog.messages if "No lock in" in message and message.endswith("read-only")]


def test_the_time_limit_of_a_job_ends_it_also_while_a_lock_is_asked_for():
    @task(cache_policy=INPUTS, result_storage=Locking(at_acquire=SoftTimeLimitExceeded()), timeout=PATIENCE)
    def double(number):
        return number * 2

    with pytest.raises(SoftTimeLimitExceeded):
        double(1)

    assert double(1) == 2


def test_the_time_limit_of_a_job_ends_it_also_while_the_lock_of_its_flow_is_asked_for():
    @flow(persist_result=True, result_storage=Locking(at_acquire=SoftTimeLimitExceeded()))
    def nightly():
        return "done"

    with pytest.raises(SoftTimeLimitExceeded):
        nightly().execute()

    assert nightly().execute().flow_return_value == "done"


def test_while_another_process_has_the_lock_the_value_is_not_made_and_once_it_is_kept_no_lock_is_asked_for():
    storage, asked, made_after = Locking(), [], []

    def acquire(key):
        asked.append(key)
        return None if len(asked) < 3 else lambda: None

    storage.acquire = acquire

    @task(cache_policy=INPUTS, result_storage=storage)
    def double(number):
        made_after.append(len(asked))
        return number * 2

    assert [double(1), double(1)] == [2, 2]
    assert (made_after, len(asked)) == ([3], 3)


def test_the_time_limit_of_a_job_ends_it_also_while_its_key_is_made():
    errors = [SoftTimeLimitExceeded()]

    def key(*_):
        if errors:
            raise errors.pop()
        return "key"

    @task(cache_key_fn=key, result_storage=Locking())
    def double(number):
        return number * 2

    with pytest.raises(SoftTimeLimitExceeded):
        double(1)

    assert double(1) == 2


def test_what_another_process_has_kept_while_the_lock_was_asked_for_is_used():
    storage, calls = Locking(), []

    @task(cache_policy=INPUTS, result_storage=storage)
    def double(number):
        calls.append(number)
        return number * 2

    double(1)
    elsewhere, storage.values = storage.values, {}
    storage.fail = lambda _: storage.values.update(elsewhere)

    assert double(1) == 2
    assert calls == [1]


def test_one_that_waited_and_then_makes_the_value_itself_says_how_long_and_others_say_nothing(spans, monkeypatch):
    waiting, pause = threading.Event(), TaskStep.pause
    monkeypatch.setattr(TaskStep, "pause", lambda step: (waiting.set(), pause(step))[1])
    began, numbers = threading.Event(), []

    @task(cache_policy=INPUTS, task_name="slow")
    def slow(number):
        numbers.append(number)
        began.set()
        assert waiting.wait(PATIENCE)
        if len(numbers) == 1:
            raise LookupError("the first one fails")
        return number

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow, 1)
        assert began.wait(PATIENCE)
        second = pool.submit(slow, 1)
        assert isinstance(first.exception(PATIENCE), LookupError)
        assert second.result(PATIENCE) == 1

    waits = {span.status.status_code.name: span.attributes.get(semconv.CACHE_WAIT) for span in spans.named("task slow")}
    assert waits.pop("ERROR") is None
    assert [seconds > 0 for seconds in waits.values()] == [True]


def test_what_is_as_old_as_it_may_get_is_made_again(monkeypatch):
    calls = []

    @task(cache_policy=INPUTS, cache_expiration=10, result_storage=Locking())
    def double(number):
        calls.append(number)
        return number * 2

    monkeypatch.setattr("otelflow._core.process.clock.time", lambda: 1_000.0)
    double(1)
    monkeypatch.setattr("otelflow._core.process.clock.time", lambda: 1_009.999)
    double(1)
    monkeypatch.setattr("otelflow._core.process.clock.time", lambda: 1_010.0)
    double(1)

    assert calls == [1, 1]


def test_who_has_waited_for_nobody_says_nothing_of_waiting(spans):
    @task(cache_policy=INPUTS, task_name="quick")
    def quick(number):
        return number

    quick(1)
    quick(1)

    assert [semconv.CACHE_WAIT in span.attributes for span in spans.named("task quick")] == [False, False]
