"""Tasks in processes: one trace, all that they leave behind arrives, and a killed process breaks nothing else."""

import ast
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import otelflow
from otelflow import Listener, flow, task
from otelflow._core.flows.future_runners import new_runner
from otelflow._core.process import losses, tallies
from otelflow._core.runs import observers
from otelflow._core.runs.current import current_run
from otelflow.errors import (
    ConfigurationError,
    RunTimeout,
    UpstreamFailed,
    WorkerLost,
)
from otelflow.metrics._counts import Aggregator
from otelflow.runners import ProcessPoolTaskRunner
from otelflow.testing import flow_trace
from support.metrics import Counted
from support.programs import python, run_python
from support.remote_tasks import (
    CALLS,
    Refused,
    die,
    double,
    double_later,
    fail,
    fail_quietly,
    leave,
    linger,
    run_flow,
    take_place,
    tell,
    tell_badly,
    try_again,
    wait_for_talk,
    where,
)
from support.servers import wait_until
from support.spans import exceptions, result, texts


def test_the_tasks_run_elsewhere_and_are_of_the_trace_of_the_flow(spans, runner):
    @flow(task_runner=runner)
    def maps():
        return where.map(range(4)).result()

    answers = maps().execute().flow_return_value
    assert [number for _, number in answers] == [0, 1, 2, 3]
    assert os.getpid() not in {pid for pid, _ in answers}
    assert spans.tree() == [("flow maps", "success", [("map where", "success", [("task where", "success", [])] * 4)])]
    assert len({span.context.trace_id for span in spans.spans}) == 1
    assert len({span.context.span_id for span in spans.spans}) == 6
    assert spans.one("flow maps").attributes["otelflow.telemetry.spans"] == 6
    indexes = [span.attributes["otelflow.task.map.index"] for span in spans.named("task where")]
    assert sorted(indexes) == [0, 1, 2, 3]


def test_what_a_task_leaves_behind_arrives_in_the_flow(spans, runner):
    @flow(task_runner=runner, data={"begin": 7})
    def leaves():
        return leave.submit(3).result()

    run = leaves().execute()
    assert run.flow_return_value == 6
    assert run.data == {"begin": 7, "n3": (7, "leaves")}
    assert [artifact.key for artifact in run.artifacts] == ["rows"]
    assert [found.key for found in run.results] == ["count", "flow-return-value"]
    assert [call.task_name for call in run.executed_tasks] == ["double", "leave"]
    assert [call.status for call in run.executed_tasks] == ["success", "success"]
    assert {"printed 3", "logged"} <= set(run.captured_logs())
    assert texts(spans.one("task leave")) == ["printed 3", "logged"]
    assert spans.tree() == [("flow leaves", "success", [("task leave", "success", [("task double", "success", [])])])]


def test_an_exception_comes_back_with_its_type_and_stands_once_in_the_trace(spans, runner):
    @flow(task_runner=runner)
    def fails():
        return fail.submit(1).result()

    run = fails()
    with pytest.raises(Refused, match="no 1"):
        run.execute()

    assert exceptions(spans) == [("task fail", "support.remote_tasks.Refused")]
    assert spans.tree() == [("flow fails", "failure", [("task fail", "failure", [])])]
    assert spans.one("flow fails").attributes["otelflow.flow.tasks.failed"] == 1
    assert [call.status for call in run.executed_tasks] == ["failure"]


def test_a_killed_process_is_one_failed_task_and_the_rest_goes_on(spans, runner):
    @flow(task_runner=runner)
    def goes_on():
        futures = die.map(range(6))
        skipped = double.submit(futures[1])
        return [future.exception() for future in futures], skipped.exception()

    errors, skipped = goes_on().execute().flow_return_value
    assert [type(error) for error in errors] == [type(None), WorkerLost, *[type(None)] * 4]
    assert "task 'die' is lost: its process was killed" in str(errors[1])
    assert "\n" not in str(errors[1])
    assert "segmentation fault" not in str(errors[1])
    assert isinstance(skipped, UpstreamFailed)
    assert sorted(result(span) for span in spans.named("task die")) == ["error", *["success"] * 5]
    (lost,) = [span for span in spans.named("task die") if result(span) == "error"]
    assert lost.attributes["error.type"] == "process_lost"
    assert lost.status.status_code.name == "ERROR"
    assert spans.one("flow goes_on").attributes["otelflow.flow.tasks.failed"] == 1


