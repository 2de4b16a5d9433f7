"""Functions of one name are told apart by what they hold; the same ones are known again in another process."""

import functools
import operator
import subprocess
import sys
import threading

import pytest

from otelflow import task
from otelflow._core.policies.identities import identity_of
from otelflow.cache_policies import INPUTS
from otelflow.errors import ResultNotStorable
from otelflow.results import MemoryStorage


def times(factor):
    def multiply(number):
        return number * factor

    return multiply


def add(first, second):
    return first + second


class Adder:
    """Adds when it is called."""

    def __init__(self, term):
        self.term = term

    def __call__(self, number):
        return number + self.term

    def add(self, number):
        return number + self.term


def with_default(term):
    return lambda number, term=term: number + term


def call(function, number):
    return function(number)


def call_with(number, by):
    return by(number)


def noted(function):
    @functools.wraps(function)
    def wrapper(number):
        return function(number)

    return wrapper


class Wrapping:
    """Is called in the place of a function, as those of libraries in C are."""

    __slots__ = ("__wrapped__",)

    def __init__(self, function):
        self.__wrapped__ = function

    def __call__(self, number):
        return self.__wrapped__(number)


def countdown(step):
    def down(number):
        return number if number <= 0 else down(number - step)

    return down


PAIRS = {
    "closures": (times(2), times(3)),
    "lambdas": (lambda number: number + 1, lambda number: number + 2),
    "defaults": (with_default(1), with_default(2)),
    "partials": (functools.partial(add, 1), functools.partial(add, 2)),
    "partials of closures": (functools.partial(times(2)), functools.partial(times(3))),
    "objects": (Adder(1), Adder(2)),
    "methods": (Adder(1).add, Adder(2).add),
    "partials with keywords": (functools.partial(add, second=1), functools.partial(add, second=2)),
    "functions in partials": (functools.partial(call, times(2)), functools.partial(call, times(3))),
    "functions in keywords": (functools.partial(call_with, by=times(2)), functools.partial(call_with, by=times(3))),
    "wrappers": (noted(times(2)), noted(times(3))),
    "wrapping objects": (Wrapping(times(2)), Wrapping(times(3))),
    "functions that call themselves": (countdown(1), countdown(2)),
    "closures over closures": (with_default(times(2)(1)), with_default(times(3)(1))),
}


@pytest.mark.parametrize("functions", PAIRS.values(), ids=PAIRS)
def test_two_functions_of_one_name_share_no_value(functions):
    storage = MemoryStorage()

    tasks = [task(cache_policy=INPUTS, result_storage=storage, task_name="same")(function) for function in functions]

    assert [each(5) for each in tasks] == [function(5) for function in functions]


def test_what_is_the_same_is_told_the_same_and_what_has_its_own_name_needs_no_more():
    assert identity_of(times(2)) == identity_of(times(2))
    assert identity_of(functools.partial(add, 1)) == identity_of(functools.partial(add, 1))
    assert identity_of(Adder(1)) == identity_of(Adder(1))
    assert [identity_of(function) for function in (add, len, Adder.add)] == [None] * 3


def test_the_variables_of_the_first_call_count():
    rows = []

    def note(row):
        rows.append(row)

    first = identity_of(note)
    note(1)

    assert identity_of(note) == first


def test_what_no_other_process_can_tell_is_good_in_this_one_and_said_once(caplog):
    def holding(lock):
        return lambda number: (lock, number)

    first, second = holding(threading.Lock()), holding(threading.Lock())

    identities = [identity_of(function) for function in (first, second, first)]

    assert identities[0] == identities[2] != identities[1]
    assert caplog.text.count("the variable lock of ") == 1
    with pytest.raises(ResultNotStorable, match="itemgetter"):
        identity_of(operator.itemgetter(1))


PROGRAM = """
from otelflow._core.policies.identities import identity_of
print(identity_of(lambda number, words=frozenset({"a", "b", "c"}): number in {"x", "y", "z"}))
"""


def test_another_process_tells_the_same_of_a_program_without_a_file():
    texts = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for seed in "12"
    }  # fmt: skip

    assert len(texts) == 1
    assert "__main__" in texts.pop()


def test_functions_that_call_each_other_are_told_apart_by_what_they_are():
    def pair(term):
        def first(number):
            return second(number) if number > 100 else number

        def second(number):
            return first(number - term)

        return first, second

    assert identity_of(pair(1)[0]) == identity_of(pair(1)[0])
    assert len({identity_of(function) for function in (*pair(1), *pair(2))}) == 4


class Counted(dict):
    """An object that is called, and holds what no attribute of it says."""

    def __call__(self, number):
        return self.get(number)


def test_an_object_that_is_more_than_its_attributes_is_told_apart_from_others_or_by_nothing():
    with_items = [Counted({1: "a"}), Counted({1: "b"})]
    storage = MemoryStorage()
    tasks = [task(cache_policy=INPUTS, result_storage=storage, task_name="same")(each) for each in with_items]

    assert [each(1) for each in tasks] == ["a", "b"]
