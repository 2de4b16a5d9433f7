"""The order service (FastAPI): reserves, charges, saves, and has an e-mail sent; what is not paid for is put back."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from pydantic import BaseModel, PositiveInt
from sqlalchemy.orm import Session

from database import PRICES, Order, engine
from email_worker import send_email
from otelflow import Objective, flow, task
from telemetry import observe

STOCK = os.environ.get("STOCK_URL", "http://127.0.0.1:8002")
PAYMENT = os.environ.get("PAYMENT_URL", "http://127.0.0.1:8003")

services = httpx.Client(timeout=10)
telemetry = observe("order")


class SoldOut(Exception):
    """There is not enough on the shelf."""


@task
def reserve(fruit: str, count: int) -> float:
    answer = services.post(f"{STOCK}/reservations", json={"fruit": fruit, "count": count})
    if answer.status_code == httpx.codes.CONFLICT:
        raise SoldOut(answer.json()["detail"])
    return float(answer.raise_for_status().json()["euros"])


@task
def put_back(fruit: str, count: int) -> None:
    services.post(f"{STOCK}/reservations", json={"fruit": fruit, "count": -count}).raise_for_status()


@task
def charge(customer: str, euros: float) -> None:
    services.post(f"{PAYMENT}/payments", json={"customer": customer, "euros": euros}).raise_for_status()


@task
def save(customer: str, fruit: str, count: int) -> int:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    with Session(engine) as session, session.begin():
        order = Order(customer=customer, fruit=fruit, count=count, traceparent=carrier.get("traceparent", ""))
        session.add(order)
        session.flush()
        return order.number


# An order is an order, also when nobody can be told.
@task(raise_on_error=False)
def confirm(customer: str, number: int) -> None:
    send_email.delay(customer, f"Order {number} is on its way")


@flow(execute_on_call=True, capture_parameters=True, objective=Objective(success=0.95, duration="2s"))
def place_order(customer: str, fruit: str, count: int) -> int:
    euros = reserve(fruit, count)
    try:
        charge(customer, euros)
    except httpx.HTTPError:
        put_back(fruit, count)
        raise
    number = save(customer, fruit, count)
    confirm(customer, number)
    return number


class Wish(BaseModel):
    customer: str
    fruit: str
    count: PositiveInt = 1


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    telemetry.force_flush()  # after SIGTERM uvicorn ends without Python's exit functions


app = FastAPI(title="order", lifespan=lifespan)
FastAPIInstrumentor.instrument_app(app, excluded_urls="health", exclude_spans=["receive", "send"])


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/orders", status_code=201)
def orders(wish: Wish) -> dict[str, int | str]:
    if wish.fruit not in PRICES:
        raise HTTPException(404, f"no {wish.fruit} here")
    trace_id = trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)
    try:
        return {"order": place_order(wish.customer, wish.fruit, wish.count), "trace": trace_id}
    except SoldOut as error:
        raise HTTPException(409, str(error)) from None
    except httpx.HTTPError as error:
        raise HTTPException(502, str(error)) from None
