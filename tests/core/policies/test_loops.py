"""What waits in an event loop waits in its own way."""

import asyncio
import contextvars
import sys
import threading
import time

import pytest

from otelflow._core.policies.loops import in_thread, is_cancel_asked, pauses, running_trio, sleep


@pytest.mark.parametrize("seconds", [0.1, 0.2, 1.3])
def test_what_may_be_cancelled_waits_as_long_as_anything_else_and_looks_in_between(seconds):
    asked = []
    token = is_cancel_asked.set(lambda: asked.append(1))
    try:
        pieces = list(pauses(seconds))
    finally:
        is_cancel_asked.reset(token)

    assert sum(pieces) == pytest.approx(seconds)
    assert max(pieces) <= 0.2
    assert len(asked) == len(pieces)
    assert list(pauses(seconds)) == [seconds]


def test_no_loop_is_none_of_trio():
    assert running_trio() is None


@pytest.mark.parametrize("is_imported", [True, False])
def test_in_asyncio_others_go_on_while_one_waits(monkeypatch, is_imported):
    if is_imported:
        pytest.importorskip("trio")
    else:
        monkeypatch.delitem(sys.modules, "trio", raising=False)
    order = []

    async def waits():
        order.append("begin")
        began = time.monotonic()
        await sleep(0.05)
        order.append("end")
        return time.monotonic() - began

    async def together():
        return await asyncio.gather(waits(), waits()), running_trio()

    times, trio = asyncio.run(together())

    assert order == ["begin", "begin", "end", "end"]
    assert min(times) >= 0.045
    assert trio is None


def test_in_trio_others_go_on_while_one_waits():
    trio = pytest.importorskip("trio")
    order = []

    async def waits():
        order.append("begin")
        began = time.monotonic()
        await sleep(0.05)
        order.append("end")
        assert time.monotonic() - began >= 0.045

    async def together():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            nursery.start_soon(waits)
        return running_trio()

    assert trio.run(together) is trio
    assert order == ["begin", "begin", "end", "end"]


def test_a_function_is_called_in_a_thread_with_the_context_of_its_caller_or_here_where_there_is_none():
    variable = contextvars.ContextVar("variable")

    async def main():
        variable.set("around")
        loop = asyncio.get_running_loop()
        answers = [await in_thread(lambda place: (place, variable.get(), threading.get_ident()), "there")]
        await loop.shutdown_default_executor()
        answers.append(await in_thread(lambda place: (place, variable.get(), threading.get_ident()), "here"))
        return answers

    (place, value, thread), last = asyncio.run(main())

    assert (place, value) == ("there", "around")
    assert thread != threading.get_ident()
    assert last == ("here", "around", threading.get_ident())


def test_a_coroutine_that_is_stepped_by_hand_calls_it_where_it_is():
    steps = in_thread(threading.get_ident)

    with pytest.raises(StopIteration) as end:
        steps.send(None)

    assert end.value.value == threading.get_ident()
