"""Values come back exactly as they were, or are refused with one sentence; what is read runs no code."""

import contextlib
import dataclasses
import enum
import functools
import json
import math
import subprocess
import sys
from collections import Counter, OrderedDict, deque
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelflow._core.results.plain_values import canonical, dumps, loads
from otelflow.errors import ResultNotStorable, ResultUnreadable


class Colour(enum.Enum):
    """Has members."""

    RED = 1
    BLUE = "blue"


class Rights(enum.Flag):
    """Has members that can be joined."""

    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Order:
    """Has fields."""

    number: int
    lines: list[Any] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def total(self):
        return sum(self.lines)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """Has slots, and a field that is no argument."""

    number: int
    double: int = dataclasses.field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "double", 2 * self.number)


class Model(pydantic.BaseModel):
    """Has a default that is remembered as unset."""

    number: int
    when: datetime | None = None
    _private: int = 3


class Point(NamedTuple):
    """Is a named tuple."""

    x: object
    y: object


class Trap:
    """Does what a hostile file would like it to."""

    def __init__(self):
        raise AssertionError("called")


zones = st.one_of(
    st.none(),
    st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), UTC, timezone(timedelta(hours=-3), "X")]),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.text(st.characters(categories=["Cs"])),
    st.binary(),
    st.binary().map(bytearray),
    st.datetimes(timezones=zones),
    st.datetimes().map(lambda value: value.replace(fold=1)),
    st.times(),
    st.dates(),
    st.timedeltas(),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    st.sampled_from(
        [*Colour, Rights.READ, Rights.READ | Rights.WRITE, Path("a/b"), PurePosixPath("/"), range(3, 9, 2)]
    ),
    st.sampled_from([PureWindowsPath("c:/x"), Point(1, (2,)), Frozen(4), Model(number=1), Model(number=1, when=None)]),
)
hashable = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.dates(), st.uuids())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.lists(inner).map(deque),
        st.lists(inner, max_size=3).map(lambda items: deque(items, 3)),
        st.sets(hashable),
        st.frozensets(hashable),
        st.dictionaries(st.text(), inner),
        st.dictionaries(st.sampled_from(["$type", "value", "a"]), inner),
        st.dictionaries(hashable, inner),
        st.dictionaries(hashable, inner).map(OrderedDict),
        st.dictionaries(hashable, st.integers()).map(Counter),
        st.lists(inner).map(lambda items: Order(1, items)),
    ),
    max_leaves=20,
)


def is_same(value, copy):
    """Tell whether two values are the same in types, order, and all that can be seen of them."""
    if type(value) is not type(copy):
        return False
    if isinstance(value, dict):
        pairs = zip(value.items(), copy.items(), strict=True)
        return len(value) == len(copy) and all(is_same(first, second) for first, second in pairs)
    if isinstance(value, list | tuple | deque):
        has_same_room = getattr(value, "maxlen", None) == getattr(copy, "maxlen", None)
        return has_same_room and len(value) == len(copy) and all(map(is_same, value, copy))
    if isinstance(value, set | frozenset):
        return is_same(sorted(map(ascii, value)), sorted(map(ascii, copy)))
    if isinstance(value, Order):
        return is_same(vars(value), vars(copy))
    if isinstance(value, datetime | time):
        return (value.replace(tzinfo=None), value.fold, repr(value.tzinfo)) == (
            copy.replace(tzinfo=None),
            copy.fold,
            repr(copy.tzinfo),
        )
    if isinstance(value, Model):
        return value == copy and value.model_fields_set == copy.model_fields_set and copy._private == value._private
    if isinstance(value, int):
        return value == copy
    return repr(value) == repr(copy)


@settings(max_examples=300, deadline=None)
@given(values)
def test_what_is_read_is_what_was_written(value):
    text = dumps(value)

    assert text.isascii()
    assert is_same(value, loads(text))


def test_a_number_is_read_that_is_longer_than_python_takes_from_text():
    for value in (10**5_000, -(10**5_000) + 1):
        assert loads(dumps(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(hashable, values), st.randoms(use_true_random=False))
def test_the_order_of_a_dict_changes_no_canonical_text(value, random):
    pairs = list(value.items())
    random.shuffle(pairs)

    assert canonical(dict(pairs)) == canonical(value)


@settings(max_examples=200, deadline=None)
@given(values, values)
def test_values_with_the_same_canonical_text_are_the_same(value, other):
    if canonical(value) == canonical(other):
        assert is_same(loads(dumps(value)), value)
        assert canonical(loads(dumps(value))) == canonical(other)
    else:
        assert not is_same(value, other)


def test_a_canonical_text_is_the_same_in_every_process_whatever_its_hash_seed():
    program = """
from otelflow._core.results.plain_values import canonical
from datetime import date
print(canonical({"b": {"x", "y", "z", b"w", None, 3}, 1: [1.5, date(2026, 1, 2)], "a": frozenset(range(20))}))
"""
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed)},
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for seed in (1, 2, 3)
    }  # fmt: skip

    assert len(texts) == 1


