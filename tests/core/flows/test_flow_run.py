"""The run of a flow, and the block of a ``with flow:``."""

import builtins
import signal
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from otelflow import Flow, flow, task
from otelflow._core.runs.current import current_run
from support.flows import LEAF, add, leaf


def test_a_block_makes_its_flow_current_without_a_span(spans):
    with Flow(flow_name="ambient") as around:
        assert current_run().flow is around
        leaf()
        leaf()
    leaf()

    assert spans.tree() == [LEAF, LEAF, LEAF]
    inside = [span.attributes.get("otelflow.flow.name") for span in spans.spans]
    assert inside == ["ambient", "ambient", None]
    assert {span.attributes["otelflow.flow.run.id"] for span in spans.spans[:2]} == {around.flow_id}
    assert [task.task_name for task in around.executed_tasks] == ["leaf", "leaf"]
    assert around.status is None
    assert current_run() is None


def test_execute_inside_its_own_block_is_the_run(spans):
    class Own(Flow):
        def main(self):
            return leaf()

    with Own() as run:
        result = run.execute()

    assert result is run
    assert spans.tree() == [("flow Own", "success", [LEAF])]


def test_blocks_nest_and_an_exception_passes_through(spans):
    error = ValueError("out of the block")
    inner = Flow(flow_name="b")

    def blocks():
        with Flow(flow_name="a"), inner, inner:
            leaf()
            raise error

    with pytest.raises(ValueError, match="out of the block") as raised:
        blocks()

    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert spans.one("task leaf").attributes["otelflow.flow.name"] == "b"
    assert current_run() is None
    assert builtins.print.__module__ == "builtins"


def test_a_flow_executed_in_the_block_of_another_is_its_own_run(spans):
    @flow
    def inner():
        return leaf()

    with Flow(flow_name="around") as around:
        inner().execute()

    assert spans.tree() == [("flow inner", "success", [LEAF])]
    assert spans.one("task leaf").attributes["otelflow.flow.name"] == "inner"
    assert list(around.executed_tasks) == []


def test_threads_that_share_a_flow_each_leave_their_own_block():
    shared, inside, left = Flow(flow_name="shared"), threading.Barrier(2), threading.Event()
    runs = {}

    def first():
        with shared:
            inside.wait(10)
        runs["first after"] = current_run()
        left.set()

    def second():
        with shared:
            inside.wait(10)
            left.wait(10)
            runs["second inside"] = current_run()
        runs["second after"] = current_run()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert runs.pop("second inside").flow is shared
    assert runs == {"first after": None, "second after": None}


def test_a_block_that_is_interrupted_while_it_waits_for_what_was_submitted_is_left(spans):
    around = Flow(flow_name="around")
    is_submitted, let_go = threading.Event(), threading.Event()

    @task
    def wait():
        is_submitted.wait(20)
        while around.flow_state.block is not None:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            let_go.wait(0.05)
        return let_go.wait(20)

    def interrupt(*_):
        if around.flow_state.block is not None:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), around:  # noqa: PT012 it is interrupted at the end of the block
            future = wait.submit()
            is_submitted.set()
    finally:
        signal.signal(signal.SIGINT, before)

    assert current_run() is None
    with pytest.raises(CancelledError):
        future.result()
    leaf()
    let_go.set()
    assert "otelflow.flow.name" not in spans.one("task leaf").attributes


def test_of_a_block_that_fails_what_has_not_begun_is_cancelled(spans):
    holds, begun = threading.Event(), threading.Event()

    @task
    def hold():
        begun.set()
        return holds.wait(20)

    around = Flow(flow_name="around", task_runner=ThreadPoolExecutor(max_workers=1))
    with pytest.raises(LookupError), around:  # noqa: PT012 what was submitted before counts
        first, second = hold.submit(), hold.submit()
        begun.wait(20)
        threading.Timer(0.1, holds.set).start()
        raise LookupError

    assert first.result() is True
    assert second.cancelled()


def test_a_block_in_a_plain_generator_is_no_run_that_a_task_left_behind(spans):
    def numbers():
        with Flow(flow_name="around"):
            yield 1

    @task
    def opens():
        generator = numbers()
        next(generator)
        return generator

    made = opens()
    made.close()

    assert current_run() is None
    assert spans.one("task opens").attributes["otelflow.run.result"] == "success"


def test_tasks_in_the_block_belong_to_the_flow():
    with Flow() as block:
        add(1)

    assert [task.task_name for task in block.executed_tasks] == ["add"]
    assert next(iter(block.executed_tasks)).task_flow is block
