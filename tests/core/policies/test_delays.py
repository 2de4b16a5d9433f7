"""How long is waited between attempts: every way to say it, jitter, and what an exception asks for."""

import datetime as dt
import email.utils
import io
import pickle
import random
import time
import urllib.error
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow import exponential_backoff
from otelflow._core.policies.delays import CallState, Delays, asked_delay
from otelflow.errors import ConfigurationError

NO_STATE = CallState(print, (), {})


def seconds(delay, number=1, jitter=None, error=None):
    return Delays("'fetch'", delay, jitter).seconds(number, error or OSError(), NO_STATE)


def test_a_number_a_timedelta_and_a_list_are_seconds_and_the_last_of_a_list_is_repeated():
    assert seconds(2) == 2
    assert seconds(dt.timedelta(minutes=1)) == 60
    assert [seconds([1, 2.5, dt.timedelta(seconds=9)], number) for number in (1, 2, 3, 4)] == [1, 2.5, 9, 9]


def test_a_function_is_asked_with_the_number_of_the_attempt_that_failed():
    assert [seconds(lambda attempt: attempt * 10, number) for number in (1, 2)] == [10, 20]


def test_exponential_backoff_doubles_travels_and_ends_somewhere():
    delay = pickle.loads(pickle.dumps(exponential_backoff(1.5)))

    assert [delay(number) for number in (1, 2, 3)] == [1.5, 3, 6]
    assert repr(delay) == "exponential_backoff(1.5)"
    assert seconds(delay, 10_000) == 31_536_000


@pytest.mark.parametrize("factor", [-1, "1", None, True])
def test_exponential_backoff_of_no_number_is_refused(factor):
    with pytest.raises(ConfigurationError, match=r"exponential_backoff\(\) needs a number of seconds from 0 on"):
        exponential_backoff(factor)


@given(st.floats(0, 1e6), st.floats(0, 10))
def test_jitter_makes_a_delay_longer_by_at_most_its_factor(delay, factor):
    assert delay <= seconds(delay, jitter=factor) <= delay * (1 + factor) * (1 + 1e-9)


def test_jitter_makes_delays_that_are_not_the_same():
    assert len({seconds(1, jitter=1) for _ in range(20)}) > 10
    assert {seconds(1, jitter=0), seconds(1)} == {1}


def test_jitter_leaves_the_random_numbers_of_the_program_as_they_are():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    seconds(1, jitter=1)

    assert random.random() == expected


def test_a_wait_of_tenacity_gets_what_it_expects():
    tenacity = pytest.importorskip("tenacity")
    states = []

    class Noting(tenacity.wait.wait_base):
        def __call__(self, retry_state):
            states.append((retry_state.attempt_number, retry_state.outcome.exception(), retry_state.idle_for))
            assert retry_state.seconds_since_start >= 0
            return 3

    error, state = OSError("x"), CallState(print, (1,), {})
    delays = Delays("'fetch'", Noting() + tenacity.wait_exponential(multiplier=1), None)

    numbers = []
    for number in (1, 2, 3):
        numbers.append(delays.seconds(number, error, state))
        state.waited(numbers[-1])

    assert numbers == [4, 5, 7]
    assert states == [(1, error, 0), (2, error, 4), (3, error, 9)]


class Busy(Exception):
    """An exception with any attributes."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Response:
    """A response with headers."""

    def __init__(self, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def in_seconds(count):
    return email.utils.formatdate(time.time() + count, usegmt=True)


def test_an_exception_that_carries_a_delay_is_heeded():
    assert asked_delay(Busy(retry_after=7)) == 7
    assert asked_delay(Busy(retry_after=dt.timedelta(seconds=8))) == 8
    assert asked_delay(Busy(retry_after="9")) == 9
    assert asked_delay(Busy(response=Response(Retry_After="10"))) == 10
    assert asked_delay(Busy(response=Response(retry_after="11"))) == 11
    assert 50 < asked_delay(Busy(response=Response(Retry_After=in_seconds(60)))) <= 60


def test_a_delay_of_the_exception_that_it_was_raised_from_counts_too():
    wrapped = OSError("wrapped")
    wrapped.__cause__ = Busy(retry_after=5)

    assert asked_delay(wrapped) == 5


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        Busy(retry_after="soon"),
        Busy(retry_after=-3),
        Busy(retry_after=True),
        Busy(retry_after=float("nan")),
        Busy(response=Response(Retry_After=in_seconds(-60))),
        Busy(response=None, headers=3),
        Busy(headers={}),
    ],
)
def test_what_is_no_delay_is_none(error):
    assert asked_delay(error) == 0


def test_the_longest_that_an_exception_may_ask_for_is_an_hour():
    assert asked_delay(Busy(retry_after=1e9)) == 3_600


def test_the_longer_of_both_delays_counts():
    assert seconds(10, error=Busy(retry_after=3)) == 10
    assert seconds(1, error=Busy(retry_after=3)) == 3


def test_the_errors_of_http_clients_carry_it():
    headers = Message()
    headers["retry-after"] = "12"
    assert asked_delay(urllib.error.HTTPError("http://x", 503, "busy", headers, io.BytesIO())) == 12

    httpx = pytest.importorskip("httpx")
    response = httpx.Response(503, headers={"retry-after": "13"}, request=httpx.Request("GET", "http://x"))
    with pytest.raises(httpx.HTTPStatusError) as caught:
        response.raise_for_status()
    assert asked_delay(caught.value) == 13

    requests = pytest.importorskip("requests")
    answer = requests.Response()
    answer.headers["retry-after"] = "14"
    assert asked_delay(requests.HTTPError(response=answer)) == 14
