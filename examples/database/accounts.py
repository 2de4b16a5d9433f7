"""Transactions as tasks: what a task writes is committed when it succeeds, and rolled back when it fails."""

import os
from pathlib import Path

from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from sqlalchemy import CheckConstraint, Engine, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from otelflow import INJECTED, Flow, flow, get_run_logger, task

SQLITE = f"sqlite:///{Path('accounts.db').absolute()}"


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("balance >= 0", name="no_debts"),)

    owner: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int]


@task
def connect(url: str) -> Engine:
    engine = create_engine(url)
    # Each statement becomes a span inside the task that makes it.
    SQLAlchemyInstrumentor().instrument(engine=engine)
    # A rollback is no statement, so it says so itself.
    event.listen(engine, "rollback", lambda _: get_run_logger().warning("rolled back"))
    return engine


@task
def open_accounts(engine: Engine, balances: dict[str, int]) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all(Account(owner=owner, balance=balance) for owner, balance in balances.items())


# A transfer that cannot be made is none of the others' business.
@task(raise_on_error=False, capture_parameters=True)
def transfer(engine: Engine, source: str, target: str, amount: int) -> None:
    with Session(engine) as session, session.begin():
        session.get_one(Account, target).balance += amount
        session.flush()
        session.get_one(Account, source).balance -= amount


@task
def read_balances(engine: Engine) -> dict[str, int]:
    with Session(engine) as session, session.begin():
        return {account.owner: account.balance for account in session.scalars(select(Account).order_by(Account.owner))}


@flow
def pay_day(database: str = os.environ.get("DATABASE_URL", SQLITE), this_flow: Flow[str] = INJECTED) -> str:
    engine = connect(database)
    open_accounts(engine, {"ann": 100, "bob": 20, "cid": 0})
    transfer(engine, "ann", "bob", 30)
    transfer(engine, "bob", "cid", 500)
    transfer(engine, "ann", "cid", 45)
    balances = read_balances(engine)
    engine.dispose()
    this_flow.add_flow_artifact(
        key="balances",
        description="After all transfers",
        data=[{"owner": owner, "balance": balance} for owner, balance in balances.items()],
        artifact_type="table",
    )
    return ", ".join(f"{owner} {balance}" for owner, balance in balances.items())
