"""Numbers come out on a thread of their own, and what does not arrive is counted."""

import threading

import pytest

from otelflow._core.process import losses, shutdown
from otelflow.metrics._outputs.metrics_worker import MetricsWorker, Refusal


class Receiver:
    """Takes deliveries, or raises what *error* is."""

    def __init__(self):
        self.deadlines = []
        self.error = None
        self.count = 0
        self.arrived = threading.Event()

    def deliver(self, deadline):
        self.deadlines.append(deadline)
        self.arrived.set()
        if self.error is not None:
            raise self.error


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def worker(receiver):
    worker = MetricsWorker(receiver.deliver, "for the test", count=lambda: receiver.count)
    yield worker
    worker.is_discarding = True
    worker.close()


def account(worker):
    one = worker.account_of(worker)
    return one.total, one.delivered, dict(one.dropped)


def test_each_flush_is_one_delivery_and_tells_whether_it_arrived(worker, receiver):
    worker.start()
    is_first = worker.flush(10)
    receiver.error = OSError("no network")
    is_second = worker.flush(10)
    total, delivered, dropped = account(worker)

    assert (is_first, is_second) == (True, False)
    assert dropped["export_failed"] == total - delivered >= 1
    assert losses.dropped["metrics", "export_failed"] == dropped["export_failed"]


def test_what_did_not_arrive_is_said_once_with_its_target_and_reason(worker, receiver, caplog):
    receiver.error = OSError("no network")
    worker.start()
    for _ in range(3):
        worker.flush(10)

    (record,) = caplog.records
    assert record.getMessage() == "Metrics for the test did not arrive (OSError: no network); the flow goes on"


def test_without_news_there_is_no_last_delivery_and_with_news_there_is(worker, receiver):
    receiver.count = 1
    worker.start()
    worker.flush(10)
    before = len(receiver.deadlines)
    worker.close()
    silent = len(receiver.deadlines)

    other = MetricsWorker(receiver.deliver, "for the test", count=lambda: receiver.count)
    other.start()
    other.flush(10)
    receiver.count = 2
    last = len(receiver.deadlines)
    other.close()

    assert silent == before
    assert len(receiver.deadlines) == last + 1


def test_what_is_discarded_is_not_delivered(receiver):
    worker = MetricsWorker(receiver.deliver, "for the test", count=lambda: receiver.count)
    worker.is_discarding = True
    receiver.count = 1
    worker.start()
    worker.close()

    assert (receiver.deadlines, account(worker)) == ([], (0, 0, {}))


@pytest.mark.parametrize(("error", "tries"), [(OSError("gone"), 1), (Refusal("busy"), 2)])
def test_at_the_end_only_who_answers_is_asked_once_more(worker, receiver, monkeypatch, error, tries):
    monkeypatch.setattr(shutdown, "is_ending", lambda: True)
    receiver.error = error
    for _ in range(2):
        worker._deliver_news()

    assert len(receiver.deadlines) == tries
    assert account(worker) == (tries, 0, {"export_failed": tries})


def test_it_is_asked_to_deliver_soon_only_if_there_is_anything_new(receiver):
    asked = []
    workers = [
        MetricsWorker(receiver.deliver, "for the test", interval=interval, count=lambda: receiver.count)
        for interval in (None, 600.0)
    ]
    for worker in workers:
        worker.start()
        worker.flush(10)
    for news in (0, 1):
        receiver.count = news
        for worker in workers:
            receiver.arrived.clear()
            worker.deliver_soon()
            asked.append(receiver.arrived.wait(0.3))
    for worker in workers:
        worker.close()

    assert asked == [False, True, True, True]


def test_it_delivers_when_it_starts_and_not_again_when_it_has_started(worker, receiver):
    worker.start()
    first = receiver.arrived.wait(10)
    worker.flush(10)
    before = len(receiver.deadlines)
    worker.start()
    worker.close()

    assert first
    assert len(receiver.deadlines) == before


def test_who_has_nothing_to_say_says_nothing_at_the_end(receiver):
    worker = MetricsWorker(receiver.deliver, "for the test", count=lambda: receiver.count)

    assert worker.close()
    assert (receiver.deadlines, account(worker)) == ([], (0, 0, {}))


def test_a_delivery_that_the_end_does_not_wait_for_is_lost_once_however_it_comes_out(receiver, caplog, monkeypatch):
    monkeypatch.setattr("otelflow._core.process.worker._JOIN_SECONDS", 0.0)
    is_over = threading.Event()

    def deliver(deadline):
        receiver.deliver(deadline)
        is_over.wait(10)

    worker = MetricsWorker(deliver, "for the test", count=lambda: receiver.count)
    worker.shutdown_timeout = 0.01
    worker.start()
    receiver.arrived.wait(10)
    is_in_time = worker.close()
    at_the_end = account(worker)
    is_over.set()
    worker.thread.join(10)

    assert not is_in_time
    assert at_the_end == account(worker) == (1, 0, {"export_failed": 1})
    assert caplog.messages == ["Metrics for the test had no time left to arrive; the flow goes on"]


def test_a_delivery_that_had_not_even_begun_when_time_was_up_is_lost_once(receiver, monkeypatch):
    monkeypatch.setattr("otelflow._core.process.worker._JOIN_SECONDS", 0.0)
    is_asked, is_over = threading.Event(), threading.Event()

    def count():
        if threading.current_thread().name == "otelflow-worker":
            is_asked.set()
            is_over.wait(10)
        return 0

    worker = MetricsWorker(receiver.deliver, "for the test", count=count)
    worker.shutdown_timeout = 0.01
    worker.start()
    is_asked.wait(10)
    is_in_time = worker.close()
    lost = account(worker)
    worker.is_discarding = True
    is_over.set()
    worker.thread.join(10)

    assert (is_in_time, lost, receiver.deadlines) == (False, (1, 0, {"export_failed": 1}), [])
