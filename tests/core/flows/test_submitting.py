"""``otelflow.submit()``: tasks, methods with their objects, and partial calls of them."""

import functools

import pytest

from otelflow import flow, submit, task
from otelflow.errors import NotSubmittable


@task
def add(left, right=0):
    return left + right


class Shop:
    def __init__(self, extra):
        self.extra = extra

    @task
    def price(self, fruit):
        return len(fruit) + self.extra


def test_a_partial_call_is_submitted_with_its_arguments(spans):
    assert submit(functools.partial(add, 1, right=2)).result(30) == 3
    assert submit(functools.partial(Shop(1).price, "fig")).result(30) == 4


def test_the_task_of_a_method_waits_for_others(spans):
    @flow
    def shopping():
        return submit(Shop(add.submit(1).result()).price, "fig", wait_for=add.submit(2)).result()

    assert shopping().execute().flow_return_value == 4


@pytest.mark.parametrize("function", [len, Shop, flow(len), 3])
def test_what_is_no_task_is_refused(function):
    with pytest.raises(NotSubmittable, match="decorate it with @task"):
        submit(function, 1)
