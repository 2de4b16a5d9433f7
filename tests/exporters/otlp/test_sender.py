"""Bytes are sent as the OTLP variables say, and each kind of answer is told apart."""

import email.utils
import gzip
import importlib.metadata
import itertools
import os
import socket
import ssl
import sys
import threading
import time
import tracemalloc
import zlib
from http.server import BaseHTTPRequestHandler

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import ExportStatus, new_exporter
from otelflow_exporters._otlp.sender import new_sender
from support.metrics import certified
from support.receivers import GrpcReceiver, OtlpReceiver, saying, serving

REQUEST = ExportTraceServiceRequest()
REQUEST.resource_spans.add().scope_spans.add().spans.add(name="sent", trace_id=b"t" * 16, span_id=b"s" * 8)
BODY = REQUEST.SerializeToString()
PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=3, error_message="no room")
)


@pytest.fixture
def receiver(monkeypatch):
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


@pytest.fixture
def grpc_receiver(monkeypatch):
    pytest.importorskip("grpc")
    with GrpcReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        yield receiver


@pytest.fixture
def sender(receiver):
    sender = new_sender("traces")
    yield sender
    sender.close()


@pytest.mark.parametrize("compression", ["", "gzip", "deflate", "none", "GZIP"])
def test_bytes_arrive_as_they_are_in_any_compression(receiver, monkeypatch, compression):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    sender = new_sender("traces")

    sender.send(BODY)
    sender.send(BODY)
    sender.close()

    assert not sender.status.is_refused
    assert [request.body for request in receiver.requests] == [BODY, BODY]
    headers = receiver.requests[0].headers
    assert receiver.requests[0].path == "/v1/traces"
    assert headers.get("Content-Encoding", "none") == (compression.lower() or "none")
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["User-Agent"].startswith("otelflow/")


def test_headers_and_an_address_for_traces_alone_are_used_as_they_are(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/own/path")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=one,x-key=a%20b")

    new_sender("traces").send(BODY)

    (request,) = receiver.requests
    assert request.path == "/own/path"
    assert (request.headers["x-tenant"], request.headers["x-key"]) == ("one", "a b")


@pytest.mark.parametrize(
    ("status", "is_for_good"),
    [(400, True), (413, True), (422, True), (401, False), (404, False), (429, False), (500, False), (503, False)],
)
def test_what_is_refused_is_told_apart_from_what_may_be_tried_again(receiver, sender, status, is_for_good):
    receiver.status = status

    sender.send(BODY)

    assert sender.status.is_refused
    assert sender.status.is_for_good is is_for_good
    assert str(status) in sender.status.reason

    receiver.status = 200
    sender.send(BODY)

    assert not sender.status.is_refused


def test_a_redirection_is_not_followed(receiver, sender):
    with OtlpReceiver() as other:
        receiver.status = 307
        receiver.headers = {"Location": other.url}

        sender.send(BODY)

        assert other.requests == []
    assert sender.status.is_refused


def test_what_the_endpoint_rejects_of_a_request_is_counted(receiver, sender):
    receiver.body = PARTIAL.SerializeToString()

    sender.send(BODY)

    assert (sender.status.is_refused, sender.status.rejected, sender.status.message) == (False, 3, "no room")


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), (" GZIP ", gzip.compress), ("identity", bytes)],
)
def test_so_it_is_when_the_answer_is_compressed(receiver, sender, encoding, compress):
    receiver.body, receiver.headers = compress(PARTIAL.SerializeToString()), {"Content-Encoding": encoding}

    sender.send(BODY)

    assert (sender.status.is_refused, sender.status.rejected, sender.status.message) == (False, 3, "no room")
    assert receiver.requests[0].headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(("encoding", "times"), [("gzip", 1), ("gzip, gzip", 2), ("gzip, gzip, gzip", 3), ("br", 1)])
