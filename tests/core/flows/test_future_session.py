"""What one flow run has submitted: it is handed over as there is room for it, and all of it is waited for."""

import asyncio
import concurrent.futures
import logging
import os
import signal
import sys
import threading

import pytest

from otelflow import flow, task
from otelflow._core.flows import future_runners, future_session
from otelflow.errors import NotSubmittable, RunTimeout, UpstreamFailed
from otelflow.runners import ThreadPoolTaskRunner
from otelflow.runners._sender import Sender
from support.programs import python
from support.spans import result


def test_no_more_is_handed_over_than_the_window_says(monkeypatch, spans):
    monkeypatch.setattr(future_runners.Threads, "window", 3)
    handed, most = [], []
    start = future_runners.Threads.start

    def count_and_start(self, call, finished):
        handed.append(call)
        most.append(len(handed))

        def finish():
            handed.pop()
            finished()

        start(self, call, finish)

    monkeypatch.setattr(future_runners.Threads, "start", count_and_start)

    @flow
    def maps():
        return task(abs).map(range(-50, 0)).result()

    assert maps().execute().flow_return_value == list(range(50, 0, -1))
    assert max(most) <= 3
    assert len(most) == 50


class Unavailable(Exception):
    retry_after = 600


def waiting_for_its_next_attempt(*, is_async):
    """Return a task with retries that is refused, and an event that says when it was."""
    refused = threading.Event()

    def fetch():
        refused.set()
        raise Unavailable

    async def fetch_async():
        fetch()

    return task(retries=2, task_name="fetch")(fetch_async if is_async else fetch), refused


@pytest.mark.parametrize("is_async", [False, True])
def test_a_flow_that_fails_waits_for_no_other_attempt_of_what_it_has_submitted(spans, is_async):
    fetch, refused = waiting_for_its_next_attempt(is_async=is_async)
    futures = []

    @flow
    def fails():
        futures.append(fetch.submit())
        assert refused.wait(20)
        raise LookupError("enough")

    with pytest.raises(LookupError):
        fails().execute()

    assert result(spans.one("task fetch")) == "cancellation"
    assert spans.one("task fetch").attributes["otelflow.run.attempts"] == 1
    assert result(spans.one("attempt fetch")) == "failure"
    with pytest.raises(concurrent.futures.CancelledError):
        futures[0].result(20)


def test_a_task_that_is_cancelled_while_it_waits_for_its_next_attempt_has_none(spans):
    fetch, refused = waiting_for_its_next_attempt(is_async=False)

    @task(task_name="around")
    def around():
        fetch()

    @flow
    def cancels():
        future = around.submit()
        assert refused.wait(20)
        is_cancelled = future.cancel()  # which nobody can promise of what runs in a thread
        return is_cancelled, type(future.exception(20))

    assert cancels().execute().flow_return_value == (False, concurrent.futures.CancelledError)
    assert [result(spans.one(f"task {name}")) for name in ("fetch", "around")] == ["cancellation"] * 2


def test_the_next_attempt_of_a_flow_begins_when_what_the_last_has_submitted_waits_for_its_own(spans):
    fetch, refused = waiting_for_its_next_attempt(is_async=False)
    attempts = []

    @flow(retries=1)
    def fails_once():
        attempts.append(1)
        if len(attempts) == 1:
            fetch.submit()
            assert refused.wait(20)
            raise LookupError("once")
        return task(abs).submit(-3).result()

    assert fails_once().execute().flow_return_value == 3
    assert result(spans.one("task fetch")) == "cancellation"


def test_what_is_cancelled_in_the_backlog_does_not_hold_up_the_rest(monkeypatch, spans):
    monkeypatch.setattr(future_runners.Threads, "window", 1)
    gate = threading.Event()

    @flow
    def cancels():
        hold = task(gate.wait, task_name="hold").submit(30)
        futures = task(abs).map(range(-5, 0))
        cancelled = [future.cancel() for future in futures[:3]]
        gate.set()
        return hold.result(), cancelled, [future.result() for future in futures[3:]]

    assert cancels().execute().flow_return_value == (True, [True] * 3, [2, 1])