def test_runs_are_counted_once_and_listeners_told_once_in_the_process_of_the_flow(runner):
    told, flows = [], []

    class Ears(Listener):
        def on_task_stop(self, event):
            told.append((event.event_data.task_name, event.event_data.result))

        def on_flow_stop(self, event):
            flows.append((event.event_data.flow_name, event.event_data.result))

    with otelflow.testing.flow_trace():
        aggregator = Aggregator()
        observers.add_observer(aggregator)
        otelflow.add_listener(Ears())

        @flow(task_runner=runner, data={"begin": 1})
        def counts():
            leave.map([1, 2]).wait()
            fail.submit(1).wait()
            run_flow.submit(1).wait()

        counts().execute()

    counted = Counted(aggregator)
    assert counted.runs("inner_flow") == {"success": 1}
    assert counted.value("otelflow_flow_runs_in_progress", flow="counts") == 0
    assert sorted(flows) == [("counts", "success"), ("inner_flow", "success")]
    told = [task for task in told if task != ("run_flow", "success")]
    assert counted.runs("counts", "leave") == {"success": 2}
    assert counted.runs("counts", "double") == {"success": 2}
    assert counted.runs("counts", "fail") == {"failure": 1}
    assert sorted(told) == [("double", "success")] * 4 + [("fail", "failure")] + [("leave", "success")] * 2


def test_a_flow_in_a_task_is_reported_whole(spans, runner):
    @flow(task_runner=runner)
    def outer():
        return run_flow.submit(2).result()

    run = outer().execute()
    assert run.flow_return_value == [4, 4]
    pair = ("map double", "success", [("task double", "success", [])] * 2)
    inside = ("task run_flow", "success", [("flow inner_flow", "success", [pair])])
    assert spans.tree() == [("flow outer", "success", [inside])]
    assert texts(spans.one("flow inner_flow")) == ["inner"]
    assert [call.task_name for call in run.executed_tasks] == ["run_flow"]


def test_a_task_that_keeps_its_errors_keeps_them_there_too(spans, runner):
    @flow(task_runner=runner)
    def goes_on():
        return double.submit(3, wait_for=fail_quietly.submit(1)).result()

    assert goes_on().execute().flow_return_value == 6
    assert spans.one("flow goes_on").attributes["otelflow.flow.tasks.failed"] == 1
    assert result(spans.one("task fail_quietly")) == "failure"


def test_a_coroutine_runs_there_too(spans, runner):
    @flow(task_runner=runner)
    def maps():
        return double_later.map([1, 2]).result()

    assert maps().execute().flow_return_value == [2, 4]


def test_nobody_records_and_the_results_are_the_same(runner):
    @flow(task_runner=runner)
    def maps():
        return double.map([1, 2]).result()

    assert maps().execute().flow_return_value == [2, 4]


def test_an_executor_of_the_user_is_taken(spans):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:

        @flow(task_runner=pool)
        def maps():
            return where.map([1, 2]).result()

        answers = maps().execute().flow_return_value
        assert pool.submit(os.getpid).result(30) == answers[0][0]

    assert spans.tree() == [("flow maps", "success", [("map where", "success", [("task where", "success", [])] * 2)])]


BREAKS = """
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from otelflow import flow, task


@task
def work(number):
    if number == 3:
        os._exit(1)


if __name__ == "__main__":
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:

        @flow(task_runner=pool)
        def breaks():
            return [future.exception() for future in work.map(range(2_000))]

        errors = breaks().execute().flow_return_value
    print(sorted({type(error).__name__ for error in errors}))
    print(len(errors), errors[-1], repr(errors[-1].__cause__)[:17])
"""


