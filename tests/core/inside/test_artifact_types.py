"""What fits which type of artifact."""

import contextlib
import dataclasses
import itertools
import logging
import sqlite3
from collections import deque
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import ClassVar, NamedTuple

import pytest

from otelflow._core.inside.artifact_types import checked_data
from otelflow._core.text.excerpt import Excerpt
from otelflow.errors import InvalidArtifact


class Colour(Enum):
    RED = 1


class Order(NamedTuple):
    number: int
    items: list


class Model(SimpleNamespace):
    model_fields: ClassVar = {}

    def model_dump(self):
        return vars(self)

    def __iter__(self):  # as pydantic's
        return iter(vars(self).items())


@dataclasses.dataclass
class Report:
    rows: list

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)

    def __contains__(self, row):
        return row in self.rows


class Endless(dict):
    def items(self):
        return zip(itertools.count(), itertools.repeat([1]))


class Address:
    def __str__(self):
        return "https://example.org/a"


def rows_of_database(query):
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        return database.execute(query).fetchall()


def kept(artifact_type, data, limit=1_000):
    return checked_data(artifact_type, data, Excerpt(limit))


@pytest.mark.parametrize(
    ("artifact_type", "data", "expected"),
    [
        ("markdown", "# Title", "# Title"),
        ("markdown", "password=hunter2", "password=[redacted]"),
        ("table", [{"a": 1}, [2]], [{"a": 1}, [2]]),
        ("table", ({"a": 1},), [{"a": 1}]),
        ("table", {"a": 1, "b": "x"}, [{"a": 1, "b": "x"}]),
        ("table", {"a": [1, 2], "b": range(2)}, [{"a": 1, "b": 0}, {"a": 2, "b": 1}]),
        ("table", {}, []),
        ("table", [Order(1, [2])], [{"number": 1, "items": [2]}]),
        ("table", Model(a=1), [{"a": 1}]),
        ("table", Report([{"a": 1}, {"a": 2}]), [{"a": 1}, {"a": 2}]),
        ("table", [SimpleNamespace(a=1), Model(a=2)], [{"a": 1}, {"a": 2}]),
        ("anything", SimpleNamespace(a=1), {"a": 1}),
        ("table", {"x": {"a": 1}}.values(), [{"a": 1}]),
        ("table", deque([range(2), {3}]), [[0, 1], [3]]),
        ("table", rows_of_database("select 1 as a, 'x' as b"), [{"a": 1, "b": "x"}]),
        ("table", rows_of_database("select 1 as a, 2 as a"), [[1, 2]]),
        ("table", [{"token": "abc"}], [{"token": "[redacted]"}]),
        ("link", "HTTPS://example.org", "HTTPS://example.org"),
        ("link", Address(), "https://example.org/a"),
        ("progress", 0, 0),
        ("progress", 100.0, 100.0),
        ("progress", sum([100 / 6] * 6), 100.0),
        ("progress", Decimal("2.5"), 2.5),
        ("image", b"png", b"png"),
        ("image", bytearray(b"png"), b"png"),
        ("image", "http://example.org/x.png", "http://example.org/x.png"),
        ("json", {"a": Colour.RED, "password": "x"}, {"a": 1, "password": "[redacted]"}),
        ("error", ValueError("token=abc123def"), "ValueError: token=[redacted]"),
        ("error", "text", "text"),
        ("anything", None, None),
        ("anything", 1.5, 1.5),
        ("anything", memoryview(b"x"), b"x"),
        ("anything", {"a": (1,)}, {"a": [1]}),
        ("anything", Address(), "https://example.org/a"),
    ],
)
def test_what_fits_is_kept_as_plain_data_without_secrets(artifact_type, data, expected):
    assert kept(artifact_type, data) == expected


def test_of_very_many_columns_the_first_are_looked_at():
    class Columns(dict):
        def values(self):
            raise AssertionError("all of them were looked at")

    excerpt = Excerpt(1_000_000)
    (row,) = checked_data("table", Columns.fromkeys(range(100_000), [1]), excerpt)

    assert (len(row), row["0"], excerpt.is_cut) == (10_000, 1, True)


def test_a_table_that_never_ends_is_cut():
    excerpt = Excerpt(1_000_000)

    assert len(checked_data("table", Endless(a=1), excerpt)[0]) == 10_000
    assert excerpt.is_cut


@pytest.mark.parametrize(
    ("artifact_type", "data", "sentence"),
    [
        ("markdown", 5, "a markdown artifact needs a text, not int"),
        ("table", 5, "a table artifact needs a list of rows"),
        ("table", [5], "a table artifact needs a list of rows"),
        ("table", ["text"], "a table artifact needs a list of rows"),
        ("table", iter([{"a": 1}]), "a table artifact needs a list of rows"),
        ("table", {"a": [1], "b": 2}, "a table artifact needs a list of rows"),
        ("table", {"a": [1], "b": [1, 2]}, "columns must be equally long"),
        ("link", "javascript:alert(1)", "a link artifact needs an http or https address"),
        ("link", "https://example.org/a b", "a link artifact needs an http or https address"),
        ("progress", -0.1, "a progress artifact needs a number from 0 to 100"),
        ("progress", 100.1, "a progress artifact needs a number from 0 to 100"),
        ("progress", True, "a progress artifact needs a number from 0 to 100"),
        ("progress", "50", "a progress artifact needs a number from 0 to 100"),
        ("progress", float("nan"), "a progress artifact needs a number from 0 to 100"),
        ("image", "x.png", "an image artifact needs bytes"),
        ("image", 5, "an image artifact needs bytes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(artifact_type, data, sentence):
    with pytest.raises(InvalidArtifact, match=sentence):
        kept(artifact_type, data)


def test_a_type_that_is_nearly_one_is_asked_about_once_and_taken(caplog):
    with caplog.at_level(logging.WARNING, logger="otelflow"):
        kept = [checked_data(word, [1], Excerpt(100)) for word in ("tabel", "tabel", "list", "test", "row")]

    assert kept == [[1]] * 5
    assert [record.getMessage() for record in caplog.records] == [
        "An artifact has the type 'tabel', of which otelflow knows nothing; is 'table' meant?"
    ]
