"""One time limit for all of an answer, in any session of ``requests``, and nothing else is another for it."""

import itertools
import socket
import threading

import pytest
import requests

from otelflow_exporters._otlp.answer_times import bound_answers
from support.receivers import Receiver

DRIP = b"HTTP/1.1 200 OK\r\nX-Long: "


@pytest.fixture
def dripping():
    """A server that answers each request one byte after the other, and never to the end."""
    is_over = threading.Event()

    def answer(connection):
        with connection:
            connection.recv(65_536)
            try:
                for byte in itertools.chain(DRIP, itertools.repeat(ord("x"))):
                    if is_over.wait(0.02):
                        return
                    connection.sendall(bytes([byte]))
            except OSError:  # nobody listens any more
                return

    def accept():
        while not is_over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:  # it is closed
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        is_over.set()


def asked(session, url, **keywords):
    """Return what came of a request with a time limit of half a second, or None if it goes on after twenty."""
    results = []

    def ask():
        try:
            results.append(session.post(url, data=b"x", timeout=0.5, **keywords).status_code)
        except requests.RequestException as error:
            results.append(type(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(20)
    return results[0] if results else None


def test_a_header_that_has_no_end_is_a_time_out(dripping):
    session = bound_answers(requests.Session())

    assert [asked(session, dripping), asked(session, dripping)] == [requests.ReadTimeout, requests.ReadTimeout]


def test_so_it_is_behind_a_proxy(dripping):
    session = bound_answers(requests.Session())
    session.trust_env = False

    results = [
        asked(session, "http://collector.example", proxies={"http": dripping}),
        asked(session, "https://collector.example", proxies={"https": dripping}),
    ]

    assert requests.ReadTimeout in results
    assert None not in results


def test_answers_of_others_are_as_they_were_and_one_connection_serves_them_all():
    with Receiver() as receiver:
        receiver.body, receiver.headers = b"x" * 100_000, {"X-Name": "value"}
        session = bound_answers(bound_answers(requests.Session()))
        answers = [session.post(receiver.url, data=b"y", timeout=5) for _ in range(3)]
        waits = [session.post(receiver.url, data=b"y").content for _ in range(2)]  # without a time limit
        kinds = [type(adapter.poolmanager.connection_from_url(receiver.url)) for adapter in session.adapters.values()]
        session.close()

    assert [(answer.status_code, answer.headers["X-Name"], answer.content) for answer in answers] == [
        (200, "value", receiver.body)
    ] * 3
    assert waits == [receiver.body] * 2
    assert {kind.__mro__[1].__name__ for kind in kinds} == {"HTTPConnectionPool"}  # bounded once


def test_a_session_that_is_none_of_requests_stays_as_it_is():
    session = object()

    assert bound_answers(session) is session