class Text(str):
    """Is no plain text."""

    __slots__ = ()


class Tuple(tuple):
    """Is no plain tuple."""

    __slots__ = ()


def local_class():
    @dataclasses.dataclass
    class Local:
        number: int

    return Local(1)


def order_with(**attributes):
    order = Order(1)
    vars(order).update(attributes)
    return order


def endless():
    value = []
    value.append(value)
    return value


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"rows": [1, object()]}, r"^the value at \['rows'\]\[1\] is of the type builtins.object, which JSON"),
        (Text("a"), r"^the value is of the type .*\.Text, which JSON cannot hold"),
        ((1, Tuple()), r"^the value at \[1\] is of the type"),
        ({1: lambda: 0}, r"^the value at \[1\] is of the type builtins.function"),
        ({object(): 0}, r"^the value at \.keys\(\) is of the type builtins.object"),
        (Order(object()), r"^the value at \.number is of the type builtins.object"),
        (order_with(extra=1), r"^the value has the attribute 'extra', which is no field of Order"),
        (local_class(), r"^the value is of the class local_class.<locals>.Local, which cannot be imported from "),
        (ZeroDivisionError("x"), r"^the value is of the type builtins.ZeroDivisionError"),
        (endless(), r"^the value is nested too deep, or refers to itself"),
        (deep(), r"^the value is nested too deep, or refers to itself"),
        (math, r"^the value is of the type builtins.module"),
    ],
)  # fmt: skip
def test_what_json_cannot_hold_exactly_is_one_error_that_says_where(value, message):
    with pytest.raises(ResultNotStorable, match=message):
        dumps(value)


def test_what_is_computed_once_is_no_field():
    order = Order(1, [2, 3])
    assert order.total == 5

    assert loads(dumps(order)) == order
    assert "total" not in vars(loads(dumps(order)))


tags = st.sampled_from(["set", "enum", "dataclass", "deque", "model", "datetime", "fraction", "range"])


def tagged(tag, value):
    return json.dumps({"$type": tag, "value": value})


HERE = __name__


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "[" * 100_000,
        tagged("unknown", 1),
        tagged("set", [[]]),
        tagged("tuple", 3),
        tagged("bytes", "no base64!"),
        tagged("datetime", ["yesterday", 0, None]),
        tagged("datetime", ["2026-01-01", 0, "No/Where"]),
        tagged("datetime", ["2026-01-01", 0, "../../etc/passwd"]),
        tagged("uuid", "x"),
        tagged("dataclass", [f"{HERE}:Trap", {}]),
        tagged("dataclass", [f"{HERE}:Order", {"number": 1, "price": 2}]),
        tagged("dataclass", [f"{HERE}:Order", {"number": 1}]),
        tagged("dataclass", ["antigravity:x", {}]),
        tagged("dataclass", ["os:system", {}]),
        tagged("dataclass", [f"{HERE}:Order.__init__", {}]),
        tagged("enum", [f"{HERE}:Trap", "name", "RED"]),
        tagged("enum", [f"{HERE}:Colour", "name", "GREEN"]),
        tagged("enum", [f"{HERE}:Colour", "value", 7]),
        tagged("namedtuple", [f"{HERE}:Point", [1]]),
        tagged("namedtuple", ["builtins:tuple", [1]]),
        tagged("model", [f"{HERE}:Order", {}]),
        tagged("model", [f"{HERE}:Model", {"__dict__": {"other": 1}}]),
        json.dumps({"$type": "dict"}),
        json.dumps({"$type": ["dict"], "value": []}),
        "9" * 10_000,
    ],
)
def test_what_otelflow_has_not_written_is_refused_and_nothing_of_it_runs(text):
    before = set(sys.modules)

    with pytest.raises(ResultUnreadable):
        loads(text)

    assert "antigravity" not in sys.modules
    news = {name for name in set(sys.modules) - before if not name.startswith("tzdata")}  # tables, of zoneinfo
    assert news <= {"_decimal", "decimal"}


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["$type", "value", "x"]), inner | tags),
    )
)
def test_of_any_json_a_value_or_one_kind_of_error_comes(plain):
    with contextlib.suppress(ResultUnreadable):
        loads(json.dumps(plain))


@dataclasses.dataclass
class Batch(list):
    name: str


@dataclasses.dataclass
class Trouble(Exception):
    name: str


class Slotted:
    __slots__ = ("hidden",)


@dataclasses.dataclass
class Above(Slotted):
    number: int


def above(**hidden):
    value = Above(1)
    for name, item in hidden.items():
        setattr(value, name, item)
    return value


@pytest.mark.parametrize("value", [Batch("a"), Trouble("a"), above(hidden=2)], ids=["list", "exception", "slot"])
def test_what_is_more_than_its_fields_is_refused(value):
    for form in (canonical, dumps):
        with pytest.raises(ResultNotStorable):
            form(value)
    assert loads(dumps(above())) == Above(1)
