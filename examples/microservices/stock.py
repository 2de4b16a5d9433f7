"""The stock service (FastAPI): takes fruit from its shelf, and puts it back when the count is below zero."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from pydantic import BaseModel
from sqlalchemy.orm import Session

from database import PRICES, Shelf, engine
from otelflow import flow, get_run_logger, task
from telemetry import observe

telemetry = observe("stock")


class NotEnough(Exception):
    """There is less on the shelf than somebody wants."""


@task
def take(fruit: str, count: int) -> int:
    with Session(engine) as session, session.begin():
        shelf = session.get_one(Shelf, fruit, with_for_update=True)
        if shelf.left < count:
            raise NotEnough(f"only {shelf.left} of {fruit} left")
        shelf.left -= count
        return shelf.left


@flow(execute_on_call=True)
def move_stock(fruit: str, count: int) -> float:
    left = take(fruit, count)
    get_run_logger().info("%d of %s left", left, fruit)
    return count * PRICES[fruit]


class Reservation(BaseModel):
    fruit: str
    count: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    telemetry.force_flush()  # after SIGTERM uvicorn ends without Python's exit functions


app = FastAPI(title="stock", lifespan=lifespan)
FastAPIInstrumentor.instrument_app(app, excluded_urls="health", exclude_spans=["receive", "send"])


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/reservations")
def reservations(reservation: Reservation) -> dict[str, float]:
    if reservation.fruit not in PRICES:
        raise HTTPException(404, f"no {reservation.fruit} here")
    try:
        return {"euros": move_stock(reservation.fruit, reservation.count)}
    except NotEnough as error:
        raise HTTPException(409, str(error)) from None
