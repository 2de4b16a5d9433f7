"""What the services keep: one database, PostgreSQL or SQLite, as DATABASE_URL says."""

import os
import sys

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///shop.db"))

PRICES = {"apple": 0.5, "melon": 2.25, "plum": 0.2}
FULL_SHELF = 500


class Base(DeclarativeBase):
    pass


class Shelf(Base):
    __tablename__ = "shelves"

    fruit: Mapped[str] = mapped_column(primary_key=True)
    left: Mapped[int]


class Payment(Base):
    __tablename__ = "payments"

    number: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    euros: Mapped[float]


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    fruit: Mapped[str]
    count: Mapped[int]
    is_shipped: Mapped[bool] = mapped_column(default=False)
    traceparent: Mapped[str]  # whoever works on the order later does it in the order's trace


class Switch(Base):
    """What share of payments fails; it is in the database because the payment service has several processes."""

    __tablename__ = "switches"

    name: Mapped[str] = mapped_column(primary_key=True)
    share: Mapped[float]


def create() -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        if session.get(Shelf, "apple") is None:
            session.add_all(Shelf(fruit=fruit, left=FULL_SHELF) for fruit in PRICES)
            session.add(Switch(name="payments fail", share=float(os.environ.get("PAYMENT_FAILURES", "0"))))


if __name__ == "__main__":
    create()
    sys.stdout.write(f"{engine.url}: ready\n")
