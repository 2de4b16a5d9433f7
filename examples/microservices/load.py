"""Customers: so many orders each second for so many seconds, and how they went."""

import argparse
import signal
import sys
import threading
import time
from collections import Counter

import httpx

from database import PRICES

CUSTOMERS = ("ann", "bob", "cid", "dora")


def order(client: httpx.Client, number: int) -> str:
    fruit = list(PRICES)[number % len(PRICES)]
    wish = {"customer": CUSTOMERS[number % len(CUSTOMERS)], "fruit": fruit, "count": number % 3 + 1}
    try:
        return f"{client.post('/orders', json=wish).status_code}"
    except httpx.HTTPError as error:
        return type(error).__name__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8001", help="the order service")
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--rate", type=float, default=2, help="orders in a second, at most")
    options = parser.parse_args()

    is_stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: is_stopped.set())  # after Ctrl-C, the order that goes on ends
    answers: Counter[str] = Counter()
    start = time.monotonic()
    with httpx.Client(base_url=options.url, timeout=30) as client:
        for number in range(max(1, round(options.seconds * options.rate))):
            if is_stopped.wait(max(0, start + number / options.rate - time.monotonic())):
                break
            if time.monotonic() > start + options.seconds:
                break  # the latter, if the shop is slower than its customers
            answers[order(client, number)] += 1
    counts = ", ".join(f"{count} with {answer}" for answer, count in sorted(answers.items()))
    sys.stdout.write(f"{answers.total()} orders: {counts}\n")


if __name__ == "__main__":
    main()
