"""An OTLP/HTTP collector in a process of its own: ``counting_collector.py PORT DELAY``, which counts what arrives.

It prints its port when it listens, and, for each line that it reads, what has arrived until then as JSON: how many
spans and log records, how many different spans, how many times a run was told as lost. It ends with its input.
"""

import gzip
import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Arrivals:
    """What has arrived: the ids of spans with how often each came, and how many log records."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ids: Counter[bytes] = Counter()
        self.told: set[bytes] = set()
        self.log_records = 0
        self.bytes = 0

    def add_spans(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]
        lost = [s.span_id for s in spans if any(a.value.string_value == "process_lost" for a in s.attributes)]
        with self.lock:
            self.ids.update(span.span_id for span in spans)
            self.told.update(lost)

    def add_logs(self, body: bytes) -> None:
        request = ExportLogsServiceRequest.FromString(body)
        count = sum(len(scope.log_records) for part in request.resource_logs for scope in part.scope_logs)
        with self.lock:
            self.log_records += count

    def add_chunks(self, body: bytes) -> None:
        """Add what ddtrace sends to its agent: lists of spans, each a map of their fields."""
        import msgspec

        ids = [span["span_id"].to_bytes(8, "big") for chunk in msgspec.msgpack.decode(body) for span in chunk]
        with self.lock:
            self.ids.update(ids)

    def as_json(self, *, has_ids: bool) -> str:
        with self.lock:
            counts = {
                "spans": self.ids.total(),
                "different": len(self.ids),
                "told": len(self.told),
                "log_records": self.log_records,
            }
            if has_ids:
                counts |= {"ids": sorted(map(bytes.hex, self.ids)), "told_ids": sorted(map(bytes.hex, self.told))}
            return json.dumps(counts)


def serve(port: int, delay: float) -> None:
    arrivals = Arrivals()
    add = {"/v1/traces": arrivals.add_spans, "/v1/logs": arrivals.add_logs, "/v0.4/traces": arrivals.add_chunks}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            time.sleep(delay)
            add.get(self.path, len)(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """Say nothing of a program that was killed while it sent."""

    with Server(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            sys.stdout.write(arrivals.as_json(has_ids=line.strip() == "ids") + "\n")
            sys.stdout.flush()
        server.shutdown()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
