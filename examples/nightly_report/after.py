"""The same as before.py: what it does by hand is a keyword here, a word of the command, or its value."""

import os
import sys
from datetime import date
from decimal import Decimal
from typing import Literal

import shop

from otelflow import flow, task
from otelflow.cache_policies import INPUTS

Shop = Literal["Basel", "Oslo", "Turin"]

KEPT = os.environ.get("KEPT", "kept")  # a folder, or an address such as s3://bucket/kept
RUNNER = os.environ.get("RUNNER", "processes")  # or threads, inline, dask, ray: a word, or a runner with options

# A coroutine runs on the event loop of its flow; what keeps a processor busy, where the flow's runner says.
rate = task(task_run_name="{currency}")(shop.rate)
forecast = task(task_run_name="{shop} {day}", cache_policy=INPUTS, result_storage=KEPT)(shop.forecast)


@flow(task_runner=RUNNER, validate_parameters=True, tags=["report", "sales"], flow_run_name="report of {day}")
async def report(day: date, shops: tuple[Shop, ...] = ("Basel", "Oslo", "Turin")) -> Decimal:
    """Return what *shops* will take in on *day*, in euros."""
    rates = rate.map([shop.SHOPS[name] for name in shops])
    forecasts = [forecast.submit(name, day) for name in shops]
    total = sum([(await one).takings * await euros for one, euros in zip(forecasts, rates, strict=True)])
    return round(Decimal(total), 2)


if __name__ == "__main__":
    day, *shops = sys.argv[1:]
    run = report(day, shops or tuple(shop.SHOPS)).execute()  # type: ignore[arg-type]  # they are texts, and validated
    print(run.flow_return_value, "euros")
