"""Which flows a program has."""

import pytest

from otelflow._core.flows import declared as module
from otelflow._core.flows.declared import Declared, declare, declared, declared_flows
from otelflow._core.process import process


@pytest.fixture
def none_yet(monkeypatch):
    monkeypatch.setattr(module._declarations, "flows", {})


def test_flows_stand_in_the_order_in_which_they_were_declared(none_yet):
    first, second = Declared("b", "shop"), Declared("a", "shop", (1.0,), None, "does it")
    declare(first)
    declare(second)

    assert declared_flows() == (first, second)
    assert (declared("a"), declared("c")) == (second, None)
    assert (second.buckets, second.description, second.module, second.objective) == ((1.0,), "does it", "shop", None)


def test_of_two_with_one_name_the_later_counts_and_of_very_many_the_first(none_yet, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 2)
    flows = [Declared(name, str(number)) for number, name in enumerate("abca")]
    for flow in flows:
        declare(flow)

    assert declared_flows() == (flows[3], flows[1])


def test_what_was_decorated_is_still_there_when_a_process_begins_anew(none_yet):
    flow = Declared("a", "shop")
    declare(flow)
    process.reset()

    assert declared_flows() == (flow,)
