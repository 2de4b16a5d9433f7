"""Which runner a flow has, and what is said of one that cannot be."""

import concurrent.futures
import multiprocessing
import threading
import time

import pytest

from otelflow import Flow, flow, task
from otelflow.errors import ConfigurationError, NotSubmittable, UpstreamFailed
from otelflow.runners import ThreadPoolTaskRunner
from support.remote_tasks import double, linger
from support.servers import wait_until
from support.spans import result


@task
def thread_of(_):
    return threading.get_ident()


@pytest.mark.parametrize(("choice", "is_here"), [(None, False), ("threads", False), ("inline", True)])
def test_a_word_says_where_tasks_run(choice, is_here):
    @flow(task_runner=choice)
    def maps():
        return set(thread_of.map([1, 2]).result())

    threads = maps().execute().flow_return_value
    assert (threads == {threading.get_ident()}) == is_here


def test_a_class_of_flows_and_a_flow_have_a_runner_too():
    class Here(Flow):
        task_runner = "inline"

        def main(self):
            return thread_of.submit(1).result()

    assert Here().execute().flow_return_value == threading.get_ident()
    assert Here(task_runner="threads").execute().flow_return_value != threading.get_ident()


def test_an_executor_of_the_user_is_used_and_not_ended():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        @flow(task_runner=pool)
        def maps():
            return thread_of.map([1, 2]).result()

        threads = maps().execute().flow_return_value
        assert set(threads) == {pool.submit(threading.get_ident).result(30)}


@pytest.mark.parametrize("kind", ["threads", "processes", "loky"])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "in the middle"])
def test_an_executor_that_is_shut_down_is_the_error_of_the_task_that_names_the_cure(spans, kind, is_before):
    if kind == "loky":
        pool = pytest.importorskip("loky").ProcessPoolExecutor(1)
    else:
        pools = concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor
        pool = pools[kind == "processes"](1)
    if is_before:
        pool.shutdown()

    @flow(task_runner=pool)
    def late():
        value = None if is_before else double.submit(4).result()
        pool.shutdown()
        return value, double.submit(1).exception(), double.submit(2, wait_for=double.map([5])).exception()

    value, error, after = late().execute().flow_return_value
    assert value == (None if is_before else 8)
    assert isinstance(error, NotSubmittable)
    assert str(error).startswith("task 'double' cannot be submitted: the executor of its flow is shut down (")
    assert str(error).endswith("shut it down when the flow has ended, and give the next run a new one")
    assert isinstance(error.__cause__, RuntimeError)
    assert isinstance(after, UpstreamFailed)
    assert sorted(result(span) for span in spans.named("task double"))[:2] == ["error", "error"]
    assert result(spans.one("flow late")) == "success"


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_what_an_executor_cancels_when_it_is_shut_down_is_cancelled(spans, tmp_path, kind):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    if kind == "processes":
        pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    @flow(task_runner=pool)
    def dropped():
        futures = linger.map([str(tmp_path)] * 9, range(9))
        wait_until((tmp_path / "begun-0").exists)
        pool.shutdown(wait=False, cancel_futures=True)
        (tmp_path / "go").touch()
        concurrent.futures.wait(futures, 30)
        return futures[0].exception(30), [future.cancelled() for future in futures[-4:]], double.submit(1).exception()

    first, cancelled, error = dropped().execute().flow_return_value
    assert first is None
    assert cancelled == [True] * 4
    assert isinstance(error, NotSubmittable)
    assert result(spans.one("task double")) == "error"


def test_a_class_with_an_unknown_runner_is_refused():
    with pytest.raises(ConfigurationError, match="did you mean 'inline'"):

        class Wrong(Flow):
            task_runner = "inlin"

            def main(self):
                """Run nothing."""


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("thread", "did you mean 'threads'"),
        (3, "task_runner must be one of threads, inline"),
        ("", "is no runner"),
        (ThreadPoolTaskRunner, r"write ThreadPoolTaskRunner\(\)"),
    ],
)
def test_an_unknown_runner_is_refused_at_decoration(choice, text):
    with pytest.raises(ConfigurationError, match=text):

        @flow(task_runner=choice)
        def unknown():
            """Run nothing."""


def test_no_more_threads_work_than_the_runner_was_told():
    inside, most = [], []

    @task
    def work(number):
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.01)
        inside.remove(number)

    @task
    def outer():
        work.submit(1)  # while the thread that runs this has hardly begun
        work(0)

    @flow(task_runner=ThreadPoolTaskRunner(1))
    def nested():
        outer.submit().result()

    for _ in range(10):
        nested().execute()

    assert set(most) == {1}


def test_an_executor_that_has_ended_is_known_to_all_flows_that_have_it():
    def initializer():
        raise ValueError("no connection")

    pool = concurrent.futures.ThreadPoolExecutor(1, initializer=initializer)
    errors = []

    @flow(task_runner=pool)
    def other():
        return thread_of.submit(1).exception()

    def run_other(failed):
        if not errors:
            errors.append(other().execute().flow_return_value)

    @flow(task_runner=pool)
    def breaks():
        future = thread_of.submit(1)
        future.add_done_callback(run_other)  # called with a lock of the pool held
        future.wait(30)

    breaks().execute()

    (error,) = errors
    assert isinstance(error, NotSubmittable)
    assert str(error) == (
        "task 'thread_of' cannot be submitted: the executor of its flow has broken (BrokenThreadPool); give the next "
        "run a new one"
    )
