"""The ledger: what has become of everything that this process has handed over for delivery."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

# What a user calls a destination of ours; one of OpenTelemetry's, or of somebody else, goes by its class
_WORDS: Final = {
    "SpoolSpanProcessor": "the spool",
    "SpoolLogRecordProcessor": "the spool",
    "PushOutput": "the Pushgateway",
    "TextfileOutput": "the text file",
    "OtlpOutput": "the OTLP endpoint",
    "StoreSpanExporter": "the store",
}


class Account(NamedTuple):
    """What has become of the items of one *signal* (``traces``, ``logs``, ``metrics``) on the way to one *destination*.

    *total* is how many items were made and handed over: spans, log records, deliveries of metrics. Each is
    *delivered*, *waiting* or lost; *dropped* says how many were lost, by reason. *destination* is the class that
    delivers.

    >>> telemetry = otelflow.configure(tracer_provider=my_provider)
    >>> all(account.total == account.delivered + account.waiting + account.lost for account in telemetry.ledger)
    True
    """

    signal: str
    destination: str
    total: int
    delivered: int
    dropped: Mapping[str, int]

    @property
    def lost(self) -> int:
        """How many items were dropped, for whatever reason."""
        return sum(self.dropped.values())

    @property
    def waiting(self) -> int:
        """How many items are still to be delivered, by this process or by another one that reads its spool."""
        return self.total - self.delivered - self.lost

    def __str__(self) -> str:
        counts = [f"{self.total:,} made", f"{self.delivered:,} delivered"]
        if self.waiting:
            counts.append(f"{self.waiting:,} waiting")
        if self.lost:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.dropped.items()))
            counts.append(f"{self.lost:,} lost ({reasons})")
        return f"{self.signal} to {_WORDS.get(self.destination, self.destination)}: {', '.join(counts)}"


class Tally:
    """The numbers of an account while they grow; each change is made under the lock of what delivers."""

    def __init__(self) -> None:
        self.total = 0
        self.delivered = 0
        self.dropped: Counter[str] = Counter()

    def account(self, signal: str, destination: object) -> Account:
        """Return the account of now; *destination* is what delivers."""
        return Account(signal, type(destination).__name__, self.total, self.delivered, dict(+self.dropped))


def in_words(accounts: Iterable[Account]) -> str:
    """Return *accounts* as one line, without those that count nothing."""
    return "; ".join(str(account) for account in accounts if account.total)