def test_an_answer_that_is_very_large_when_it_is_unpacked_takes_no_memory(receiver, sender, encoding, times):
    body = bytes(100_000_000)
    for _ in range(times):
        body = gzip.compress(body, 1)
    receiver.body, receiver.headers = body, {"Content-Encoding": encoding}
    tracemalloc.start()
    try:
        sender.send(BODY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (sender.status.is_refused, sender.status.rejected) == (False, 0)
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("in a while", 90, 101),
        ("-5", 0, 0),
        ("soon", 0, 0),
        ("nan", 0, 0),
        ("inf", 600, 600),
        ("-1e400", 0, 0),
        ("Fri, 01 Jan 0001 00:00:00 +2300", 0, 0),
        ("9999999", 600, 600),
    ],
)
def test_retry_after_is_a_number_or_a_date_and_has_an_end(receiver, sender, text, least, most):
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    receiver.status, receiver.headers = 503, {"Retry-After": date if text == "in a while" else text}

    sender.send(BODY)

    assert least <= sender.retry_after <= most


def test_nobody_there_and_silence_are_told_in_words(monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        sender = new_sender("traces")
        sender.send(BODY)

        assert (sender.status.is_refused, sender.status.is_for_good, sender.status.reason) == (True, False, "timed out")
        assert sender.status.is_silent, "it may have arrived"

    sender.send(BODY)

    assert (sender.status.reason, sender.status.is_silent) == ("connection refused", False)


@pytest.mark.parametrize(
    ("content_type", "body", "headers"),
    [
        ("application/x-protobuf", b"OK", {}),
        ("application/x-protobuf", b"{}", {}),
        ("text/html", b"<p>thank you</p>", {}),
        ("application/x-protobuf", PARTIAL.SerializeToString(), {"Content-Encoding": "gzip"}),
    ],
)
def test_what_was_taken_has_arrived_whatever_else_the_answer_says(receiver, sender, content_type, body, headers):
    receiver.content_type, receiver.body, receiver.headers = content_type, body, headers

    sender.send(BODY)

    assert (sender.status.is_refused, sender.status.rejected, sender.status.reason) == (False, 0, "")


def test_an_answer_that_breaks_off_behind_its_status_has_said_that_the_request_arrived(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n"
                )

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        sender = new_sender("traces")
        sender.send(BODY)
        thread.join(10)
        sender.close()

    assert not sender.status.is_refused


def test_an_answer_that_never_ends_is_not_read_to_its_end(monkeypatch):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        sent = []

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
                try:
                    sent.extend(connection.send(b"x" * 65_536) for _ in range(1_000))
                except OSError:
                    return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")  # it is not the time limit that ends it
        sender = new_sender("traces")
        sender.send(BODY)
        thread.join(30)

    assert not thread.is_alive()
    assert sum(sent) < 15_000_000  # the sockets themselves keep some
    assert not sender.status.is_refused


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "has_arrived"),
    [(b"", False), (b"HTTP/1.1 200 OK\r\nX-Long: ", True), (HEAD, True)],
    ids=["from its first byte", "in a header", "in its body"],
)
def test_an_answer_that_comes_byte_by_byte_is_listened_to_no_longer_than_the_time_limit(
    monkeypatch, at_once, has_arrived
):
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(at_once)
                try:
                    for byte in itertools.chain(HEAD[:9] if not at_once else b"", itertools.repeat(ord("x"))):
                        if is_over.wait(0.05):
                            return
                        connection.sendall(bytes([byte]))
                except OSError:  # nobody listens any more
                    return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        sender = new_sender("traces")
        sending = threading.Thread(target=sender.send, args=(BODY,), daemon=True)
        sending.start()
        sending.join(30)
        is_sending = sending.is_alive()
        is_over.set()
        thread.join(10)

    assert not is_sending
    assert (sender.status.is_refused, sender.status.is_silent) == (not has_arrived, not has_arrived)


