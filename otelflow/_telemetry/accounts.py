"""What has become of everything that this process delivers, said in one line of the log when delivery ends."""

import atexit
import logging
from collections.abc import Callable
from typing import Any, Final

from otelflow._core.process import losses, shutdown
from otelflow._core.process.ledger import Account, in_words
from otelflow._core.process.process import State
from otelflow._core.process.trace_address import last_trace
from otelflow._core.text.own_logger import log

Ledger = tuple[Account, ...]


class KeepsAccounts:
    """A provider that knows which of its processors have an account."""

    def keep_account_of(self, processor: object) -> None:
        """Remember *processor* if it has an account."""
        if isinstance(getattr(processor, "account", None), Account):
            vars(self).setdefault("_account_holders", []).append(processor)

    @property
    def accounts(self) -> Ledger:
        """The account of each processor that has one."""
        holders: list[Any] = vars(self).get("_account_holders", [])
        return tuple(holder.account for holder in holders)


class _LastLine(State):
    """The ledger that the end of the process tells of, and what was told already."""

    read: "Callable[[], Ledger] | None"
    told: Ledger
    is_registered: bool = False  # exit functions outlast a test

    def reset(self) -> None:
        """Have nothing to tell."""
        self.read = None
        self.told = ()

    def begin_anew(self) -> None:
        """Tell in a forked child of its own deliveries only."""
        self.told = ()

    def tell(self) -> None:
        """Tell of the ledger, unless nothing has changed since."""
        if self.read is not None:
            tell(self.read())


_last_line: Final = _LastLine()


def tell_at_end(read: Callable[[], Ledger]) -> None:
    """Tell of the ledger that *read* returns when the process ends; to be called before what delivers is made.

    Exit functions are called in reverse order: so the line comes when everything has ended.
    """
    _last_line.read = read
    if not _last_line.is_registered:
        _last_line.is_registered = True
        atexit.register(_last_line.tell)
        shutdown.deliver_before_child_ends(_last_line, _LastLine.tell)


def tell(ledger: Ledger) -> None:
    """Log *ledger* in one line, as a warning if something more was lost; nothing if that is said already."""
    if ledger == _last_line.told or not in_words(ledger):
        return
    has_lost = sum(account.lost for account in ledger) > sum(account.lost for account in _last_line.told)
    level = logging.WARNING if has_lost else logging.INFO
    _last_line.told = ledger
    trace = last_trace()
    log(losses.logger, level, "Telemetry: %s%s", in_words(ledger), trace and f"; the last trace is {trace}")


def leave_out(ledger: Ledger) -> None:
    """Do not tell of *ledger*: that was done already."""
    _last_line.told = ledger