def test_thousands_in_the_backlog_end_when_the_runner_takes_nothing_any_more(monkeypatch, spans):
    monkeypatch.setattr(future_runners.Threads, "window", 1)
    gate, number = threading.Event(), 2 * sys.getrecursionlimit()
    pool = concurrent.futures.ThreadPoolExecutor(1)

    @flow(task_runner=pool)
    def closes():
        hold = task(gate.wait, task_name="hold").submit(30)
        futures = task(abs).map(range(number))
        pool.shutdown(wait=False)
        gate.set()
        return hold.result(), [str(future.exception(30)) for future in futures]

    held, errors = closes().execute().flow_return_value
    assert held
    assert len(errors) == number
    assert all("the executor of its flow is shut down" in error for error in errors)


def test_a_task_that_submits_is_waited_for_with_all_that_it_has_submitted(spans):
    @task
    def deeper(depth):
        if depth:
            deeper.submit(depth - 1)

    @flow
    def starts():
        deeper.submit(5)

    starts().execute()
    assert len(spans.named("task deeper")) == 6
    assert all(span.end_time <= spans.one("flow starts").end_time for span in spans.spans)


def is_waiting(thread):
    """Tell whether *thread* waits for futures."""
    frame = sys._current_frames()[thread]
    while frame is not None:
        if frame.f_code.co_filename.endswith("future_session.py") and frame.f_code.co_name == "end":
            return True
        frame = frame.f_back
    return False


def test_a_second_ctrl_c_ends_the_flow_without_what_runs(spans):
    gate, main, has_ended = threading.Event(), threading.get_ident(), threading.Event()

    @task
    def stubborn():
        while not is_waiting(main):
            gate.wait(0.01)
        signal.pthread_kill(main, signal.SIGINT)
        gate.wait(5)
        has_ended.set()

    @flow
    def interrupted():
        stubborn.submit()
        raise KeyboardInterrupt

    run = interrupted()
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    assert not has_ended.is_set()
    gate.set()
    assert has_ended.wait(30)
    assert run.flow_state.status == "cancellation"
    assert spans.one("flow interrupted").attributes["otelflow.run.result"] == "cancellation"


