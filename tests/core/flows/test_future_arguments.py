"""The arguments of what is submitted: which futures are in them, and what comes in their place."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow import task
from otelflow._core.flows.future_arguments import futures_in, resolved

ONE = task(abs).submit(-1)
ONE.wait(30)


class Pair(NamedTuple):
    left: object
    right: object


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just(ONE)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=12,
)


def model(value):
    """Return *value* with 1 in the place of the future."""
    if value is ONE:
        return 1
    if isinstance(value, Pair):
        return Pair(*map(model, value))
    if isinstance(value, dict):
        return {key: model(item) for key, item in value.items()}
    return type(value)(map(model, value)) if isinstance(value, list | tuple) else value


@given(VALUES)
def test_each_future_becomes_its_result_and_nothing_else_changes(value):
    assert resolved(value) == model(value)
    assert type(resolved(value)) is type(model(value))
    assert (resolved(value) is value) == (not list(futures_in(value)))


@pytest.mark.parametrize("value", ["text", b"bytes", range(3), {1: 2}, object()])
def test_what_holds_no_future_is_the_same_object(value):
    assert resolved(value) is value
