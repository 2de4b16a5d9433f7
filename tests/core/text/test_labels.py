"""A name in a label is bounded, and an id in it is none of any run."""

import pytest

from otelflow._core.text.labels import label


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nightly", "nightly"),
        ("migrate-2024-06-01", "migrate-{id}"),
        ("import 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "import {id}"),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 120 + "…"),
        (5, "5"),
    ],
)
def test_a_name_has_one_label(name, text):
    assert label(name) == text
