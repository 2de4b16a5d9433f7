"""An async flow that is executed where a loop runs already, as in a notebook: Ctrl-C, and no thread to be had."""

import asyncio
import gc
import signal
import threading

import pytest

from otelflow import flow
from otelflow._core.runs import own_loop
from support.spans import result


def ctrl_c():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def execute_in_running_loop(flow):
    """Execute *flow* as a notebook does, whose loop leaves Ctrl-C to Python: that of asyncio.run() does not."""

    async def main():
        flow.execute()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signal for a thread")
def test_ctrl_c_during_execute_in_a_running_loop_cancels_the_flow_and_comes_out(spans, warnings_said):
    ended = []

    @flow
    async def endless():
        ctrl_c()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(KeyboardInterrupt) as raised:
        execute_in_running_loop(endless())

    assert raised.value.__context__ is None
    assert ended == [True]
    assert result(spans.one("flow endless")) == "cancellation"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signal for a thread")
def test_a_second_ctrl_c_comes_out_of_a_flow_in_a_running_loop_that_does_not_let_itself_be_cancelled(
    spans, warnings_said
):
    may_end = threading.Event()

    @flow
    async def stubborn():
        ctrl_c()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ctrl_c()
            may_end.wait(30)

    try:
        with pytest.raises(KeyboardInterrupt):
            execute_in_running_loop(stubborn())
    finally:
        may_end.set()
        for thread in threading.enumerate():
            if thread.name == "otelflow-execute":
                thread.join(30)

    assert result(spans.one("flow stubborn")) == "cancellation"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signal for a thread")
def test_ctrl_c_before_the_thread_of_execute_has_a_loop_cancels_the_flow_too(spans, monkeypatch, warnings_said):
    run = own_loop._InThread._run

    def late(self):
        ctrl_c()
        for _ in range(1_000):
            if self._is_unwanted:
                break
            threading.Event().wait(0.01)
        run(self)

    @flow
    async def endless():
        await asyncio.Event().wait()

    monkeypatch.setattr(own_loop._InThread, "_run", late)
    with pytest.raises(KeyboardInterrupt):
        execute_in_running_loop(endless())

    assert spans.open_spans == 0


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_execute_in_a_running_loop_says_that_the_system_has_no_thread_left(spans, monkeypatch, warnings_said):
    def start(thread):
        raise RuntimeError("can't start new thread")

    @flow
    async def never_begun():
        pass

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        execute_in_running_loop(never_begun())
    gc.collect()

    assert result(spans.one("flow never_begun")) == "failure"
