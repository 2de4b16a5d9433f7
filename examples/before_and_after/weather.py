"""A service as services are: it is away now and then, and one request never comes back."""

import threading
import time
from collections import Counter
from pathlib import Path

DEGREES = {"Bern": 7.5, "Lima": 19.0, "Oslo": -2.0, "Rome": 14.5}
MAIL_IS_UP = Path("mail-is-up")  # stands for a mail server that is down at first

_asked: Counter[str] = Counter()
_lock = threading.Lock()


def degrees(city: str) -> float:
    """Return the degrees in *city*; the first request for each is refused, and Atlantis does not answer."""
    with _lock:
        _asked[city] += 1
        is_first = _asked[city] == 1
    if city == "Atlantis":
        time.sleep(2)
    if is_first:
        raise ConnectionError("the service is away")
    return DEGREES[city]


def mail(report: dict[str, float]) -> int:
    """Send *report*, and return how many cities are in it."""
    if not MAIL_IS_UP.exists():
        raise ConnectionError("the mail server is down")
    return len(report)
