"""Web servers on loopback that run in this process, and how to ask them."""

import contextlib
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


class Answer(NamedTuple):
    status: int
    body: str
    headers: dict


def ask(url, path="/", *, headers=None, method="GET"):
    """Ask a server on loopback, and return its answer, whatever that is."""
    request = urllib.request.Request(url + path, headers=headers or {}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return Answer(answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.headers.items()})
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode(), {k.lower(): v for k, v in error.headers.items()})


def ask_twice(url, *headers):
    """Ask a server on loopback with *headers* of which some have the same name, and return its status."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        connection.putrequest("GET", "/")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def wait_until(condition, seconds=20):
    latest = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < latest, "it did not happen in time"
        time.sleep(0.01)


def is_listening(port):
    """Tell whether something answers on *port* of loopback."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def uvicorn_serving(app):
    """Serve the ASGI application *app* with uvicorn on a thread; its lifespan is over when this is."""
    uvicorn = pytest.importorskip("uvicorn", reason="not installed: pip install 'otelflow[hosts]'")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def wsgi_serving(app):
    """Serve the WSGI application *app* with Python's own server on a thread."""
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(20)


def attributes_of(span):
    return {name: value for name, value in span.attributes.items() if name.startswith("http.")}


def parents_of(trace):
    """Return (name, name of the parent) of each span; a parent that came from outside is ``remote``."""
    names = {span.context.span_id: span.name for span in trace.spans}
    return [(span.name, span.parent and names.get(span.parent.span_id, "remote")) for span in trace.spans]
