import concurrent.futures
import sys
import threading

import pytest

from otelflow._core.flows.future import Future
from otelflow._core.flows.future_states import settle, tell_again

PATIENCE = 60


def waiting_for(future, told):
    future.add_done_callback(lambda future: told.append(future.result()))
    thread = threading.Thread(target=lambda: told.append(list(concurrent.futures.wait([future], PATIENCE).done)))
    thread.start()
    return thread


def test_who_waits_is_told_when_the_end_was_interrupted():
    future, told = Future("double"), []
    thread = waiting_for(future, told)
    while not future._waiters:
        threading.Event().wait(0.001)

    def interrupt(frame, event, argument):
        if event == "line" and frame.f_code.co_name == "add_result":
            raise KeyboardInterrupt
        return interrupt

    sys.settrace(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            settle(future, 4, None)
    finally:
        sys.settrace(None)
    tell_again(future)
    thread.join(PATIENCE)

    assert told in ([4, [future]], [[future], 4])


def test_who_was_told_is_not_told_twice():
    future, told = Future("double"), []
    waiting_for(future, told).join(0)
    settle(future, 4, None)
    tell_again(future)
    tell_again(future)

    assert told.count(4) == 1


def test_nobody_is_told_of_what_has_not_ended():
    future = Future("double")
    tell_again(future)

    assert not future.done()


def test_one_of_those_that_are_called_may_fail(caplog):
    future, told = Future("double"), []
    future.add_done_callback(lambda future: 1 / 0)
    future.add_done_callback(told.append)
    settle(future, 4, None)

    assert told == [future]
    assert "ZeroDivisionError" in caplog.text
