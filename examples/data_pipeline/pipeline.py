"""A data pipeline on files: orders are read, validated, converted to euros and written; what is no order is a table."""

import csv
from dataclasses import asdict, dataclass, fields
from datetime import date
from math import inf
from pathlib import Path
from typing import TypedDict

from otelflow import INJECTED, Flow, flow, get_run_logger, task

HERE = Path(__file__).parent


class Reject(TypedDict):
    order: str
    reason: str


@dataclass
class Order:
    order: int
    day: date
    fruit: str
    kilos: float
    euros: float


@task
def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, restval=""))


# Today's rates are often late; yesterday's will do, so this failure stays inside.
@task(raise_on_error=False)
def read_todays_rates(folder: Path) -> dict[str, float]:
    return rates_of(folder / "rates-today.csv")


@task
def read_last_rates(folder: Path) -> dict[str, float]:
    return rates_of(folder / "rates.csv")


def rates_of(path: Path) -> dict[str, float]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["currency"]: float(row["euros"]) for row in csv.DictReader(file)}


# One task for all rows: a span for each of a million rows would tell nobody anything.
@task
def validate(rows: list[dict[str, str]], currencies: set[str]) -> tuple[list[dict[str, str]], list[Reject]]:
    orders, rejects = [], []
    for row in rows:
        try:
            check(row, currencies)
        except ValueError as error:
            rejects.append(Reject(order=row["order"], reason=str(error)))
        else:
            orders.append(row)
    if rejects:
        get_run_logger().warning("%d of %d rows are no orders", len(rejects), len(rows))
    return orders, rejects


def check(row: dict[str, str], currencies: set[str]) -> None:
    int(row["order"])
    date.fromisoformat(row["day"])
    for name in ("kilos", "price"):
        if not 0 < float(row[name]) < inf:
            raise ValueError(f"{name} must be more than 0, not {row[name]}")
    if row["currency"] not in currencies:
        raise ValueError(f"no rate for {row['currency']}")


@task
def convert(rows: list[dict[str, str]], rates: dict[str, float]) -> list[Order]:
    return [
        Order(
            order=int(row["order"]),
            day=date.fromisoformat(row["day"]),
            fruit=row["fruit"],
            kilos=float(row["kilos"]),
            euros=round(float(row["price"]) * rates[row["currency"]], 2),
        )
        for row in rows
    ]


@task
def write(orders: list[Order], target: Path) -> None:
    # Under another name first: whoever reads the target sees all of it or what was there before.
    unfinished = target.with_name(target.name + ".unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Order)])
        table.writeheader()
        table.writerows(asdict(order) for order in orders)
    unfinished.replace(target)


@flow(capture_parameters=True)
def orders_in_euros(target: Path, source: Path = HERE / "orders.csv", this_flow: Flow[float] = INJECTED) -> float:
    rows = read_table(source)
    rates = read_todays_rates(source.parent) or read_last_rates(source.parent)
    valid, rejects = validate(rows, set(rates))
    orders = convert(valid, rates)
    write(orders, target)
    this_flow.add_flow_artifact(
        key="rejects", description="Rows that are no orders", data=rejects, artifact_type="table"
    )
    return round(sum(order.euros for order in orders), 2)
