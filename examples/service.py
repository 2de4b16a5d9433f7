"""A web service whose orders are flows: GET /health, GET /orders/7, GET /metrics.

Traces go to where OTEL_EXPORTER_OTLP_ENDPOINT says. Every seventh order fails as sold out, and every tenth is slow.
It stands on the standard library's WSGI server, a thread for each request, so it needs nothing but otelflow.
"""

import json
import os
import signal
import sys
import threading
import time
from http import HTTPStatus
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from opentelemetry import context, propagate

import otelflow
from otelflow import Objective, flow, get_run_logger, metrics, task

FRUIT = {"apple": 0.5, "melon": 2.25, "plum": 0.2}
LONGEST_REQUEST_SECONDS = 10


class SoldOut(Exception):
    """There is nothing left of what was ordered."""


# The flow and its tasks


@task
def read_order(text: str) -> int:
    return int(text)


@task
def reserve(number: int) -> str:
    fruit = list(FRUIT)[number % len(FRUIT)]
    if number % 7 == 0:
        raise SoldOut(f"no {fruit} left for order {number}")
    return fruit


@task
def price(fruit: str, number: int) -> float:
    if number % 10 == 0:
        get_run_logger().warning("the price list answers slowly")
        time.sleep(0.3)
    return FRUIT[fruit] * (number % 4 + 1)


@flow(capture_parameters=True, objective=Objective(success=0.95, duration="250ms"))
def order(text: str) -> dict:
    number = read_order(text)
    fruit = reserve(number)
    return {"order": number, "fruit": fruit, "price": price(fruit, number)}


# The pages


def application(environ, start_response):
    """Answer one request; the flow in it becomes a part of the caller's trace, if it sends a traceparent."""
    token = context.attach(propagate.extract({"traceparent": environ.get("HTTP_TRACEPARENT", "")}))
    try:
        status, body = answer(environ["PATH_INFO"])
    finally:
        context.detach(token)
    start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [json.dumps(body).encode() + b"\n"]


def answer(path):
    if path == "/health":
        return HTTPStatus.OK, {"status": "ok"}
    if not path.startswith("/orders/"):
        return HTTPStatus.NOT_FOUND, {"error": "try /orders/1"}
    try:
        return HTTPStatus.OK, order(path.removeprefix("/orders/")).execute().flow_return_value
    except SoldOut as error:
        return HTTPStatus.CONFLICT, {"error": str(error)}
    except ValueError as error:
        return HTTPStatus.BAD_REQUEST, {"error": str(error)}


# The server


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each request; closing it waits for the open ones."""

    request_queue_size = 128


class Handler(WSGIRequestHandler):
    timeout = LONGEST_REQUEST_SECONDS

    def log_message(self, *_):
        """Say nothing: every order is a trace."""


def serve(host, port):
    pages = {"/metrics": metrics.wsgi_app()}
    with Server((host, port), Handler) as server:
        server.set_app(lambda environ, start: pages.get(environ["PATH_INFO"], application)(environ, start))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"http://{host}:{server.server_port}/orders/1", flush=True)
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    otelflow.configure(service_name=os.environ.get("OTEL_SERVICE_NAME", "example-service"))
    host, port = os.environ.get("SERVICE_HOST", "127.0.0.1"), os.environ.get("SERVICE_PORT", "8000")
    try:
        serve(host, int(port))
    except (OSError, ValueError, OverflowError) as error:
        sys.exit(f"No service at SERVICE_HOST={host} SERVICE_PORT={port}: {error}; choose another port")
