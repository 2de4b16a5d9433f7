"""Servers on loopback that take what is delivered, and how to ask a server on loopback."""

import gzip
import itertools
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from concurrent import futures
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Request(NamedTuple):
    """What a client sent; the body as it was before it was compressed."""

    path: str
    body: bytes
    headers: dict


@contextmanager
def serving(handler, port=0):
    """Let *handler* answer on loopback, and say nothing of it; return its server, whose ``url`` leads to it."""
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def dripping(head=b"HTTP/1.1 200 OK\r\nX-Long: "):
    """Answer each request one byte after the other, first *head*, for half a minute; return its URL."""
    is_over = threading.Event()

    def answer(connection):
        with connection, suppress(OSError):  # nobody listens any more
            connection.recv(65_536)
            for byte in itertools.chain(head, itertools.repeat(ord("x"), 1_500)):
                if is_over.wait(0.02):
                    return
                connection.sendall(bytes([byte]))

    def accept():
        while not is_over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:  # it is closed
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            is_over.set()


@contextmanager
def saying(answer):
    """Answer each request with the bytes *answer*, and say nothing else; yield the URL and the bodies that came."""
    bodies, connections = [], []

    def converse(connection):
        with suppress(OSError, ValueError), connection.makefile("rb") as file:  # until nobody speaks any more
            while file.readline():
                lines = dict(line.lower().split(b":", 1) for line in iter(file.readline, b"\r\n"))
                bodies.append(file.read(int(lines[b"content-length"])))
                connection.sendall(answer)

    def accept():
        with suppress(OSError):  # it is closed
            while True:
                connections.append(server.accept()[0])
                threading.Thread(target=converse, args=(connections[-1],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", bodies
    for connection in connections:
        connection.close()


class Receiver:
    """An HTTP server on loopback that keeps what it gets and answers as its attributes say at that moment.

    *status* is a number, or a function that makes it of a ``Request``; *delay* are seconds before the answer.
    """

    def __init__(self, port=0):
        self.requests = []
        self.status = 200
        self.content_type = "application/x-protobuf"
        self.headers = {}  # more of them, in each answer
        self.body = b""
        self.delay = 0
        self._serving = serving(_handler_of(self), port)

    def __enter__(self):
        self._server = self._serving.__enter__()
        self.port, self.url = self._server.server_port, self._server.url
        return self

    def encrypt(self, context):
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def __exit__(self, *_):
        self._serving.__exit__(None, None, None)


def _handler_of(receiver):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            decompress = {"gzip": gzip.decompress, "deflate": zlib.decompress}
            body = decompress.get(self.headers.get("Content-Encoding"), bytes)(body)
            request = Request(self.path, body, dict(self.headers))
            receiver.requests.append(request)
            time.sleep(receiver.delay)
            self.send_response(receiver.status(request) if callable(receiver.status) else receiver.status)
            self.send_header("Content-Type", receiver.content_type)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(receiver.body)))
            self.end_headers()
            self.wfile.write(receiver.body)

        do_PUT = do_POST  # noqa: N815 the name is http.server's

    return Handler


class OtlpReceiver(Receiver):
    """An OTLP/HTTP endpoint; what it got is read by signal, whole or in parts."""

    @property
    def trace_requests(self):
        return self._decoded("/v1/traces", ExportTraceServiceRequest)

    @property
    def spans(self):
        return spans_of(self.trace_requests)

    @property
    def services(self):
        return services_of(self.trace_requests)

    @property
    def log_requests(self):
        return self._decoded("/v1/logs", ExportLogsServiceRequest)

    @property
    def metric_requests(self):
        return self._decoded("/v1/metrics", ExportMetricsServiceRequest)

    @property
    def log_records(self):
        scopes = [scope for request in self.log_requests for part in request.resource_logs for scope in part.scope_logs]
        return [record for scope in scopes for record in scope.log_records]

    @property
    def metrics(self):
        requests = self.metric_requests
        scopes = [scope for request in requests for part in request.resource_metrics for scope in part.scope_metrics]
        return [metric for scope in scopes for metric in scope.metrics]

    def _decoded(self, path, kind):
        return [kind.FromString(request.body) for request in self.requests if request.path == path]


class GrpcReceiver:
    """An OTLP/gRPC endpoint for traces; with a *code* it refuses, with *details* as the reason.

    *path* is that of a socket on which it takes them, too; with *credentials* of gRPC it speaks TLS.
    """

    def __init__(self, path=None, credentials=None, port=0):
        self.path = path
        self.port = port
        self.credentials = credentials
        self.trace_requests = []
        self.metadata = []
        self.peers = []
        self.answer = ExportTraceServiceResponse()
        self.code = None
        self.details = ""
        self.trailing_metadata = ()

    def __enter__(self):
        import grpc
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

        receiver = self

        class Service(services.TraceServiceServicer):
            def Export(self, request, context):  # noqa: N802 the name is the protocol's
                receiver.trace_requests.append(request)
                receiver.metadata.append(dict(context.invocation_metadata()))
                receiver.peers.append(context.peer())
                context.set_trailing_metadata(receiver.trailing_metadata)
                if receiver.code is not None:
                    context.abort(receiver.code, receiver.details)
                return receiver.answer

        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        services.add_TraceServiceServicer_to_server(Service(), self._server)
        if self.credentials is None:
            self.url = f"http://127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{self.port}')}"
        else:
            self.url = f"https://127.0.0.1:{self._server.add_secure_port(f'127.0.0.1:{self.port}', self.credentials)}"
        if self.path is not None and sys.platform != "win32":
            self._server.add_insecure_port(f"unix://{self.path}")
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait(5)

    @property
    def spans(self):
        return spans_of(self.trace_requests)

    @property
    def services(self):
        return services_of(self.trace_requests)


def spans_of(trace_requests):
    """Return all spans of OTLP requests, in order."""
    scopes = [scope for request in trace_requests for part in request.resource_spans for scope in part.scope_spans]
    return [span for scope in scopes for span in scope.spans]


def services_of(trace_requests):
    """Return the service names of OTLP requests."""
    return {
        attribute.value.string_value
        for request in trace_requests
        for part in request.resource_spans
        for attribute in part.resource.attributes
        if attribute.key == "service.name"
    }


# Asking

# Whatever proxy the environment names, it is none for loopback.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url, timeout=10, **headers):
    """Return status and text of the answer to a GET request; a refusal is an answer too."""
    try:
        with _DIRECT.open(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()
