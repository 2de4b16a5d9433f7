"""By hand: check what is asked for, use all processors, keep what is done, and do it again and again.

Compare it with after.py. Here the next machine is another program, and nothing says afterwards which run took what
from where.
"""

import argparse
import asyncio
import functools
import json
import logging
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path

import shop

KEPT = Path("kept-by-hand")
log = logging.getLogger("report")
is_stopping = False


def shop_named(text: str) -> str:
    """Return *text* if it is a shop; the message names what was given and what could have been."""
    if text not in shop.SHOPS:
        raise argparse.ArgumentTypeError(f"{text!r} is no shop; one of {', '.join(shop.SHOPS)}")
    return text


def day_named(text: str) -> date:
    """Return the day that *text* is."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def kept(file: Path) -> shop.Forecast | None:
    """Return what *file* holds; JSON knows no days, no decimals and no dataclasses, so each is made again here."""
    try:
        values = json.loads(file.read_text())
        return shop.Forecast(values["shop"], date.fromisoformat(values["day"]), Decimal(values["takings"]))
    except (OSError, ValueError, KeyError):
        return None


def keep(file: Path, value: shop.Forecast) -> None:
    """Write *value* in one step, for whoever reads meanwhile."""
    KEPT.mkdir(mode=0o700, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps({"shop": value.shop, "day": value.day.isoformat(), "takings": str(value.takings)}))
    part.replace(file)


def forecast(name: str, day: date) -> shop.Forecast:
    """Return the forecast that is kept, or one that is made now."""
    file = KEPT / f"{name}-{day}.json"
    value = kept(file)
    if value is None:
        value = shop.forecast(name, day)
        keep(file, value)
    return value


async def report(day: date, shops: list[str], pool: ProcessPoolExecutor) -> Decimal:
    """Return what *shops* will take in on *day*, in euros."""
    loop = asyncio.get_running_loop()
    forecasts = [loop.run_in_executor(pool, functools.partial(forecast, name, day)) for name in shops]
    rates = await asyncio.gather(*(shop.rate(shop.SHOPS[name]) for name in shops))
    total = sum([(await one).takings * euros for one, euros in zip(forecasts, rates, strict=True)])
    return round(Decimal(total), 2)


def again_and_again(seconds: float, work: functools.partial[None]) -> None:
    """Do *work* every so many *seconds* until SIGTERM; what was missed while it took longer, nobody knows."""

    def stop(*_: object) -> None:
        global is_stopping
        is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    due = time.monotonic()
    while not is_stopping:
        try:
            work()
        except Exception:
            log.exception("the report has failed")
        due = max(due + seconds, time.monotonic())
        while not is_stopping and time.monotonic() < due:
            time.sleep(0.05)


def once(day: date, shops: list[str]) -> None:
    """Make one report, and say of which day it is in each line of the log."""
    logging.basicConfig(format=f"report of {day} [report, sales]: %(message)s", level=logging.INFO, stream=sys.stderr)
    with ProcessPoolExecutor() as pool:
        print(asyncio.run(report(day, shops, pool)), "euros", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("day", type=day_named)
    parser.add_argument("shops", nargs="*", type=shop_named, default=list(shop.SHOPS))
    parser.add_argument("--every", type=float, help="seconds")
    given = parser.parse_args()
    if given.every is None:
        once(given.day, given.shops)
    else:
        again_and_again(given.every, functools.partial(once, given.day, given.shops))
