"""How functions are called and shown in errors, and which of them take one value."""

import functools

import pytest

from otelflow._core.policies.policy import description_of, name_of, takes, warn_of_awaitable


def plain(value):
    return value


async def waiting(value):
    return value


class Waiting:
    """Would have to be awaited when it is called."""

    async def __call__(self, value):
        return value


def several(value):
    yield value


class Callable:
    """Is called with one value."""

    def __call__(self, value):
        return value

    def method(self, value):
        return value


class Base:
    """What has a name of its own."""

    __name__ = "own name"
    func = plain

    def __call__(self):
        """Do nothing."""


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (plain, "plain"),
        (functools.partial(plain, 1), "plain"),
        (functools.partial(functools.partial(plain), 1), "plain"),
        (functools.partial(Callable()), "Callable"),
        (Callable(), "Callable"),
        (Callable().method, "method"),
        (Base(), "own name"),
        (len, "len"),
        (lambda: None, "<lambda>"),
    ],
)
def test_a_body_is_called_by_its_name_whatever_is_around_it(body, name):
    assert name_of(body) == name


@pytest.mark.parametrize(
    ("value", "description"),
    [
        (plain, "the function plain"),
        (waiting, "the async function waiting"),
        (len, "the function len"),
        (3, "3"),
        ("x", "'x'"),
        ("x" * 100, "'" + "x" * 59),
    ],
)
def test_a_function_is_shown_by_its_name_and_any_other_value_as_it_is(value, description):
    assert description_of(value) == description


class Later:
    async def __call__(self, value):
        return value


@pytest.mark.parametrize(
    ("function", "is_one"),
    [
        (plain, True),
        (Callable(), True),
        (Callable().method, True),
        (print, True),
        (lambda value, more=1: value, True),
        (lambda *values: values, True),
        (functools.partial(lambda first, second: first, 1), True),
        (dict.fromkeys, True),
        (waiting, False),
        (functools.partial(waiting), False),
        (Waiting(), False),
        (several, False),
        (Later(), False),
        (Callable, False),
        (lambda: None, False),
        (lambda first, second: first, False),
        (lambda *, value: value, False),
        (3, False),
        (None, False),
    ],
)
def test_what_can_be_called_with_one_value_is_a_function_of_it(function, is_one):
    assert takes(function, 1) is is_one


def test_what_is_asked_with_two_values_takes_two():
    assert takes(lambda first, second: first, 2)
    assert not takes(lambda first: first, 2)


def test_a_callable_that_says_nothing_of_itself_is_tried():
    class Silent:
        __signature__ = 3

        def __call__(self, value):
            return value

    class Secret:
        @property
        def __signature__(self):
            raise ValueError("no signature found")

        def __call__(self, value):
            return value

    assert takes(Secret(), 1)
    assert not takes(Silent(), 1)


def test_a_value_that_is_to_be_awaited_is_said_once(caplog):
    values = [waiting(1), waiting(2)]
    for value in (*values, 3, None):
        warn_of_awaitable(value, "fetch", "timeout")
    for value in values:
        value.close()

    assert caplog.messages == [
        "'fetch' has returned something to await, for which its timeout does not count: make it an 'async def'"
    ]
