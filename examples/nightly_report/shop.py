"""A chain of shops: rates of exchange that take their time, and a forecast that keeps a processor busy."""

import asyncio
import os
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

SHOPS = {"Basel": "CHF", "Oslo": "NOK", "Turin": "EUR"}
RATES = {"CHF": Decimal("1.06"), "NOK": Decimal("0.085"), "EUR": Decimal(1)}


@dataclass(frozen=True)
class Forecast:
    """What a shop will take in on a day, in its own money."""

    shop: str
    day: date
    takings: Decimal


async def rate(currency: str) -> Decimal:
    """Return how many euros one of *currency* is."""
    await asyncio.sleep(0.05)
    return RATES[currency]


def forecast(shop: str, day: date) -> Forecast:
    """Reckon for a while; the line says where, and how often it was really done."""
    weight = day.toordinal()
    for number in range(200_000):
        weight = (weight * 31 + number + len(shop)) % 1_000_003
    print(f"forecast of {shop} in process {os.getpid()}", flush=True)
    return Forecast(shop, day, Decimal(weight) / 100)