def test_an_executor_of_the_user_that_breaks_fails_each_of_thousands_that_wait(tmp_path):
    (tmp_path / "program.py").write_text(BREAKS)

    ran = run_python(tmp_path / "program.py", timeout=60)
    kinds, last = ran.stdout.splitlines()
    assert set(ast.literal_eval(kinds)) - {"NoneType"} == {"NotSubmittable", "WorkerLost"}
    assert last == (
        "2000 task 'work' cannot be submitted: the executor of its flow has broken (BrokenProcessPool); give the next "
        "run a new one, or take task_runner='processes', where the others go on BrokenProcessPool"
    )


NO_SEMAPHORES = """
import _multiprocessing
from otelflow import flow, task
from otelflow.runners import ProcessPoolTaskRunner

def refuse(*_):  # as in AWS Lambda
    raise OSError(38, "Function not implemented")

refuse.SEM_VALUE_MAX = 1
_multiprocessing.SemLock = refuse

@flow(task_runner=ProcessPoolTaskRunner(1, "spawn"))
def lengths():
    return task(len).submit("word").exception(60)

print(lengths().execute().flow_return_value)
"""


def test_a_host_without_room_for_semaphores_has_the_cure_that_fits(tmp_path):
    (tmp_path / "program.py").write_text(NO_SEMAPHORES)

    ran = run_python(tmp_path / "program.py", timeout=60)

    assert "never began (OSError: [Errno 38] Function not implemented)" in ran.stdout, ran.stderr
    assert "take task_runner='threads'" in ran.stdout


def test_a_flow_that_is_given_up_cancels_in_the_executor_of_the_user_what_has_not_begun(spans, tmp_path):
    answers = []
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        @flow(task_runner=pool)
        def given_up():
            futures = linger.map([str(tmp_path)] * 9, range(9))
            wait_until((tmp_path / "begun-0").exists)
            answers.append(current_run().session.give_up())
            return [future.cancelled() or type(future.exception(30)) for future in futures]

        ends = given_up().execute().flow_return_value
        (tmp_path / "go").touch()
        after = pool.submit(int, "7").result(30)

    assert answers == [True], "one of them runs on"
    assert ends[0] is concurrent.futures.CancelledError
    assert ends[3:] == [True] * 6
    assert after == 7
    assert (tmp_path / "done-0").exists()
    assert not (tmp_path / "begun-4").exists()


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"max_workers": 0}, "max_workers must be a whole number from 1 on, not 0"),
        ({"start_method": "spoon"}, "start_method must be one of"),
    ],
)
def test_a_runner_that_cannot_be_is_refused(keywords, text):
    with pytest.raises(ConfigurationError, match=text):
        ProcessPoolTaskRunner(**keywords)


def test_a_task_goes_on_where_its_flow_holds_a_place_of_the_same_limit(runner):
    @flow(task_runner=runner, concurrency={"remote": 1})
    def holds():
        return take_place.submit(3).result()

    assert holds().execute().flow_return_value == 3


def test_a_task_waits_where_its_flow_holds_no_place_any_more(runner):
    @flow(task_runner=runner)
    def held():
        with otelflow.concurrency("remote", 1):
            pass
        return take_place.submit(3).result()

    with flow_trace() as trace:
        assert held().execute().flow_return_value == 3

    assert "otelflow.limit.waited.remote" in trace.one("task take_place").attributes


def test_hooks_are_called_once_by_the_process_of_the_flow(runner):
    @flow(task_runner=runner)
    def tells():
        return [tell.submit(number).exception() for number in (1, 2, 3)]

    CALLS.clear()
    errors = tells().execute().flow_return_value
    assert [type(error) for error in errors] == [WorkerLost, Refused, type(None)]
    assert [call[:4] for call in CALLS] == [
        ("tell", "running", None, (1,)),
        ("tell", "error", None, (1,)),
        ("tell", "running", None, (2,)),
        ("tell", "failure", None, (2,)),
        ("tell", "running", 6, (3,)),
        ("tell", "success", 6, (3,)),
    ]
    assert {call[4] for call in CALLS} == {os.getpid()}


