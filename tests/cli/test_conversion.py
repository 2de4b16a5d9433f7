import contextlib
import enum
import ipaddress
import math
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional, Required, TypedDict, Union

import pydantic
import pytest
import typing_extensions
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


@dataclass
class Parcel:
    order: Order | None = None
    size: Size = Size.SMALL
    wait: timedelta | None = None
    next: "Parcel | None" = None


class Invoice(pydantic.BaseModel):
    number: int = pydantic.Field(gt=0)
    items: list[Item] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    age: int


class Point(NamedTuple):
    x: int
    y: int = 0


class Stop(TypedDict):
    wait: timedelta


class Branch(typing_extensions.TypedDict):
    name: str
    inside: "list[Branch]"


class Row(TypedDict, total=False):
    name: Required[str]
    waits: list[Stop]


class Sku:
    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Sku) and self.text == other.text

    __hash__ = None


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
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
        ('{"size": "LARGE", "wait": "90m"}', Parcel, Parcel(size=Size.LARGE, wait=timedelta(minutes=90))),
        ('{"next": {"size": "small"}}', Parcel, Parcel(next=Parcel())),
        ('{"number": "7", "items": [{"name": "tea"}]}', Invoice, Invoice(number=7, items=[Item("tea")])),
        (
            '{"kind": "dog", "age": 3}',
            Annotated[Cat | Dog, pydantic.Field(discriminator="kind")],
            Dog(kind="dog", age=3),
        ),
        ('{"x": 1}', Point, Point(1)),
        ("[1, 2]", Iterable[int], [1, 2]),
        ("[1]", list[int] | str, [1]),
        ("[draft]", list[int] | str, "[draft]"),
        ("[draft]", Path, Path("[draft]")),
        ("A-7", Sku, Sku("A-7")),
        ('["A-7"]', list[Sku], [Sku("A-7")]),
        ("20260131", date, date(2026, 1, 31)),
        ("PT90M", timedelta, timedelta(minutes=90)),
        ("1h 30m", timedelta, timedelta(minutes=90)),
        (" Yes ", bool, True),
        ("127.0.0.1", ipaddress.IPv4Address, ipaddress.IPv4Address("127.0.0.1")),
        ("5", Annotated[int, pydantic.Field(gt=0)], 5),
        ("x", Annotated[str, "documented"], "x"),
        ("x", Any, "x"),
        ("x", "NeverDefined", "x"),
        (
            '{"name": "tea", "waits": [{"wait": "90m"}]}',
            Row,
            {"name": "tea", "waits": [{"wait": timedelta(minutes=90)}]},
        ),
        ('[{"name": "tea"}]', list[Row], [{"name": "tea"}]),
        (
            '{"name": "a", "inside": [{"name": "b", "inside": []}]}',
            Branch,
            {"name": "a", "inside": [{"name": "b", "inside": []}]},
        ),
    ],
)
def test_a_text_becomes_what_the_annotation_asks_for(text, annotation, value):
    converted = convert(text, annotation)

    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation"),
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
def test_a_text_that_does_not_convert_is_refused(text, annotation):
    with pytest.raises(ConversionError):
        convert(text, annotation)


@given(st.text(), st.sampled_from([int, float, bool, date, datetime, timedelta, Size, Path, Item, list[int], Decimal]))
def test_no_text_breaks_a_conversion(text, annotation):
    with contextlib.suppress(ConversionError):
        convert(text, annotation)


@given(st.integers(), st.floats(allow_nan=False), st.booleans())
def test_what_python_prints_converts_back(number, ratio, truth):
    assert convert(str(number), int) == number
    assert math.isclose(convert(repr(ratio), float), ratio)
    assert convert(str(truth), bool) is truth


def test_an_annotation_is_named_as_its_author_wrote_it():
    assert name_of(int) == "int"
    assert name_of(list[int]) == "list[int]"
    assert name_of(int | None) == "int | None"
    assert name_of(Literal["a", "b"]) == "Literal['a', 'b']"
    assert name_of(Size) == "Size (one of SMALL, LARGE)"
    assert name_of(date) == "date (such as 2026-01-31)"
    assert name_of(Annotated[int, pydantic.Field(gt=0)]) == "int"


class Unfinished(pydantic.BaseModel):
    part: "NeverDefined"  # noqa: F821


@pytest.mark.parametrize(
    ("text", "annotation", "reason"),
    [
        ("six", int, ""),
        ("MEDIUM", Size, ""),
        ("x", int | None, ""),
        ("0", Annotated[int, pydantic.Field(gt=0)], "Input should be greater than 0"),
        ("tea", Item, "it is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("1, 2", list[int], "it is not JSON: Extra data: line 1 column 2 (char 1)"),
        ("1, 2", Sequence[str], "it is not JSON: Extra data: line 1 column 2 (char 1)"),
        ("5", list[int], ""),
        ("[true]", list[int], "at 0: true is no number"),
        ('{"count": 1}', Item, "at name: field required"),
        ('{"name": "tea", "count": "many"}', Item, "count must be int"),
        ('{"name": "tea", "colour": "green"}', Item, "at colour: unexpected keyword argument"),
        ('{"number": 1, "items": [{}]}', Invoice, "at items.0.name: field required"),
        (
            '{"number": "x", "items": [{}]}',
            Invoice,
            "at number: input should be a valid integer, unable to parse string as an integer (and 1 more)",
        ),
        (
            "{}",
            Unfinished,
            "an annotation in it cannot be resolved; define or import what it names at run time",
        ),
    ],
)
def test_a_refusal_is_one_sentence_that_says_what_the_annotation_does_not(text, annotation, reason):
    with pytest.raises(ConversionError) as error:
        convert(text, annotation)

    assert str(error.value) == reason


def test_a_text_for_a_text_is_taken_as_it_is_also_with_odd_bytes():
    assert convert("caf\udce9", str) == "caf\udce9"
    assert convert("caf\udce9", Path) == Path("caf\udce9")


def test_pydantic_is_imported_only_when_something_is_converted():
    code = (
        "import sys; from otelflow._cli import _parameters as parameters\n"
        "def main(name: str, note=None): ...\n"
        "parameters.fit(main, {'name': 'x', 'note': 'y'})\n"
        "print('pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (datetime | None, "datetime.datetime | None (such as 2026-01-31T12:00:00)"),
        (Optional[bool], "Optional[bool] (true or false)"),  # noqa: UP045
        (Size | None, f"{__name__}.Size | None (one of SMALL, LARGE)"),
        (int | None, "int | None"),
        (int | bool | None, "int | bool | None"),
        (list[int] | None, "list[int] | None"),
    ],
)
def test_what_may_be_left_out_has_the_example_of_what_it_is_otherwise(annotation, name):
    assert name_of(annotation) == name
