"""/metrics answers whatever connections do, and not to a page of a stranger."""

import http.client
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs import pull, server
from support.metrics import certified, get


@pytest.fixture
def serve():
    """Serve on a free port of an address, for the time of the test."""
    outputs = []

    def start(host="127.0.0.1", *certificate):
        output = pull.Pull(host, 0, pull.Certificate(*certificate)).open(Aggregator())
        output.registry.register(output.collector)
        assert output.start()
        outputs.append(output)
        return output

    yield start
    for output in outputs:
        output.close()


def status(port, host, address="127.0.0.1"):
    """Return the status of the answer to a request with *host* as its Host header."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.putrequest("GET", "/metrics", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert (answer.status == 200) == (b"otelflow_build_info" in body)
    return answer.status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "localhost.", "127.0.0.1", "127.0.0.1:9464", "[::1]:1", None]
)
def test_on_loopback_the_names_of_this_machine_are_answered(serve, host):
    assert status(serve().port, host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9464", "localhost.evil.example", "127.0.0.1.nip.io", "", "[", "::1"]
)
def test_on_loopback_no_other_name_is_answered(serve, host):
    assert status(serve().port, host) == 403


def test_the_configured_host_is_answered_and_an_open_address_answers_to_every_name(serve):
    assert status(serve("127.0.0.2").port, "127.0.0.2:1", "127.0.0.2") == 200
    assert status(serve("127.0.0.2").port, "127.0.0.3", "127.0.0.2") == 403
    assert status(serve("0.0.0.0").port, "prometheus.example") == 200


def test_none_of_many_scrapes_at_once_is_refused(serve):
    address = serve().address
    together = threading.Barrier(200)

    def scrape(_):
        together.wait(60)
        return get(address)[1]

    with ThreadPoolExecutor(200) as pool:
        texts = list(pool.map(scrape, range(400)))

    assert all("otelflow_build_info" in text for text in texts)


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "over TLS"])
def test_a_request_that_drips_is_ended_in_time(serve, monkeypatch, tmp_path, is_secure):
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 1.0)
    output = serve("127.0.0.1", *map(str, certified(tmp_path) if is_secure else ()))
    client = socket.create_connection(("127.0.0.1", output.port), 10)
    if is_secure:
        client = ssl._create_unverified_context().wrap_socket(client)

    def drip():
        client.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        for _ in range(300):
            client.sendall(b"x")
            time.sleep(0.1)

    start = time.monotonic()
    with client, pytest.raises((ConnectionError, ssl.SSLError)):
        drip()

    assert time.monotonic() - start < 10


def test_silent_connections_take_no_more_threads_than_there_is_room_for_and_then_others_are_answered(
    serve, monkeypatch
):
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 2.0)
    output = serve()
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", output.port), 10) for _ in range(100)]
    time.sleep(0.5)

    threads = threading.active_count() - before
    text = get(output.address)[1]

    assert threads <= 64
    assert "otelflow_build_info" in text
    for client in silent:
        client.close()


def test_a_crowd_that_says_nothing_makes_room_for_a_scrape_long_before_its_time(serve, monkeypatch):
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 600.0)
    monkeypatch.setattr(server, "_READ_SECONDS", 600.0)
    output = serve()
    silent = [socket.create_connection(("127.0.0.1", output.port), 10) for _ in range(150)]

    text = get(output.address)[1]

    assert "otelflow_build_info" in text
    for client in silent:
        client.close()


def test_it_ends_in_time_while_all_places_are_taken(serve):
    output = serve()
    silent = [socket.create_connection(("127.0.0.1", output.port), 10) for _ in range(100)]
    start = time.monotonic()

    output.close()

    assert time.monotonic() - start < 5
    for client in silent:
        client.close()