class Opening(logging.Handler):
    """Opens a gate at the first record."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def emit(self, record):
        self.gate.set()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_flow_that_was_interrupted_says_what_it_waits_for(caplog, is_async):
    gate, has_begun = threading.Event(), threading.Event()

    @task
    def stubborn():
        has_begun.set()
        return gate.wait(30)

    @flow
    def interrupted():
        stubborn.submit()
        assert has_begun.wait(30)
        raise KeyboardInterrupt

    @flow
    async def cancelled():
        stubborn.submit()
        assert has_begun.wait(30)
        raise asyncio.CancelledError

    handler = Opening(gate)
    logging.getLogger("otelflow").addHandler(handler)
    try:
        with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)):
            asyncio.run(cancelled().execute_async()) if is_async else interrupted().execute()
    finally:
        logging.getLogger("otelflow").removeHandler(handler)

    (message,) = [record.getMessage() for record in caplog.records if "waits for" in record.getMessage()]
    assert message == future_session._WAITS % (1, "stubborn")


def test_a_handler_that_raises_leaves_a_flow_with_failed_tasks_as_it_is(monkeypatch):
    class Raising(logging.Handler):
        def handle(self, record):
            raise RuntimeError("no disk")

    monkeypatch.setattr(logging.getLogger("otelflow"), "handlers", [Raising()])

    @flow
    def forgets():
        task(abs).submit("three")
        return "done"

    assert forgets().execute().flow_return_value == "done"


class Gone:
    """A runner whose cluster is gone."""

    def __init__(self):
        self.tries = 0

    def new_runner(self):
        self.tries += 1
        raise OSError("Timed out trying to connect to tcp://127.0.0.1:9 after 30 s")


def test_a_runner_that_cannot_begin_is_asked_once_and_each_task_says_so_with_its_name_and_the_cure(spans):
    runner = Gone()

    @task
    def double(number):
        return 2 * number

    @flow(task_runner=runner)
    def goes_on():
        errors = [future.exception() for future in double.map(range(100))]
        return errors, double.submit(double.submit(1)).exception(), double(21)

    errors, skipped, value = goes_on().execute().flow_return_value
    assert runner.tries == 1
    assert {type(error) for error in errors} == {NotSubmittable}
    assert str(errors[0]) == (
        "task 'double' cannot be submitted: its runner cannot begin (OSError: Timed out trying to connect to "
        "tcp://127.0.0.1:9 after 30 s); look whether what task_runner= names is there"
    )
    assert isinstance(errors[0].__cause__, OSError)
    assert isinstance(skipped, UpstreamFailed)
    assert value == 42
    assert [result(span) for span in spans.named("task double")].count("error") == 101


def test_a_runner_that_could_not_begin_is_asked_again_by_the_next_attempt(spans):
    class Late(Gone):
        def new_runner(self):
            return super().new_runner() if self.tries == 0 else ThreadPoolTaskRunner(1).new_runner()

    @task
    def double(number):
        return 2 * number

    @flow(task_runner=Late(), retries=1)
    def patient():
        return double.submit(21).result()

    assert patient().execute().flow_return_value == 42


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_an_attempt_of_a_forked_child_waits_for_no_thread_of_its_parent():
    done = python(
        """
        import os, threading
        from otelflow import flow, task

        begun, attempts = threading.Event(), []

        @task
        def slow():
            begun.wait(60)

        @flow(retries=1)
        def forks():
            attempts.append(1)
            if len(attempts) == 2:
                os._exit(7)
            slow.submit()
            child = os.fork()
            if child == 0:
                raise ValueError("is tried again there")
            _, status = os.waitpid(child, 0)
            begun.set()
            return os.waitstatus_to_exitcode(status)

        print(forks().execute().flow_return_value)
        """,
        options=(),
        timeout=60,
    )

    assert done.stdout == "7\n", done.stderr


def fail_while_it_runs(begun, gate, attempts):
    """Fail when a task has *begun*, and let its *gate* open a moment later."""
    while not begun:
        threading.Event().wait(0.001)
    attempts.append(threading.Timer(0.05, gate.set))
    attempts[0].start()
    raise LookupError("not yet")


def test_what_an_attempt_of_a_flow_has_submitted_ends_before_the_next_one(spans):
    begun, gate, attempts = [], threading.Event(), []

    @task
    def work(number):
        begun.append(number)
        gate.wait(30)
        return number

    @flow(retries=1, task_runner=ThreadPoolTaskRunner(1))
    def tried():
        futures = work.map(range(10))
        if not attempts:
            fail_while_it_runs(begun, gate, attempts)
        attempts.append(spans.named("task work"))
        return futures.result()

    assert tried().execute().flow_return_value == list(range(10))
    assert len(attempts[1]) >= 10, "those of the first attempt have ended"
    assert begun == [0, *range(10)]
    assert sorted(map(result, spans.named("task work"))) == ["cancellation"] * 9 + ["success"] * 11


def test_what_an_attempt_of_an_async_flow_has_submitted_ends_before_the_next_one(spans):
    ended, attempts = [], []

    @task
    async def work(number):
        try:
            await asyncio.sleep(0 if attempts[1:] else 30)
        finally:
            ended.append(number)
        return number

    @flow(retries=1)
    async def tried():
        attempts.append(list(ended))
        futures = work.map(range(3))
        if len(attempts) == 1:
            await asyncio.sleep(0.01)
            raise LookupError("not yet")
        return await futures

    run = asyncio.run(tried())
    assert run.flow_return_value == [0, 1, 2]
    assert attempts == [[], [0, 1, 2]]
    assert sorted(map(result, spans.named("task work"))) == ["cancellation"] * 3 + ["success"] * 3


def test_a_flow_that_took_too_long_can_submit_in_its_next_attempt(spans):
    gate, attempts = threading.Event(), []

    @task
    def work(number):
        gate.wait(30)
        return number

    @flow(retries=1, timeout=1, task_runner=ThreadPoolTaskRunner(2))
    def tried():
        attempts.append(len(attempts))
        if attempts[1:]:
            gate.set()
        return work.map(range(4)).result()

    assert tried().execute().flow_return_value == [0, 1, 2, 3]
    assert attempts == [0, 1]
    assert RunTimeout.__name__ in str(spans.named("attempt tried")[0].events[-1].attributes)


def test_a_flow_that_took_too_long_in_its_last_attempt_waits_for_nothing_that_it_has_submitted(spans):
    gate = threading.Event()

    @flow(retries=1, timeout=0.3, task_runner=ThreadPoolTaskRunner(2))
    def tried():
        task(gate.wait, task_name="hold").map([60] * 4).result()

    with pytest.raises(RunTimeout):
        tried().execute()
    ended = [result(span) for span in spans.named("task hold")]
    gate.set()

    assert set(ended) <= {"cancellation"}, "what runs has not been waited for"
    assert [result(span) for span in spans.named("attempt tried")] == ["timeout"] * 2


class Cluster(Sender):
    """A cluster that says a moment later that it has not begun what is cancelled."""

    window = 100

    def __init__(self):
        super().__init__("")
        self.tickets = []

    def send(self, order, sent):
        answer = concurrent.futures.Future()
        self.tickets.append(answer)
        sent[0].cancel_sent = lambda: False
        self.keep(answer, sent)

    def is_withdrawn(self, error):
        return isinstance(error, LookupError)

    def abandon(self):
        return False

    def close(self):
        """Leave it."""


def test_what_a_cluster_withdraws_after_the_flow_was_given_up_is_told_once():
    cluster, told = Cluster(), []

    class Runner:
        def new_runner(self):
            return cluster

        def submit(self):
            """It is a runner."""

    @task
    def double(number):
        return 2 * number

    @flow(task_runner=Runner(), timeout=0.2)
    def short():
        future = double.submit(1)
        future.add_done_callback(lambda future: told.append(type(future.exception())))
        return future.result()

    with pytest.raises(RunTimeout):
        short().execute()
    cluster.tickets[0].set_exception(LookupError())

    assert told == [concurrent.futures.CancelledError]


@pytest.mark.parametrize("place", ["submitted", "called in its flow", "in no flow"])
def test_what_an_attempt_of_a_task_has_submitted_ends_before_the_next_one(spans, place):
    begun, gate, attempts = [], threading.Event(), []

    @task
    def work(number):
        begun.append(number)
        gate.wait(30)
        return number

    @task(retries=1)
    def tried():
        futures = work.map(range(40))
        if not attempts:
            fail_while_it_runs(begun, gate, attempts)
        attempts.append([result(span) for span in spans.named("task work")])
        return futures.result()

    @task
    def wait(number):
        return gate.wait(30) and number

    @flow(task_runner=ThreadPoolTaskRunner(3))
    def around():
        other = wait.submit(100)
        value = tried.submit().result() if place == "submitted" else tried()
        return value, other.result()

    if place == "in no flow":
        assert tried() == list(range(40))
    else:
        assert around().execute().flow_return_value == (list(range(40)), 100)
    first = sorted(attempts[1])
    assert len(first) == 40, "all of the first attempt have ended before the next one submits"
    assert first[:8] == ["cancellation"] * 8, "those that had not begun"
    assert sorted(map(result, spans.named("task work"))) == sorted(first + ["success"] * 40)


def test_what_an_attempt_of_a_coroutine_has_submitted_ends_before_the_next_one(spans):
    attempts = []

    @task
    async def work(number):
        try:
            await asyncio.sleep(0 if len(attempts) > 1 or number < 0 else 30)
        finally:
            await asyncio.sleep(0.01)
        return number

    @task(retries=1)
    async def tried():
        futures = work.map(range(4))
        attempts.append([result(span) for span in spans.named("task work")])
        await asyncio.sleep(0)
        if len(attempts) == 1:
            raise LookupError("not yet")
        return await futures

    @flow
    async def around():
        other = work.submit(-1)
        return await tried(), await other

    assert asyncio.run(around()).flow_return_value == ([0, 1, 2, 3], -1)
    assert attempts[1].count("cancellation") == 4, "it has ended before the next attempt submits"
    assert sorted(map(result, spans.named("task work"))) == ["cancellation"] * 4 + ["success"] * 5
