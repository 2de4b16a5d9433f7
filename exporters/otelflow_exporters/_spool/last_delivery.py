"""The end of a process: what waits is sent while the endpoint takes it, and one that is silent is not waited for."""

from collections.abc import Callable
from typing import Final

from otelflow._core.process import clock, shutdown
from otelflow._core.process.worker import SHUTDOWN_SECONDS, Worker
from otelflow_exporters._spool.answers import Answers
from otelflow_exporters._spool.shipper import Shipper

# How long a process that ends waits for the answer to one request, if nobody knows whether there will be any
_PATIENCE_SECONDS: Final = 0.3
_PATIENCE_AFTER_ARRIVAL_SECONDS: Final = 2.0  # with one that has answered before, also to others
_LOOK_SECONDS: Final = 0.02


def deliver_last(worker: Worker, shipper: Shipper, answers: Answers, waiting: Callable[[], int]) -> bool:
    """Let *worker* send with *shipper* what waits while that goes on; tell whether everything was sent.

    *waiting* says how much is left, *answers* whether the endpoint is known to answer. Where another process is about
    to send it, as workers that end together do for each other, it is waited for as the endpoint is.
    """
    if not waiting():
        return True
    delivery = shipper.delivery
    is_expected = True if delivery.arrivals else answers.expected()
    if delivery.is_silent or is_expected is False:
        return False
    shipper.try_once_more()
    deadline = clock.monotonic() + shutdown.seconds_left(SHUTDOWN_SECONDS)
    if worker.thread is None and not worker.start_thread():
        worker.work_here(deadline)
        return not waiting()
    requests, progress = delivery.requests, clock.monotonic()
    while clock.monotonic() < deadline:
        is_idle = worker.flush(_LOOK_SECONDS)  # a look at very many files takes longer
        if not waiting() or (is_idle and not shipper.is_elsewhere):
            return not waiting()
        if is_idle:
            with worker.lock:
                worker.changed.wait(_LOOK_SECONDS)
        patience = _PATIENCE_AFTER_ARRIVAL_SECONDS if delivery.arrivals or is_expected else _PATIENCE_SECONDS
        if delivery.requests != requests:
            requests, progress = delivery.requests, clock.monotonic()
        elif clock.monotonic() - progress > shutdown.seconds_left(patience, _LOOK_SECONDS):
            answers.note(has_answered=False)
            return False
    return False
