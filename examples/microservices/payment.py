"""The payment service (Flask, under gunicorn), and the switch that makes it fail: PUT /failures {"share": 0.8}."""

import random

from flask import Flask, request
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from sqlalchemy.orm import Session

from database import Payment, Switch, engine
from otelflow import Objective, flow, task
from telemetry import observe

observe("payment")


class BankSilent(Exception):
    """The bank does not answer."""


@task
def authorise(customer: str, euros: float) -> None:
    with Session(engine) as session, session.begin():
        share = session.get_one(Switch, "payments fail").share
    if random.random() < share:  # noqa: S311 nothing secret
        raise BankSilent(f"no answer about {euros:.2f} of {customer}")


@task
def book(customer: str, euros: float) -> int:
    with Session(engine) as session, session.begin():
        payment = Payment(customer=customer, euros=euros)
        session.add(payment)
        session.flush()
        return payment.number


@flow(execute_on_call=True, objective=Objective(success=0.99))
def pay(customer: str, euros: float) -> int:
    authorise(customer, euros)
    return book(customer, euros)


app = Flask(__name__)
FlaskInstrumentor().instrument_app(app, excluded_urls="health")


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/payments")
def payments() -> tuple[dict[str, object], int]:
    bill = request.get_json()
    try:
        return {"payment": pay(bill["customer"], bill["euros"])}, 201
    except BankSilent as error:
        return {"error": str(error)}, 503


@app.put("/failures")
def failures() -> dict[str, float]:
    share = float(request.get_json()["share"])
    with Session(engine) as session, session.begin():
        session.get_one(Switch, "payments fail").share = share
    return {"share": share}