def test_what_is_counted_there_is_counted_here_once(runner):
    @flow(task_runner=runner)
    def counts():
        try_again.map([1, 1, 2]).wait()
        tell_badly.submit(1).wait()
        take_place.map([1, 2]).wait()

    passes = tallies.limit_waits["remote"]
    raised = losses.listener_errors["break_down"]
    with flow_trace():
        aggregator = Aggregator()
        observers.add_observer(aggregator)
        counts().execute()

    numbers = Counted(aggregator)
    assert numbers.value("otelflow_task_retries_total", flow="counts", task="try_again") == 4
    assert numbers.value("otelflow_task_retries_total", flow="counts", task="take_place") == 0
    assert tallies.limit_waits["remote"] - passes == 2
    assert losses.listener_errors["break_down"] - raised == 2


def test_listeners_hear_what_an_attempt_says_and_what_is_said_after_the_end(runner):
    heard = []

    class Ears(Listener):
        def on_message(self, event):
            heard.append((event.event_data.task_name, event.event_data.data["message_data"]["message"]))

    @flow(task_runner=runner)
    def talks():
        try_again.submit(1).wait()
        wait_for_talk.submit(1).wait()

    with flow_trace():
        otelflow.add_listener(Ears())
        talks().execute()

    assert heard.count(("try_again", "tried")) == 3
    assert [text for _, text in heard].count("still here") == 1


PROGRAM = """
import dataclasses

from otelflow import flow, task


@dataclasses.dataclass
class Row:
    number: int


class Missing(Exception):
    def __init__(self, text, *, number):
        super().__init__(text)
        self.number = number


@task
def read(number):
    if number:
        raise Missing("gone", number=number)
    return Row(number)


@flow(task_runner="processes")
def reads():
    row, error = read.submit(0).result(), read.submit(7).exception()
    assert type(row) is Row
    assert type(error) is Missing
    return row.number, error.number


if __name__ == "__main__":
    print(reads().execute().flow_return_value)
"""


def test_what_the_main_program_defines_is_the_same_class_when_it_comes_back(tmp_path):
    pytest.importorskip("loky")
    (tmp_path / "program.py").write_text(PROGRAM)

    ran = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.stdout, ran.returncode) == ("(0, 7)\n", 0), ran.stderr


def test_a_flow_that_took_too_long_ends_its_processes_and_they_are_cancelled(spans, runner):
    @flow(task_runner=runner, timeout=4)
    def waits():
        return task(time.sleep, task_name="sleep").map([120, 120, 120]).result()

    with pytest.raises(RunTimeout):
        waits().execute()
    assert [result(span) for span in spans.named("task sleep")] == ["cancellation"] * 3
    assert result(spans.one("map sleep")) == "cancellation"


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="this system has no such signals")
def test_ctrl_c_while_a_process_begins_cancels_its_task(spans):
    has_ended = threading.Event()
    others = {process.pid for process in multiprocessing.active_children()}  # a pool of another test may be ending

    def interrupt_process():
        while not has_ended.is_set():
            for process in multiprocessing.active_children():
                if process.pid in others:
                    continue
                os.kill(process.pid, signal.SIGINT)
                return

    thread = threading.Thread(target=interrupt_process)

    @flow(task_runner=ProcessPoolTaskRunner(1, "spawn"))
    def sends():
        return type(double.submit(2).exception()), double.submit(3).result()

    thread.start()
    try:
        assert sends().execute().flow_return_value == (KeyboardInterrupt, 6)
    finally:
        has_ended.set()
        thread.join(30)
    assert sorted(result(span) for span in spans.named("task double")) == ["cancellation", "success"]


def test_a_flow_that_outlives_the_main_thread_is_told_that_no_process_begins():
    done = python(
        """
        import threading
        from otelflow import flow, task

        is_over = threading.main_thread().join

        @flow(task_runner="processes")
        def squares():
            is_over()
            return task(abs).map([1, 2]).result()

        threading.Thread(target=lambda: squares().execute()).start()
        """,
        timeout=60,
    )

    assert "let the main thread join() that of the flow" in done.stderr


