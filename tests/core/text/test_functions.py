"""Which function is behind what a user calls."""

import functools

import pytest

from otelflow._core.text.functions import plain_function


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
