"""One time limit for all of an answer, in any session of ``requests``, and nothing else is another for it."""

import threading
from urllib.request import Request

import pytest
import requests

from otelflow_exporters._otlp.answer_times import bound_answers, bounded_opener
from support.receivers import Receiver, dripping


@pytest.fixture
def dripping_url():
    with dripping() as url:
        yield url


def asked(session, url, method="POST", **keywords):
    """Return what came of a request with a time limit of half a second, or None if it goes on after twenty."""
    results = []

    def ask():
        try:
            results.append(session.request(method, url, data=b"x", timeout=0.5, **keywords).status_code)
        except requests.RequestException as error:
            results.append(type(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(20)
    return results[0] if results else None


def test_a_header_that_has_no_end_is_a_time_out_for_who_asks_for_something(dripping_url):
    session = bound_answers(requests.Session())

    assert [asked(session, dripping_url, "GET") for _ in range(2)] == [requests.ReadTimeout, requests.ReadTimeout]


def test_who_brings_something_has_been_told_by_the_status_before_it(dripping_url):
    session = bound_answers(requests.Session())

    assert [asked(session, dripping_url), asked(session, dripping_url, "PUT")] == [200, 200]


def test_a_status_that_has_no_end_is_a_time_out():
    with dripping(b"HTTP/1.1 200 ") as url:
        assert asked(bound_answers(requests.Session()), url) == requests.ReadTimeout


def test_a_piece_and_an_answer_may_have_time_limits_of_their_own():
    session = bound_answers(requests.Session(), 5)
    with Receiver() as receiver:
        receiver.delay = 0.6
        answer = asked(session, receiver.url)
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        result = asked(bound_answers(requests.Session(), 1), url)

    assert (answer, result) == (requests.ReadTimeout, requests.ConnectionError)  # the first, since no piece came


@pytest.mark.parametrize(("method", "results"), [("GET", [TimeoutError]), ("PUT", [200])])
def test_an_opener_listens_to_no_answer_for_ever(method, results, dripping_url):
    errors = []

    def ask():
        try:
            with bounded_opener().open(Request(dripping_url, method=method), timeout=0.5) as answer:
                errors.append(answer.status)
        except OSError as error:
            errors.append(type(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(20)

    assert errors == results


def test_so_it_is_behind_a_proxy(dripping_url):
    session = bound_answers(requests.Session())
    session.trust_env = False

    results = [
        asked(session, "http://collector.example", proxies={"http": dripping_url}),
        asked(session, "https://collector.example", proxies={"https": dripping_url}),
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
