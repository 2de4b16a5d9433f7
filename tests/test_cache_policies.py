"""What ``otelflow.cache_policies`` shows is all that there is, and each is told of on its page."""

import re
from pathlib import Path

import pytest

from otelflow import cache_policies, flow, task

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "cache.md"
POLICIES = [name for name in cache_policies.__all__ if name.isupper()]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_called_as_it_is_shown_and_stands_on_its_page(name):
    assert repr(getattr(cache_policies, name)) == name
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
    assert re.search(rf"``{name}``", cache_policies.__doc__)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("NO_CACHE", ["a", "a", "b", "a", "a", "b"]),
        ("INPUTS", ["a", "b"]),
        ("TASK_SOURCE", ["a"]),
        ("FLOW_PARAMETERS", ["a"]),
        ("RUN_ID", ["a", "a"]),
    ],
)
def test_each_policy_has_calls_the_same_that_its_page_says(name, calls):
    ran = []

    @task(cache_policy=getattr(cache_policies, name))
    def step(number):
        ran.append(number)

    @flow
    def nightly(day):
        for number in ("a", "a", "b"):
            step(number)

    nightly("monday").execute()
    nightly("monday").execute()

    assert ran == calls
