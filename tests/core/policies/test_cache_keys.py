"""Keys are the same in every process, and policies are put together as they read."""

import functools
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from otelflow import semconv, task
from otelflow._core.process import process
from otelflow._core.runs.current import current_run
from otelflow.cache_policies import FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE
from otelflow.errors import ConfigurationError
from otelflow.results import MemoryStorage

PROGRAM = """
import asyncio, sys
from otelflow import task
from otelflow.cache_policies import INPUTS, TASK_SOURCE
from otelflow.testing import flow_trace

@task(cache_policy=INPUTS + TASK_SOURCE, result_storage="memory")
def load(first, *rest, flag=frozenset({"a", "b", "c"}), **more):
    return 3 in {"x", "y", "z", len(first)} or [word for word in ("a", "b")]

with flow_trace() as trace:
    load({"b": 1, "a": {3, "q", None}}, 2.5, z=1, y=b"2")
print(trace.one("task load").attributes["otelflow.cache.key"])
"""


def test_a_key_is_the_same_in_every_process_whatever_its_hash_seed():
    keys = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for seed in (1, 2, 3)
    }  # fmt: skip

    assert len(keys) == 1
    assert len(keys.pop().strip()) == 64


def key_of(function, *args, policy=INPUTS + TASK_SOURCE):
    keys = []

    @task
    def asking(*args):
        run = current_run()
        run.definition = type(run.definition)("@task", function)
        run.args = args
        keys.append(policy.key(run))

    asking(*args)
    return keys[0]


