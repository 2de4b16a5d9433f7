"""A worker of a cluster, as it is the flow's own process, or another one that has its number."""

import concurrent.futures
import multiprocessing
import os

import pytest

import otelflow
from otelflow import Listener, flow, task
from otelflow._core.process import losses
from otelflow._core.process import settings as process_settings
from otelflow._core.process.settings_table import SETTINGS
from otelflow._core.runs import observers
from otelflow.metrics._counts import Aggregator
from otelflow.runners import ProcessPoolTaskRunner
from otelflow.testing import flow_trace
from support.metrics import Counted
from support.remote_tasks import (
    CALLS,
    HELD,
    RELEASED,
    Refused,
    double,
    double_later,
    fail,
    hold,
    leave,
    run_flow,
    settings_there,
    take_place,
    take_process_number,
    tell,
    try_again,
    where,
)
from support.spans import exceptions, result, texts


@pytest.fixture(scope="module")
def client():
    """A client whose cluster has one worker with two threads, in this process."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_tasks_in_the_process_of_the_flow_are_spans_of_it_once(spans, client):
    @flow(task_runner=client)
    def maps():
        return double.map([1, 2]).result(), double_later.submit(3).result()

    run = maps().execute()
    assert run.flow_return_value == ([2, 4], 6)
    tasks = [("task double", "success", [])] * 2
    later = ("task double_later", "success", [])
    assert spans.tree() == [("flow maps", "success", [("map double", "success", tasks), later])]
    assert spans.one("flow maps").attributes["otelflow.telemetry.spans"] == 5
    assert [call.status for call in run.executed_tasks] == ["success"] * 3
    assert sorted(call.task_return_value for call in run.executed_tasks) == [2, 4, 6]


def test_what_a_task_leaves_behind_is_there_once(spans, client):
    @flow(task_runner=client, data={"begin": 7})
    def leaves():
        return double.submit(leave.submit(3)).result()

    run = leaves().execute()
    assert run.flow_return_value == 12
    assert run.data == {"begin": 7, "n3": (7, "leaves")}
    assert [artifact.key for artifact in run.artifacts] == ["rows"]
    assert [call.key for call in run.results] == ["count", "flow-return-value"]
    assert [call.task_name for call in run.executed_tasks] == ["double", "leave", "double"]
    assert [call.task_flow for call in run.executed_tasks] == [run] * 3
    assert [run.captured_logs().count(text) for text in ("printed 3", "logged")] == [1, 1]
    assert texts(spans.one("task leave")) == ["printed 3", "logged"]
    consumer = max(spans.named("task double"), key=lambda span: span.start_time)
    assert [link.context.span_id for link in consumer.links] == [spans.one("task leave").context.span_id]


def test_a_failure_there_is_that_of_its_task_its_map_and_what_waits_for_it(spans, client):
    @flow(task_runner=client)
    def fails():
        failure = fail.submit(1)
        skipped = double.submit(failure)
        errors = [type(future.exception()) for future in (failure, skipped, *fail.map([1]))]
        return errors, failure.result()

    run = fails()
    with pytest.raises(Refused, match="no 1"):
        run.execute()

    assert exceptions(spans) == [
        ("task double", "otelflow.errors.UpstreamFailed"),
        *[("task fail", "support.remote_tasks.Refused")] * 2,
    ]
    assert result(spans.one("map fail")) == "failure"
    assert result(spans.one("task double")) == "skip"
    assert spans.one("flow fails").attributes["otelflow.flow.tasks.failed"] == 2
    assert [call.status for call in run.executed_tasks] == ["failure", "skip", "failure"]


def test_what_is_cancelled_there_before_it_runs_is_a_cancellation(spans, client):
    @flow(task_runner=client)
    def cancels():
        for _ in [client.submit(hold, pure=False) for _ in range(sum(client.nthreads().values()))]:
            assert HELD.acquire(timeout=30)
        futures = double.map(range(200))  # more than the cluster is sent at once
        assert futures[-1].cancel()
        RELEASED.set()
        return [future.result() for future in futures[:-1]]

    assert cancels().execute().flow_return_value == [2 * number for number in range(199)]
    assert sorted({result(span) for span in spans.named("task double")}) == ["cancellation", "success"]
    assert result(spans.one("map double")) == "cancellation"


def test_runs_hooks_retries_and_limits_are_counted_and_told_once(client):
    heard = []

    class Ears(Listener):
        def on_task_stop(self, event):
            heard.append(event.event_data.task_name)

        def on_message(self, event):
            heard.append(event.event_data.data["message_data"]["message"])

    @flow(task_runner=client)
    def counts():
        tell.submit(3).wait()
        try_again.map([1, 2]).wait()
        take_place.submit(1).wait()
        run_flow.submit(1).wait()

    CALLS.clear()
    raised = losses.listener_errors["break_down"]
    with flow_trace() as spans:
        otelflow.add_listener(Ears())
        aggregator = Aggregator()
        observers.add_observer(aggregator)
        run = counts().execute()

    numbers = Counted(aggregator)
    assert [call[:2] for call in CALLS] == [("tell", "running"), ("tell", "success")]
    assert numbers.value("otelflow_task_runs_total", flow="counts", task="tell", result="success") == 1
    assert numbers.value("otelflow_task_runs_total", flow="counts", task="try_again", result="success") == 1
    assert numbers.value("otelflow_task_runs_total", flow="inner_flow", task="double", result="success") == 2
    assert numbers.value("otelflow_task_retries_total", flow="counts", task="try_again") == 2
    assert losses.listener_errors["break_down"] - raised == 1
    assert [heard.count(word) for word in ("tell", "try_again", "tried", "inner")] == [1, 2, 4, 1]
    assert len(spans.named("task tell")) == len(spans.named("flow inner_flow")) == 1
    assert sorted(call.task_name for call in run.executed_tasks) == [
        "run_flow", "take_place", "tell", "tell_badly", "try_again", "try_again",
    ]  # fmt: skip


def test_a_task_there_may_submit_and_wait_though_every_thread_is_taken(spans, client):
    @task(task_name="outer")
    def outer(number):
        return sum(double.map([number, number]).result())

    @flow(task_runner=client)
    def nests():
        return outer.map([1, 2, 3, 4]).result(timeout=60)

    assert nests().execute().flow_return_value == [4, 8, 12, 16]
    assert len(spans.named("task double")) == 8


def test_nobody_records_and_the_results_are_the_same_there(client):
    @flow(task_runner=client)
    def maps():
        return double.map([1, 2]).result()

    assert maps().execute().flow_return_value == [2, 4]


def test_a_worker_on_another_machine_may_have_the_process_number_of_the_flow(spans):
    methods = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, methods, take_process_number, (os.getpid(),)) as pool:

        @flow(task_runner=pool)
        def counts():
            return where.map([1, 2]).result()

        run = counts().execute()

    assert run.flow_return_value == [(os.getpid(), 1), (os.getpid(), 2)]
    tasks = [("task where", "success", [])] * 2
    assert spans.tree() == [("flow counts", "success", [("map where", "success", tasks)])]
    assert [call.status for call in run.executed_tasks] == ["success"] * 2


def other_value(setting, folder):
    """Return a value of *setting* that is not its default."""
    if setting.choices:
        return next(choice for choice in setting.choices if choice != setting.default)
    if isinstance(setting.default, bool | int):
        return not setting.default if isinstance(setting.default, bool) else setting.default + 1
    if isinstance(setting.default, tuple):
        return ("word",)
    return setting.sample or str(folder)


def test_each_setting_but_those_of_delivery_reaches_a_worker(tmp_path):
    values = {name: other_value(setting, tmp_path) for name, setting in SETTINGS.items()}

    @flow(task_runner=ProcessPoolTaskRunner(1, "spawn"))
    def asks():
        return settings_there.submit().result()

    here = process_settings.configure(**values)
    there = asks().execute().flow_return_value
    assert {name: getattr(here, name) for name in SETTINGS} == values
    expected = {name: setting.default if setting.is_of_delivery else values[name] for name, setting in SETTINGS.items()}
    assert there == expected


def test_a_client_is_one_whoever_has_written_its_class(client):
    distributed = pytest.importorskip("distributed")

    class Client(distributed.Client):
        """One of a company's own."""

    with Client(client.cluster, set_as_default=False) as own:
        for choice in (own, own.get_executor()):

            @flow(task_runner=choice)
            def maps():
                return double.map([1, 2]).result()

            assert maps().execute().flow_return_value == [2, 4]
