import contextlib
import enum
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow._cli._conversion import ConversionError, convert, name_of


class Size(enum.Enum):
    SMALL = 1
    LARGE = "big"


@dataclass
class Item:
    name: str
    count: int = 1


@dataclass
class Order:
    items: list[Item]
    due: date | None = None
    tags: set[str] = field(default_factory=set)


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("a b", str, "a b"),
        ("12", int, 12),
        ("-1_000", int, -1000),
        ("1.5", float, 1.5),
        ("3", float, 3.0),
        ("yes", bool, True),
        ("False", bool, False),
        ("0", bool, False),
        ("text", bytes, b"text"),
        ("a/b", Path, Path("a/b")),
        ("2026-01-31", date, date(2026, 1, 31)),
        ("2026-01-31T10:00:00", datetime, datetime(2026, 1, 31, 10)),  # noqa: DTZ001
        ("10:30", time, time(10, 30)),
        ("90m", timedelta, timedelta(minutes=90)),
        ("SMALL", Size, Size.SMALL),
        ("large", Size, Size.LARGE),
        ("big", Size, Size.LARGE),
        ("1", Size, Size.SMALL),
        ("fast", Literal["fast", "slow"], "fast"),
        ("2", Literal[1, 2], 2),
        ("5", Optional[int], 5),  # noqa: UP045
        ("none", int | None, None),
        ("null", str | None, None),
        ("7", int | str, 7),
        ("seven", str | int, "seven"),
        ("7", Union[float, str], 7.0),  # noqa: UP007
        ("1.10", Decimal, Decimal("1.10")),
        ("12345678123456781234567812345678", uuid.UUID, uuid.UUID("12345678123456781234567812345678")),
        ("[1, 2]", list[int], [1, 2]),
        ('["a", 1]', list, ["a", 1]),
        ('["a", "b"]', Sequence[Path], [Path("a"), Path("b")]),
        ("[1, 1]", set[int], {1}),
        ('[1, "a"]', tuple[int, str], (1, "a")),
        ("[1, 2, 3]", tuple[int, ...], (1, 2, 3)),
        ('{"a": 1}', dict[str, int], {"a": 1}),
        ('{"1": "SMALL"}', Mapping[int, Size], {1: Size.SMALL}),
        ('{"name": "tea"}', Item, Item("tea")),
        (
            '{"items": [{"name": "tea", "count": 2}], "due": "2026-01-31", "tags": ["a"]}',
            Order,
            Order([Item("tea", 2)], date(2026, 1, 31), {"a"}),
        ),
        ("x", Annotated[str, "documented"], "x"),
        ("x", Any, "x"),
        ("x", "NeverDefined", "x"),
    ],
)
def test_a_text_becomes_what_the_annotation_asks_for(text, wanted, value):
    converted = convert(text, wanted)

    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("six", int),
        ("1.5", int),
        ("", int),
        ("maybe", bool),
        ("yesterday", date),
        ("7 moons", timedelta),
        ("9999999999999d", timedelta),
        ("MEDIUM", Size),
        ("medium", Literal["fast", "slow"]),
        ("x", int | None),
        ("1,10", Decimal),
        ("1, 2", list[int]),
        ('["a"]', list[int]),
        ("[true]", list[int]),
        ("{}", list[int]),
        ("[]", dict[str, int]),
        ("[1]", tuple[int, int]),
        ('{"count": 1}', Item),
        ('{"name": "tea", "colour": "green"}', Item),
        ("tea", Item),
        ("[" * 100_000, list[int]),
    ],
)
def test_a_text_that_does_not_convert_is_refused(text, wanted):
    with pytest.raises(ConversionError):
        convert(text, wanted)


@given(st.text(), st.sampled_from([int, float, bool, date, datetime, timedelta, Size, Path, Item, list[int], Decimal]))
def test_no_text_breaks_a_conversion(text, wanted):
    with contextlib.suppress(ConversionError):
        convert(text, wanted)


@given(st.integers(), st.floats(allow_nan=False), st.booleans())
def test_what_python_prints_converts_back(number, ratio, truth):
    assert convert(str(number), int) == number
    assert math.isclose(convert(repr(ratio), float), ratio)
    assert convert(str(truth), bool) is truth


def test_what_was_wanted_is_named_as_its_author_wrote_it():
    assert name_of(int) == "int"
    assert name_of(list[int]) == "list[int]"
    assert name_of(int | None) == "int | None"
    assert name_of(Literal["a", "b"]) == "Literal['a', 'b']"
    assert name_of(Size) == "Size (one of SMALL, LARGE)"
    assert name_of(date) == "date (such as 2026-01-31)"
