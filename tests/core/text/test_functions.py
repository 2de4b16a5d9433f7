"""Which function is behind what a user calls."""

import functools

import pytest

from otelflow import flow, task
from otelflow._core.text.functions import only_sets_up, plain_function, written_function


class Shop:
    def sell(self, fruit):
        return fruit

    @classmethod
    def open(cls):
        return cls()

    @staticmethod
    def price(fruit):
        return fruit

    def __call__(self):
        return 1


SHOP = Shop()


@pytest.mark.parametrize(
    ("value", "function"),
    [
        (Shop.price, Shop.price),
        (SHOP.sell, Shop.sell),
        (Shop.open, vars(Shop)["open"].__func__),
        (vars(Shop)["price"], Shop.price),
        (functools.partial(functools.partial(SHOP.sell, 1), 2), Shop.sell),
        (SHOP, SHOP),
        (len, len),
        (3, 3),
    ],
)
def test_partials_and_methods_lead_to_their_function(value, function):
    assert plain_function(value) is function


def logged(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)

    return call


@pytest.mark.parametrize(
    "value",
    [
        Shop.sell,
        logged(Shop.sell),
        logged(logged(SHOP.sell)),
        functools.partial(logged(Shop.sell), SHOP),
        logged(functools.partial(SHOP.sell, 1)),
    ],
)
def test_decorators_lead_to_the_function_that_was_written(value):
    assert written_function(value) is Shop.sell


def test_a_flow_that_does_not_run_when_it_is_called_only_sets_up():
    assert only_sets_up(flow(print))
    assert not any(map(only_sets_up, [flow(execute_on_call=True)(print), task(print), print, SHOP, 3, None]))
