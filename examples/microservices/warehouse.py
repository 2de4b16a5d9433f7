"""The warehouse's cron job: fills the shelves, and ships what was ordered, each order in the order's own trace.

otelflow run warehouse.py:warehouse_round
"""

from opentelemetry import context, propagate
from sqlalchemy import select
from sqlalchemy.orm import Session

from database import FULL_SHELF, Order, Shelf, engine
from otelflow import Objective, flow, task
from telemetry import instrument

instrument()  # `otelflow run` has set up the rest


@task
def restock() -> int:
    with Session(engine) as session, session.begin():
        shelves = session.scalars(select(Shelf).with_for_update()).all()
        missing = sum(FULL_SHELF - shelf.left for shelf in shelves)
        for shelf in shelves:
            shelf.left = FULL_SHELF
        return missing


@flow(execute_on_call=True, capture_parameters=True)
def ship(number: int) -> None:
    with Session(engine) as session, session.begin():
        session.get_one(Order, number).is_shipped = True


@task
def ship_orders() -> int:
    with Session(engine) as session, session.begin():
        waiting = session.execute(select(Order.number, Order.traceparent).where(~Order.is_shipped)).all()
    for number, traceparent in waiting:
        token = context.attach(propagate.extract({"traceparent": traceparent}))
        try:
            ship(number)
        finally:
            context.detach(token)
    return len(waiting)


@flow(objective=Objective(every="5m"))
def warehouse_round() -> str:
    return f"{restock()} put on shelves, {ship_orders()} orders shipped"
