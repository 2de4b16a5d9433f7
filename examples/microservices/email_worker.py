"""The e-mail worker (Celery on Redis): writes each e-mail into the maildir that OUTBOX names."""

import mailbox
import os
from email.message import EmailMessage

from celery import Celery
from celery.signals import worker_init

from otelflow import flow, task

app = Celery("email_worker", broker=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))


@task
def deliver(message: EmailMessage) -> None:
    mailbox.Maildir(os.environ.get("OUTBOX", "outbox")).add(message)


@flow(execute_on_call=True)
def email(customer: str, subject: str) -> None:
    message = EmailMessage()
    message["To"] = f"{customer}@example.org"
    message["Subject"] = subject
    deliver(message)


# Celery's task is the message, the flow is the work.
@app.task(ignore_result=True)
def send_email(customer: str, subject: str) -> None:
    email(customer, subject)


# In the worker only: whoever imports this file to send has been set up by itself.
@worker_init.connect
def observe_worker(**_: object) -> None:
    from telemetry import observe  # noqa: PLC0415

    observe("email")
