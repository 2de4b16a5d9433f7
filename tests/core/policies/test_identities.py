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


PAIRS = {
    "closures": (times(2), times(3)),
    "lambdas": (lambda number: number + 1, lambda number: number + 2),
    "defaults": (with_default(1), with_default(2)),
    "partials": (functools.partial(add, 1), functools.partial(add, 2)),
    "partials of closures": (functools.partial(times(2)), functools.partial(times(3))),
    "objects": (Adder(1), Adder(2)),
    "methods": (Adder(1).add, Adder(2).add),
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