OK = b"HTTP/1.1 200 OK\r\n"
# What may follow a status, and is read by nobody
BROKEN_ENDS = {
    "too many headers": b"".join(b"X-%d: 1\r\n" % number for number in range(150)) + b"\r\n",
    "a header that is too long": b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "two lengths in one": b"Content-Length: 0, 5\r\n\r\n",
    "a length that is none": b"Content-Length: zero\r\n\r\n",
    "no length, and no end": b"\r\nabc",
    "less than its length": b"Content-Length: 5000\r\n\r\nabc",
    "chunks that are none": b"Transfer-Encoding: chunked\r\n\r\nzzzz\r\n",
    "chunks without end": b"Transfer-Encoding: chunked\r\n\r\n",
    "not compressed as it says": b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("end", BROKEN_ENDS.values(), ids=BROKEN_ENDS)
def test_what_was_taken_is_sent_once_whatever_follows_the_status(monkeypatch, end):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with saying(OK + end) as (url, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        sender = new_sender("traces")
        sender.send(BODY)
        sender.send(BODY)
        sender.close()

    assert (sender.status.is_refused, sender.status.reason) == (False, "")
    assert bodies == [BODY, BODY]


@pytest.mark.parametrize("end", BROKEN_ENDS.values(), ids=BROKEN_ENDS)
def test_so_it_is_with_the_exporter_of_opentelemetry(monkeypatch, end):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with saying(OK + end) as (url, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporter, status = new_exporter("traces", "otlp_proto_http")
        result = exporter.export([])
        exporter.shutdown()

    assert (result.name, status.is_refused, len(bodies)) == ("SUCCESS", False, 1)


def test_an_answer_without_end_takes_no_memory_from_the_exporter_of_opentelemetry(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")  # it is not the time limit that ends it
    with saying(OK + b"\r\n" + bytes(100_000_000)) as (url, _):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporter, _ = new_exporter("traces", "otlp_proto_http")
        tracemalloc.start()
        try:
            result = exporter.export([])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        exporter.shutdown()

    assert result.name == "SUCCESS"
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 503 No\r\n" + BROKEN_ENDS["too many headers"], b"OK\r\n", b"HTTP/2 200 OK\r\n"]
)
def test_another_status_and_none_at_all_are_no_arrival(monkeypatch, head):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with saying(head) as (url, _):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        sender = new_sender("traces")
        sender.send(BODY)
        sender.close()

    assert sender.status.is_refused
    assert ("HTTP 503 No" in sender.status.reason) is (b"503" in head)


@pytest.mark.parametrize(
    ("protocol", "header", "is_refused"),
    [
        ("http/protobuf", "x-key=%E2%82%AC", True),
        ("http/protobuf", "x-key=%C3%A9", False),
        ("grpc", "x-key=%C3%A9", True),
        ("grpc", "x-key=plain%20text", False),
    ],
)
def test_a_header_that_can_never_be_sent_is_said_at_once_without_its_value(monkeypatch, protocol, header, is_refused):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", header)

    try:
        new_sender("traces").close()
        said = ""
    except ConfigurationError as error:
        said = str(error)

    assert said == (
        "OTEL_EXPORTER_OTLP_HEADERS: the value of x-key has a character that no header takes: write it in ASCII"
        if is_refused
        else ""
    )


def test_bytes_arrive_over_grpc_with_their_headers(grpc_receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=one")
    sender = new_sender("traces")

    sender.send(BODY)
    grpc_receiver.answer = PARTIAL
    sender.send(BODY)
    sender.close()

    assert [span.name for span in grpc_receiver.spans] == ["sent", "sent"]
    assert grpc_receiver.metadata[0]["x-tenant"] == "one"
    assert (sender.status.is_refused, sender.status.rejected) == (False, 3)


@pytest.mark.parametrize(
    ("code", "details", "is_for_good"),
    [
        ("UNAVAILABLE", "later", False),
        ("RESOURCE_EXHAUSTED", "no room", False),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (1 vs. 0)", True),
        ("INVALID_ARGUMENT", "bad", True),
    ],
)
def test_what_grpc_refuses_is_told_apart(grpc_receiver, code, details, is_for_good):
    import grpc

    grpc_receiver.code, grpc_receiver.details = getattr(grpc.StatusCode, code), details
    sender = new_sender("traces")

    sender.send(BODY)

    assert sender.status.is_refused
    assert sender.status.is_for_good is is_for_good
    assert code in sender.status.reason


def test_what_is_to_be_encrypted_is_never_sent_as_it_is(grpc_receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", grpc_receiver.url.replace("http://", "https://"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    sender = new_sender("traces")
    sender.send(BODY)
    sender.close()

    assert (sender.status.is_refused, grpc_receiver.spans) == (True, [])


def varint_field(number, content):
    """A field of a protobuf message, for which the packages of the tests have no class."""
    return bytes((number << 3 | 2, len(content))) + content


RETRY_INFO = varint_field(1, b"\x08\x07\x10\x80\xca\xb5\xee\x01")  # a Duration of 7.5 seconds
DETAIL = varint_field(1, b"type.googleapis.com/google.rpc.RetryInfo") + varint_field(2, RETRY_INFO)
OTHER = varint_field(1, b"type.googleapis.com/google.rpc.Help") + varint_field(2, RETRY_INFO)


@pytest.mark.parametrize(
    ("metadata", "seconds"),
    [
        ((), 0.0),
        ((("google.rpc.retryinfo-bin", RETRY_INFO),), 7.5),
        ((("grpc-status-details-bin", b"\x08\x0e" + varint_field(3, OTHER) + varint_field(3, DETAIL)),), 7.5),
        ((("google.rpc.retryinfo-bin", varint_field(1, b"\x08\x03") + varint_field(1, b"\x08\x05")),), 5.0),
        ((("grpc-status-details-bin", varint_field(3, OTHER)),), 0.0),
        ((("google.rpc.retryinfo-bin", varint_field(1, b"\x08\xff\xff\xff\x7f")),), 600.0),
        ((("google.rpc.retryinfo-bin", varint_field(1, b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),), 0.0),
        ((("google.rpc.retryinfo-bin", b"\xff"),), 0.0),
    ],
)
def test_grpc_says_how_long_the_endpoint_is_to_be_left_alone(grpc_receiver, metadata, seconds):
    import grpc

    grpc_receiver.code, grpc_receiver.trailing_metadata = grpc.StatusCode.UNAVAILABLE, metadata
    sender = new_sender("traces")
    sender.send(BODY)
    sender.close()

    assert sender.status.is_refused
    assert sender.retry_after == seconds


def test_what_collectors_do_not_understand_over_grpc_is_refused_and_not_sent_as_something_else(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "deflate")

    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_COMPRESSION=deflate is not supported over gRPC"):
        new_sender("traces")


@pytest.mark.parametrize(
    ("variable", "value", "cure"),
    [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzp", "'gzip'"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "cannot be read"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/", "cannot be read"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "such as http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "seconds above 0"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "not supported"),
    ],
)
def test_a_variable_that_says_nothing_usable_is_named(receiver, monkeypatch, variable, value, cure):
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=variable) as caught:
        new_sender("traces")

    assert cure in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certified(tmp_path_factory.mktemp("certificates"))


def name_files(monkeypatch, certificate, key=None):
    files = {"CERTIFICATE": certificate, "CLIENT_CERTIFICATE": certificate, "CLIENT_KEY": key}
    for name, file in files.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(file or ""))


@pytest.mark.parametrize("is_split", [True, False])
def test_an_endpoint_that_asks_for_a_certificate_is_shown_it(receiver, monkeypatch, tmp_path, certificate, is_split):
    both = tmp_path / "both.pem"
    both.write_text("".join(file.read_text() for file in certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    context.load_verify_locations(certificate[0])
    context.verify_mode = ssl.CERT_REQUIRED
    receiver.encrypt(context)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)

    stranger = new_sender("traces")
    stranger.send(BODY)
    name_files(monkeypatch, *certificate if is_split else [both])
    sender = new_sender("traces")
    sender.send(BODY)
    sender.close()
    stranger.close()

    assert stranger.status.is_refused
    assert "certificate" in stranger.status.reason.lower()
    assert (sender.status.is_refused, sender.status.reason) == (False, "")
    assert [span.name for span in receiver.spans] == ["sent"]


def test_bytes_arrive_encrypted_over_grpc_from_who_shows_a_certificate(monkeypatch, certificate):
    grpc = pytest.importorskip("grpc")
    pair = certificate[1].read_bytes(), certificate[0].read_bytes()
    credentials = grpc.ssl_server_credentials([pair], pair[1], require_client_auth=True)
    name_files(monkeypatch, *certificate)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with GrpcReceiver(credentials=credentials) as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        sender = new_sender("traces")
        sender.send(BODY)
        sender.close()

    assert (sender.status.is_refused, sender.status.reason) == (False, "")
    assert [span.name for span in receiver.spans] == ["sent"]


@pytest.fixture
def registered(monkeypatch):
    """Register the provider of credentials of that name."""

    def register(name, value):
        monkeypatch.setattr(sys.modules[__name__], "theirs", value, raising=False)
        entry = importlib.metadata.EntryPoint(name, f"{__name__}:theirs", "opentelemetry_otlp_credential_provider")
        real = importlib.metadata.entry_points
        entries = importlib.metadata.EntryPoints([entry])
        monkeypatch.setattr(
            "otelflow._core.process.entry_points.entry_points",
            lambda group: entries if group == entry.group else real(group=group),
        )

    return register


def test_a_session_of_the_user_s_sends_with_credentials_of_the_user_s(receiver, monkeypatch, registered):
    import requests

    class Signed(requests.Session):
        def send(self, request, **keywords):
            request.headers["X-Signature"] = "theirs"
            return super().send(request, **keywords)

    registered("signed", Signed)
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "signed")
    sender = new_sender("traces")
    sender.send(BODY)
    sender.close()

    assert [request.headers["X-Signature"] for request in receiver.requests] == ["theirs"]


def test_a_channel_has_the_credentials_of_the_user_s_but_not_where_nothing_is_encrypted(
    monkeypatch, registered, certificate
):
    grpc = pytest.importorskip("grpc")
    pair = certificate[1].read_bytes(), certificate[0].read_bytes()
    asked = []

    def theirs():
        asked.append(1)
        return grpc.ssl_channel_credentials(pair[1])

    registered("theirs", theirs)
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER", "theirs")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    counts = []
    for credentials in (grpc.ssl_server_credentials([pair]), None):
        with GrpcReceiver(credentials=credentials) as receiver:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
            sender = new_sender("traces")
            sender.send(BODY)
            sender.close()
        assert [span.name for span in receiver.spans] == ["sent"]
        counts.append(len(asked))

    assert counts == [1, 1]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_sender_that_is_closed_holds_no_connection_and_sends_again(receiver, grpc_receiver, monkeypatch, protocol):
    endpoint = grpc_receiver if protocol == "grpc" else receiver
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    sender = new_sender("traces")
    for _ in range(2):
        sender.send(BODY)
        sender.close()
        sender.close()

    assert [span.name for span in endpoint.spans] == ["sent"] * 2
    assert sender.retry_after == 0


def test_what_an_endpoint_has_not_answered_yet_is_no_silence():
    assert not ExportStatus("http://127.0.0.1:4318").is_silent


def test_an_endpoint_that_refused_one_request_and_is_gone_takes_no_others(monkeypatch):
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        receiver.status = 400
        sender = new_sender("traces")
        sender.send(BODY)
        takes_others = [sender.status.may_take_others]
        sender.close()
    sender.send(BODY)
    takes_others.append(sender.status.may_take_others)

    assert takes_others == [True, False]


def test_a_header_need_not_be_encoded(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer a b")
    sender = new_sender("traces")
    sender.send(BODY)
    sender.close()

    assert receiver.requests[0].headers["authorization"] == "Bearer a b"


@pytest.mark.parametrize(("compression", "place", "mark"), [("gzip", 8, b"\4"), ("deflate", 0, b"\x78\1")])
def test_compression_is_the_quickest(monkeypatch, compression, place, mark):
    """Of gzip and zlib a byte says so."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    with serving(Handler) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        sender = new_sender("traces")
        sender.send(BODY * 50)
        sender.close()

    assert bodies[0][place : place + len(mark)] == mark


def test_a_wait_that_an_endpoint_asks_for_is_over_with_its_next_answer_or_none(monkeypatch):
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        sender = new_sender("traces")
        waits = [sender.retry_after]
        for status, headers in ((429, {"Retry-After": "7"}), (200, {}), (429, {"Retry-After": "7"})):
            receiver.status, receiver.headers = status, headers
            sender.send(BODY)
            waits.append(sender.retry_after)
        sender.close()
    sender.send(BODY)

    assert [*waits, sender.retry_after] == [0, 7, 0, 7, 0]


def test_so_it_is_over_grpc_and_what_was_said_of_an_earlier_request_is_forgotten(grpc_receiver):
    import grpc

    sender = new_sender("traces")
    begin = sender.retry_after
    grpc_receiver.code, grpc_receiver.details = grpc.StatusCode.UNAVAILABLE, "busy"
    sender.send(BODY)
    reasons = [sender.status.reason]
    sender.retry_after = 7
    grpc_receiver.code = None
    sender.send(BODY)
    reasons.append(sender.status.reason)
    sender.close()

    assert reasons == ["gRPC UNAVAILABLE: busy", ""]
    assert (begin, sender.retry_after) == (0, 0)


@pytest.mark.parametrize(
    ("scheme", "is_insecure", "arrives"),
    [
        ("http://", "", True),
        ("http://", "false", False),
        ("", "true", True),
        ("", "false", False),
        ("", "", False),
        ("https://", "true", False),
    ],
)
def test_over_grpc_a_scheme_or_a_variable_says_whether_anything_is_encrypted(
    grpc_receiver, monkeypatch, scheme, is_insecure, arrives
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", scheme + grpc_receiver.url.removeprefix("http://"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", is_insecure)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    sender = new_sender("traces")
    sender.send(BODY)
    sender.close()

    assert bool(grpc_receiver.spans) == arrives


def test_an_endpoint_over_grpc_that_comes_back_is_found_at_once(monkeypatch):
    """A channel of gRPC that could not connect waits for a second, and then for longer, before it tries again."""
    pytest.importorskip("grpc")
    with GrpcReceiver() as receiver:
        port = receiver.url.rpartition(":")[2]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    sender = new_sender("traces")
    sender.send(BODY)
    is_refused = [sender.status.is_refused]
    with GrpcReceiver(port=port) as receiver:
        sender.send(BODY)
        is_refused.append(sender.status.is_refused)
        sender.close()

    assert is_refused == [True, False]
    assert [span.name for span in receiver.spans] == ["sent"]


def test_a_sender_that_is_closed_has_closed_its_connection(monkeypatch):
    pieces = []

    def answer():
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20)
            request = b""
            while BODY not in request:
                request += connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            pieces.append(connection.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        sender = new_sender("traces")
        sender.send(BODY)
        session = sender._session  # held here: the garbage collection would close it, too
        sender.close()
        thread.join(30)

    assert pieces == [b""]
    assert session is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_connection_of_its_own(monkeypatch):
    peers = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            peers.append(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Handler) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        sender = new_sender("traces")
        sender.send(BODY)
        if (child := os.fork()) == 0:
            sender.send(BODY)
            os._exit(int(sender.status.is_refused))
        refused = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sender.send(BODY)
        sender.close()

    of_parent, of_child, again = peers
    assert (refused, again) == (0, of_parent)
    assert of_child != of_parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_so_it_is_over_grpc(grpc_receiver):
    sender = new_sender("traces")
    sender.send(BODY)
    if (child := os.fork()) == 0:
        os._exit(int(sender._channel is not None))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sender._channel is not None
    sender.close()


def test_a_channel_that_is_let_go_of_is_closed(grpc_receiver):
    sender = new_sender("traces")
    sender.send(BODY)
    channel = sender._channel
    sender.close()

    with pytest.raises(ValueError, match="closed channel"):
        channel.unary_unary("/any")(b"")
