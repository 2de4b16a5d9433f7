import socket
from http.server import BaseHTTPRequestHandler

import pytest

from otelflow._cli import _http as http
from support.receivers import dripping, serving


@pytest.fixture
def server():
    """A server on loopback that gives the answer in ``answer`` and keeps the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append((self.command, self.path, dict(self.headers)))
            status, headers, body = server.answer
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

    with serving(Handler) as server:
        server.requests, server.answer = [], (200, {}, b"{}")
        yield server


def test_an_answer_has_status_json_and_the_servers_clock(server):
    server.answer = (200, {"Date": "Thu, 01 Jan 1970 00:01:00 GMT"}, b'{"a": 1}')

    answer = http.get(server.url + "/", "/api", {"query": "a b"})

    assert (answer.status, answer.body, answer.clock, answer.redirect) == (200, {"a": 1}, 60, "")
    assert server.requests[0][:2] == ("GET", "/api?query=a+b")


def test_an_answer_that_is_no_json_has_no_body(server):
    server.answer = (404, {}, b"<html>")

    assert http.get(server.url, "/")[:2] == (404, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_and_no_header_goes_elsewhere(server, status):
    server.answer = (status, {"Location": f"http://localhost:{server.server_port}/elsewhere?token=secret"}, b"")

    answers = [http.post(server.url, b"", {"x-token": "secret"}), http.get(server.url, "/")]

    assert [answer.status for answer in answers] == [status, status]
    assert answers[0].redirect == f", a redirect to http://localhost:{server.server_port}/elsewhere"
    assert [path for _, path, _ in server.requests] == ["/", "/"]


def test_user_and_password_of_an_address_are_sent_as_a_header(server):
    http.post(server.url.replace("//", "//user:p%40ss@"), b"", {})

    assert server.requests[0][2]["Authorization"] == "Basic dXNlcjpwQHNz"


def test_a_proxy_is_not_asked_for_a_server_of_this_machine(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "example.com")

    assert http.get(server.url, "/").status == 200


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1", "Connection refused"),
        ("ftp://127.0.0.1", "an address begins with http:// or https://"),
        ("127.0.0.1:1", "an address begins with http:// or https://"),
        ("http://[::1", "does not answer"),
        ("http://localhost:abc", "does not answer"),
    ],
)
def test_an_address_without_a_server_is_one_sentence(url, reason):
    for ask in (lambda: http.get(url, "/"), lambda: http.post(url, b"", {})):
        with pytest.raises(http.Unreachable, match=f"^{url}".replace("[", r"\[")) as error:
            ask()
        assert reason in str(error.value)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(http, "_TIMEOUT_SECONDS", 0.2)

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(http.Unreachable, match="timed out"):
        http.get(f"http://127.0.0.1:{silent.getsockname()[1]}", "/")


def test_an_answer_without_an_end_is_given_up(server, monkeypatch):
    monkeypatch.setattr(http, "_LARGEST", 1_000)
    server.answer = (200, {}, b"x" * 2_000)

    with pytest.raises(http.Unreachable, match="its answer has no end"):
        http.get(server.url, "/")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_not_waited_for_to_its_end(head, monkeypatch):
    monkeypatch.setattr(http, "_LONGEST_SECONDS", 1)

    with dripping(head) as url, pytest.raises(http.Unreachable, match="timed out"):
        http.get(url, "/")


def test_a_header_that_cannot_be_sent_is_not_repeated(server):
    with pytest.raises(http.Unreachable) as error:
        http.post(server.url, b"", {"x-token": "secret\nvalue"})

    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("http://jaeger:16686/search?service=shop&tags=%7B%7D", "http://jaeger:16686"),
        ("http://jaeger:16686/trace/4bf92f35?uiFind=x#y", "http://jaeger:16686"),
        ("http://jaeger:16686/", "http://jaeger:16686"),
        ("http://example/jaeger/monitor", "http://example/jaeger"),
        ("http://prometheus:9090/graph?g0.expr=up", "http://prometheus:9090"),
        ("jaeger:16686/search", "jaeger:16686"),
        ("http://example/jaeger", "http://example/jaeger"),
        ("http://", "http://"),
        ("", ""),
    ],
)
def test_the_address_of_a_page_is_taken_for_that_of_its_server(page, address):
    assert http.server_address(page) == address
