"""How long is waited between attempts: every way to say it, jitter, and what an exception asks for."""

import datetime as dt
import email.utils
import io
import pickle
import random
import re
import time
import urllib.error
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow import exponential_backoff
from otelflow._core.policies.delays import CallState, Delays, asked_delay, seconds_of
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError


async def asleep(_):
    """Would have to be awaited."""


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (0.5, 0.5), (31_536_000, 31_536_000), (40_000_000, 31_536_000), (dt.timedelta(days=400), 31_536_000)],
)
def test_the_longest_delay_is_a_year(value, expected):
    assert seconds_of(value) == expected


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan"), True, False, "1", None, dt.timedelta(seconds=-1)])
def test_what_is_no_length_of_time_is_refused(value):
    with pytest.raises(ValueError, match=f"^{re.escape(repr(value))}$"):
        seconds_of(value)


@pytest.mark.parametrize(
    ("delay", "jitter", "message"),
    [
        (-1, None, "'fetch': retry_delay must be a number of seconds from 0 on, a timedelta, .*, not -1$"),
        ([1, "2"], None, "'fetch': retry_delay must be .*, not '2'$"),
        ("12", None, "'fetch': retry_delay must be .*, not '12'$"),
        (asleep, None, "'fetch': retry_delay must be .*, not the async function asleep$"),
        (lambda: 3, None, "'fetch': retry_delay must be .*, not the function <lambda>$"),
        (1, -1, "'fetch': retry_jitter_factor must be a number from 0 on, not -1$"),
        (1, "much", "'fetch': retry_jitter_factor must be a number from 0 on, not 'much'$"),
    ],
)
def test_a_delay_that_is_none_is_said_with_the_name_of_its_function(delay, jitter, message):
    with pytest.raises(ConfigurationError, match=message):
        Delays("'fetch'", delay, jitter)


def test_doublings_end_before_they_are_no_numbers_any_more():
    delay = exponential_backoff(1)

    assert [delay(number) for number in (60, 61, 62, 10_000)] == [2.0**59, 2.0**60, 2.0**60, 2.0**60]


def test_jitter_is_a_share_of_the_delay(monkeypatch):
    monkeypatch.setattr("otelflow._core.policies.delays.SystemRandom.random", lambda _: 0.25)

    assert (seconds(8, jitter=0.5), seconds(8, jitter=2)) == (9, 12)


@pytest.mark.parametrize(("wrappings", "delay"), [(0, 5), (4, 5), (5, 0), (100, 0)])
def test_five_exceptions_of_a_chain_are_asked(wrappings, delay):
    error = Busy(retry_after=5)
    for _ in range(wrappings):
        outer = OSError("wrapped")
        outer.__cause__, error = error, outer

    assert asked_delay(error) == delay


def test_an_exception_whose_attributes_raise_is_passed_by():
    class Odd(Exception):
        @property
        def retry_after(self):
            raise RuntimeError("no")

    error = Odd()
    error.__cause__ = Busy(retry_after=5)

    assert asked_delay(error) == 5


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (Busy(retry_after=3_600), 3_600),
        (Busy(retry_after=3_600.5), 3_600),
        (Busy(retry_after=" 7 "), 7),
        (Busy(retry_after=0, response=Response(Retry_After="9")), 0),
        (Busy(response=Response(Retry_After="9", retry_after="8")), 9),
        (Busy(response=Response(Other="9"), headers={"Retry-After": "6"}), 0),
        (Busy(headers={"Retry-After": "6"}), 6),
        (Busy(retry_after=5, __cause__=Busy(retry_after=9)), 5),
    ],
)
def test_of_several_delays_the_nearest_counts(error, delay):
    assert asked_delay(error) == delay


def test_a_list_of_delays_must_have_one():
    with pytest.raises(
        ConfigurationError, match=r"'fetch': retry_delay must be a number of seconds .*, not an empty list"
    ):
        Delays("'fetch'", [], None)


def test_the_state_of_a_wait_is_made_anew_when_it_was_let_go():
    pytest.importorskip("tenacity")
    state = CallState(print, (1,), {"sep": ""})
    first = state.of_tenacity(1, OSError())
    again = state.of_tenacity(2, OSError())
    state.forget()
    state.waited(5)
    later = state.of_tenacity(1, OSError())

    assert first is again
    assert (later is first, later.idle_for, later.args, later.kwargs, later.fn) == (False, 0, (1,), {"sep": ""}, print)


@pytest.mark.parametrize(
    ("function", "culprit"),
    [
        (lambda: 5, "the function <lambda>"),
        (lambda attempt, error: 5, "the function <lambda>"),
        (exponential_backoff, "the function exponential_backoff"),
        (list, "<class 'list'>"),
    ],
)
def test_a_function_that_cannot_be_asked_for_a_delay_is_refused(function, culprit):
    with pytest.raises(ConfigurationError, match=f"retry_delay must be a number of seconds .*, not {culprit}"):
        Delays("'fetch'", function, None)


def test_a_coroutine_function_cannot_be_asked_for_a_delay():
    async def delay(attempt):
        return attempt

    class Later:
        async def __call__(self, attempt):
            return attempt

    for wrong in (delay, Later()):
        with pytest.raises(ConfigurationError, match="retry_delay must be"):
            Delays("'fetch'", wrong, None)


def test_jitter_makes_no_delay_longer_than_can_be_waited():
    assert seconds(31_536_000, jitter=31_536_000) == 31_536_000


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_each_date_of_http_is_one_of_greenwich(monkeypatch, form, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        asked = asked_delay(Busy(headers={"Retry-After": time.strftime(form, time.gmtime(time.time() + 60))}))
    finally:
        monkeypatch.undo()
        time.tzset()

    assert 57 < asked <= 60


def test_a_group_asks_for_the_longest_delay_of_its_exceptions():
    group = ExceptionGroup("both", [Busy(retry_after=3), OSError(), Busy(headers={"Retry-After": "7.5"})])

    assert asked_delay(group) == 7.5
    assert asked_delay(ExceptionGroup("none", [OSError()])) == 0


def test_of_a_group_one_exception_whose_attributes_raise_costs_no_other_its_delay():
    class Odd(Exception):
        @property
        def retry_after(self):
            raise RuntimeError("no")

    assert asked_delay(ExceptionGroup("both", [Odd(), Busy(retry_after=5)])) == 5


def test_what_is_no_length_of_time_is_named_by_its_first_characters():
    with pytest.raises(ValueError) as error:  # noqa: PT011 the message is looked at
        seconds_of("x" * 1_000)

    assert str(error.value) == brief_repr("x" * 1_000, 60)


def test_ctrl_c_while_an_exception_is_asked_for_its_delay_comes_out():
    class Interrupting(Exception):
        @property
        def retry_after(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked_delay(Interrupting())
