import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@pytest.fixture
def endpoint():
    """An OTLP/HTTP endpoint on loopback that answers every export with its ``answer`` and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.asked.append((self.path, body, dict(self.headers)))
            self.send_response(server.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_an_endpoint_is_asked_as_the_exporter_would(otelflow, endpoint):
    url = f"http://127.0.0.1:{endpoint.server_port}"

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue")

    path, body, headers = endpoint.asked[0]
    assert (path, body, headers["Content-Type"]) == ("/v1/traces", b"", "application/x-protobuf")
    assert {name.lower(): value for name, value in headers.items()}["x-tenant"] == "blue"
    assert f"{url} accepts traces" in done.out
    assert done.code == 0


@pytest.mark.parametrize(("answer", "cure"), [(401, "OTEL_EXPORTER_OTLP_HEADERS"), (404, "port 4318")])
def test_an_endpoint_that_refuses_is_wrong_and_the_cure_fits(otelflow, endpoint, answer, cure):
    endpoint.answer = answer

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{endpoint.server_port}", COLUMNS="200")

    assert done.code == 1
    assert f"answered {answer} to an empty export" in done.out
    assert cure in done.out


def test_a_port_that_is_none_is_named(otelflow):
    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:abc", COLUMNS="200")

    assert "Traceback" not in done.err
    assert done.code != 0


@pytest.mark.parametrize("command", [("doctor",), ("config",), ("run", "flows.py:ratio", "-p", "a=6")])
def test_a_password_in_an_address_is_never_shown(otelflow, endpoint, command):
    url = f"http://user:hunter2secret@127.0.0.1:{endpoint.server_port}"

    done = otelflow(*command, OTEL_EXPORTER_OTLP_ENDPOINT=url, COLUMNS="200")

    assert "hunter2secret" not in done.out + done.err
    assert "127.0.0.1" in done.out + done.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_findings_are_printed_also_where_stdout_has_no_unicode(otelflow, encoding):
    done = otelflow("doctor", PYTHONIOENCODING=encoding, COLUMNS="200")

    assert done.code == 0, done.err
    assert "> export OTEL_EXPORTER_OTLP_ENDPOINT" in done.out