def test_partial_functions_and_what_decorators_have_wrapped_make_keys_of_their_own():
    def power(base, exponent):
        return base**exponent

    def noted(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    keys = [
        key_of(function, 3)
        for function in (
            functools.partial(power, 2),
            functools.partial(power, 4),
            power,
            noted(power),
            noted(lambda base: base),
            len,
        )
    ]

    assert len(set(keys)) == len(keys)


class Callable:
    """Is a callable object."""

    def __call__(self, number):
        return number


def test_a_callable_object_has_the_code_of_its_class():
    assert key_of(Callable(), 3) == key_of(Callable(), 3)


inputs = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def exact(value):
    """Return a text that tells 1, 1.0 and True apart, and no order of keys."""
    if isinstance(value, dict):
        return f"{{{sorted((key, exact(item)) for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}{list(map(exact, value))}"
    return repr(value)


@settings(max_examples=150, deadline=None)
@given(inputs, inputs)
def test_two_calls_have_the_same_key_if_their_inputs_are_the_same_and_else_not(first, second):
    def body(value):
        return value

    assert (key_of(body, first) == key_of(body, second)) is (exact(first) == exact(second))


class Model(RuleBasedStateMachine):
    """Calls cached tasks at random; a dict is the model of what they return and how often they run."""

    def __init__(self):
        super().__init__()
        process.reset()
        self.storage = MemoryStorage()
        self.model = {}
        self.bodies = {}
        self.calls = []
        self.expected_calls = []
        self.version = 0

    def task(self, name, **keywords):
        def body(number, verbose=False):
            self.calls.append((name, number))
            if number == 3:
                raise LookupError("three")
            return [name, number, self.version]

        body = self.bodies.setdefault(name, body)
        return task(task_name=name, result_storage=self.storage, **keywords)(body)

    def check(self, name, number, call, *, is_refreshed=False):
        key = name, number
        if key not in self.model or is_refreshed:
            self.expected_calls.append(key)
            if number != 3:
                self.model[key] = [name, number, self.version]
        if number == 3:
            with pytest.raises(LookupError):
                call()
        else:
            assert call() == self.model[key]

    @rule(name=st.sampled_from("ab"), number=st.integers(0, 3), verbose=st.booleans())
    def call(self, name, number, verbose):
        self.check(name, number, lambda: self.task(name, cache_policy=INPUTS - "verbose")(number, verbose=verbose))

    @rule(name=st.sampled_from("ab"), number=st.integers(0, 3))
    def refresh(self, name, number):
        cached = self.task(name, cache_policy=INPUTS - "verbose", refresh_cache=True)
        self.check(name, number, lambda: cached(number), is_refreshed=True)

    @rule()
    def change(self):
        self.version += 1

    @invariant()
    def bodies_ran_as_often_as_the_model_says(self):
        assert self.calls == self.expected_calls


Model.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestModel = Model.TestCase


def test_policies_are_put_together_as_they_read():
    assert repr(INPUTS + TASK_SOURCE - "verbose") == "INPUTS + TASK_SOURCE - 'verbose'"
    assert repr(TASK_SOURCE + INPUTS - ["b", "a"]) == "INPUTS + TASK_SOURCE - 'a' - 'b'"
    assert repr(NO_CACHE + RUN_ID + FLOW_PARAMETERS) == "FLOW_PARAMETERS + RUN_ID"
    assert (repr(NO_CACHE), NO_CACHE.is_needed, (NO_CACHE + INPUTS).is_needed) == ("NO_CACHE", False, True)
    assert repr(INPUTS + key_of) == "INPUTS + key_of"


def test_the_order_of_a_sum_makes_no_key():
    def body(number):
        return number

    assert key_of(body, 1, policy=INPUTS + TASK_SOURCE) == key_of(body, 1, policy=TASK_SOURCE + INPUTS)
    assert key_of(body, 1, policy=INPUTS) != key_of(body, 1, policy=TASK_SOURCE)


@pytest.mark.parametrize(
    ("combine", "message"),
    [
        (lambda: INPUTS + 3, "^to a cache policy, no 3 can be added; add INPUTS, say$"),
        (lambda: TASK_SOURCE - "a", "^from TASK_SOURCE, 'a' cannot be left out: write INPUTS - 'name of a parameter'$"),
        (lambda: INPUTS - [3], r"^from INPUTS, \[3\] cannot be left out: write INPUTS - 'name of a parameter'$"),
    ],
)
def test_what_cannot_be_added_or_left_out_is_refused(combine, message):
    with pytest.raises(ConfigurationError, match=message):
        combine()


def test_a_part_of_a_key_that_is_missing_means_no_key(spans):
    task(cache_policy=INPUTS + FLOW_PARAMETERS)(lambda number: number)(1)

    assert semconv.CACHE_KEY not in spans.spans[0].attributes


def test_what_functions_return_is_a_part_of_the_key_in_their_order():
    def body(number):
        return number

    def first(_task, arguments):
        return f"first {arguments['number'] % 2}"

    def second(_task, arguments):
        return f"second {arguments['number'] % 3}"

    both = NO_CACHE + first + second
    keys = [key_of(body, number, policy=both) for number in (1, 7, 3, 2)]

    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert key_of(body, 1, policy=NO_CACHE + first) != key_of(body, 1, policy=NO_CACHE + second)
    assert key_of(body, 1, policy=NO_CACHE + second + first) != keys[0]


def test_a_function_that_returns_none_leaves_no_key_and_any_other_value_is_a_mistake():
    def body(number):
        return number

    assert key_of(body, 1, policy=INPUTS + (lambda _task, _arguments: None)) is None
    with pytest.raises(TypeError, match=r"^its key must be a text or None, not 3$"):
        key_of(body, 1, policy=INPUTS + (lambda _task, _arguments: 3))


def test_an_input_that_is_left_out_makes_no_difference_and_another_does():
    def body(number, verbose):
        return number

    policy = INPUTS - "verbose"

    assert key_of(body, 1, True, policy=policy) == key_of(body, 1, False, policy=policy)
    assert key_of(body, 1, True, policy=policy) != key_of(body, 2, True, policy=policy)
    assert key_of(body, 1, True, policy=INPUTS) != key_of(body, 1, False, policy=INPUTS)


def test_a_function_that_cannot_be_asked_for_a_key_is_refused():
    async def later(task, arguments):
        return "key"

    for function in (lambda: "key", lambda task: "key", later):
        for keywords in ({"cache_key_fn": function}, {"cache_policy": function}):
            with pytest.raises(ConfigurationError, match="or a function of task and arguments, not the"):
                task(**keywords)(print)
        with pytest.raises(ConfigurationError, match="to a cache policy"):
            INPUTS + function
