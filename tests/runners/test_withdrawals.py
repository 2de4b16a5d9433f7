import signal
import threading

import pytest

from otelflow.runners import _withdrawals, _worker
from otelflow.runners._withdrawals import WITHDRAWN, run_order, run_order_to_its_end, withdraw


@pytest.fixture(autouse=True)
def orders(monkeypatch):
    """Orders are run by what they hold."""
    _withdrawals._orders.reset()
    monkeypatch.setattr(_worker, "run_order", lambda order: b"ran " + order)
    yield
    _withdrawals._orders.reset()


def test_what_was_withdrawn_does_not_begin_and_what_has_begun_goes_on():
    assert run_order(b"first", b"1") == b"ran first"

    assert withdraw([b"1", b"2"]) == [b"1"]

    assert run_order(b"second", b"2") == WITHDRAWN
    assert run_order(b"third", b"3") == b"ran third"
    assert withdraw([b"2", b"3"]) == [b"3"]


def test_no_more_names_are_kept_than_can_be_asked_for(monkeypatch):
    monkeypatch.setattr(_withdrawals, "_MOST_NAMES", 3)
    for number in range(5):
        run_order(b"", b"begun %d" % number)
    withdraw([b"withdrawn %d" % number for number in range(3)])
    withdraw([b"withdrawn 3"])

    assert withdraw([b"begun 1", b"begun 2", b"begun 4"]) == [b"begun 2", b"begun 4"]
    assert run_order(b"order", b"withdrawn 3") == WITHDRAWN
    assert len(_withdrawals._orders.begun) == len(_withdrawals._orders.withdrawn) == 3


def test_ctrl_c_ends_no_order_that_has_begun_on_ray_and_is_heard_again_after_it(monkeypatch):
    def interrupted(order):
        signal.raise_signal(signal.SIGINT)
        return b"ran " + order

    monkeypatch.setattr(_worker, "run_order", interrupted)
    before = signal.getsignal(signal.SIGINT)

    assert run_order_to_its_end(b"order") == b"ran order"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_order_of_ray_runs_in_a_thread_too():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(run_order_to_its_end(b"order")), daemon=True)
    thread.start()
    thread.join(30)

    assert answers == [b"ran order"]
