"""Add up what delivery says of itself: of each item that a test has made, it must know what became of it."""

from collections import Counter
from contextlib import contextmanager

from otelflow._core.process import losses
from otelflow._telemetry.batches import BoundedBatchProcessor
from otelflow_exporters._spool.spool import Spool


@contextmanager
def added_up():
    """Look, when the block ends, whether the accounts of everything that delivers, and was made inside, are right.

    What waits is counted where it waits, and not as the rest of what is neither delivered nor lost.
    """
    batches, spools = [], []
    with _noted(BoundedBatchProcessor, batches), _noted(Spool, spools):
        yield
    for processor in batches:
        with processor.worker.changed:
            account = processor.account
            waiting = len(processor._queue) + processor._in_flight
        assert account.waiting == waiting, f"{account}, and {waiting} wait"
        _expect_no_debt(account)
    for processor in spools:
        account = processor.account
        assert account.waiting == processor.waiting, f"{account}, and {processor.waiting} wait"
        _expect_no_debt(account)


def _expect_no_debt(account):
    assert min(account.total, account.delivered, account.waiting, account.lost) >= 0, str(account)
    assert all(count > 0 for count in account.dropped.values()), str(account)


@contextmanager
def _noted(kind, objects):
    """Put each object of *kind* that is made inside into *objects*."""
    begin = kind.__init__

    def begin_noted(self, *args, **keywords):
        begin(self, *args, **keywords)
        objects.append(self)

    kind.__init__ = begin_noted
    try:
        yield
    finally:
        kind.__init__ = begin


def losses_of(*accounts):
    """Return what was lost on the way to all destinations, as ``otelflow_telemetry_dropped_total`` has it."""
    lost = Counter()
    for account in accounts:
        lost.update({(account.signal, reason): count for reason, count in account.dropped.items()})
    return lost


def expect(account, total, delivered, waiting=0, **dropped):
    """Assert what stands in *account*, and that each loss in it is one that the whole process knows of."""
    assert (account.total, account.delivered, account.waiting, dict(account.dropped)) == (
        total,
        delivered,
        waiting,
        dropped,
    )
    assert account.total == account.delivered + account.waiting + sum(account.dropped.values())
    assert losses_of(account) <= losses.dropped
