"""Numbers in variables."""

import pytest

from otelflow._core.process.environment import positive_integer
from otelflow.errors import ConfigurationError


@pytest.mark.parametrize(("text", "number"), [("", 5), (" ", 5), ("7", 7), (" 12 ", 12)])
def test_a_number_is_read_and_nothing_is_the_default(monkeypatch, text, number):
    monkeypatch.setenv("SOME_LIMIT", text)

    assert positive_integer("SOME_LIMIT", 5) == number


def test_a_variable_that_is_not_set_is_the_default(monkeypatch):
    monkeypatch.delenv("SOME_LIMIT", raising=False)

    assert positive_integer("SOME_LIMIT", 5) == 5


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "²", "9" * 5_000])
def test_anything_else_is_named(monkeypatch, text):
    monkeypatch.setenv("SOME_LIMIT", text)

    with pytest.raises(ConfigurationError, match=f"SOME_LIMIT must be a whole number above 0, not '{text}'"):
        positive_integer("SOME_LIMIT", 5)