def test_a_flow_that_fails_cancels_in_the_executor_of_the_user_what_has_not_begun(spans, tmp_path):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        @flow(task_runner=pool)
        def fails():
            futures.extend(linger.map([str(tmp_path)] * 100, range(100)))
            wait_until((tmp_path / "begun-0").exists)
            answers.append(futures[50].cancel())
            threading.Timer(0.5, (tmp_path / "go").touch).start()
            raise LookupError("the flow")

        futures, answers = [], []
        with pytest.raises(LookupError):
            fails().execute()

    assert answers == [True]
    assert not (tmp_path / "begun-4").exists()
    assert [future.cancelled() for future in futures][4:] == [True] * 96
    results = [result(span) for span in spans.named("task linger")]
    assert len(results) == 100
    assert set(results[4:]) | {"cancellation"} == {"cancellation", "success"}
    assert results.count("success") <= 3, "what a pool has given to its process is not taken back"


@pytest.mark.parametrize("method", [None, "spawn"], ids=["loky", "spawn"])
def test_a_process_that_is_killed_while_nothing_runs_there_fails_no_task(method):
    if method is None:
        pytest.importorskip("loky")

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1, start_method=method))
    def goes_on():
        first, _ = where.submit(1).result()
        os.kill(first, signal.SIGKILL)
        pools = current_run().session.runner._all
        wait_until(lambda: _is_broken(pools[0]))
        second, _ = where.submit(2).result()
        return first != second

    assert goes_on().execute().flow_return_value is True


def _is_broken(pool):
    if hasattr(pool, "_broken"):
        return pool._broken
    return pool._flags.broken is not None


TWO_FLOWS = """
import multiprocessing, os, threading
from concurrent.futures import ProcessPoolExecutor

from otelflow import flow, task


@task
def work(number):
    if number == 3:
        os._exit(1)
    return number


if __name__ == "__main__":
    kinds = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        @flow(task_runner=pool)
        def other():
            return [future.exception() for future in work.map(range(10, 200))]

        def run_other(failed):
            kinds.append({type(error).__name__ for error in other().execute().flow_return_value})

        @flow(task_runner=pool)
        def breaks():
            futures = work.map(range(200))
            futures[3].add_done_callback(run_other)
            return [future.exception() for future in futures]

        thread = threading.Thread(target=other().execute)
        thread.start()
        breaks().execute()
        thread.join()
        run_other(None)
    print(kinds)
"""


def test_flows_that_share_an_executor_know_that_it_has_broken(tmp_path):
    (tmp_path / "program.py").write_text(TWO_FLOWS)

    ran = run_python(tmp_path / "program.py", timeout=60)

    assert ast.literal_eval(ran.stdout) == [{"NotSubmittable"}] * 2


def test_a_task_may_be_cancelled_while_it_is_written_for_its_process(spans):
    is_written, may_go_on = threading.Event(), threading.Event()

    class Slow:
        def __reduce__(self):
            is_written.set()
            assert may_go_on.wait(30)
            return int, ()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1, start_method="spawn"))
    def cancels():
        first, second = double.submit(1), double.submit(Slow())
        assert is_written.wait(30)  # in the thread that hands it over when the first has ended
        is_cancelled = second.cancel()
        may_go_on.set()
        return first.result(), is_cancelled, second.cancelled(), double.submit(3).result()

    assert cancels().execute().flow_return_value == (2, True, True, 6)
    assert sorted(result(span) for span in spans.named("task double")) == ["cancellation", "success", "success"]


@pytest.mark.parametrize(("workers", "window"), [(2, 64), (100, 200)])
def test_an_executor_of_the_user_has_something_to_do_for_each_of_its_processes(workers, window):
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:  # which begins none before it is asked
        assert new_runner(pool).window == window


TOO_LATE = """
import time

from otelflow import flow, task
from otelflow.errors import RunTimeout
from otelflow.runners import ProcessPoolTaskRunner


@task
def linger(number):
    time.sleep(60)


@flow(timeout=2, task_runner=ProcessPoolTaskRunner(2, "spawn"))
def too_late():
    linger.map(range(4)).result()


if __name__ == "__main__":
    try:
        too_late().execute()
    except RunTimeout:
        print("too late")
"""


def test_a_program_whose_flow_has_killed_its_processes_ends(tmp_path):
    (tmp_path / "program.py").write_text(TOO_LATE)

    assert run_python(tmp_path / "program.py", timeout=60).stdout == "too late\n"
