"""The arguments of what is submitted: which futures are in them, and what comes in their place."""

import dataclasses
import importlib.util
import itertools
import types
from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow import as_completed, task, wait
from otelflow._core.flows.future_arguments import futures_in, resolved, rows_of
from otelflow.errors import NotSubmittable

ONE = task(abs).submit(-1)
ONE.wait(30)


class Pair(NamedTuple):
    left: object
    right: object


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just(ONE)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=12,
)


def model(value):
    """Return *value* with 1 in the place of the future."""
    if value is ONE:
        return 1
    if isinstance(value, Pair):
        return Pair(*map(model, value))
    if isinstance(value, dict):
        return {key: model(item) for key, item in value.items()}
    return type(value)(map(model, value)) if isinstance(value, list | tuple) else value


@given(VALUES)
def test_each_future_becomes_its_result_and_nothing_else_changes(value):
    assert resolved(value) == model(value)
    assert type(resolved(value)) is type(model(value))
    assert (resolved(value) is value) == (not list(futures_in(value)))


@pytest.mark.parametrize("value", ["text", b"bytes", range(3), {1: 2}, object()])
def test_what_holds_no_future_is_the_same_object(value):
    assert resolved(value) is value


class Rows(list):
    pass


@dataclasses.dataclass
class Node:
    value: object
    above: object = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (defaultdict(list, a=ONE), defaultdict(list, a=1)),
        (OrderedDict(b=ONE, a=2), OrderedDict(b=1, a=2)),
        (deque([ONE, 2], maxlen=2), deque([1, 2], maxlen=2)),
        (Rows([ONE]), Rows([1])),
        ({ONE, 2}, {1, 2}),
        (frozenset([ONE]), frozenset([1])),
        (Node([ONE]), Node([1])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_container_stays_of_its_kind(value, expected):
    copy = resolved(value)

    assert (type(copy), copy) == (type(expected), expected)
    assert getattr(copy, "default_factory", None) is getattr(expected, "default_factory", None)
    assert getattr(copy, "maxlen", None) == getattr(expected, "maxlen", None)
    assert list(futures_in(value)) == [ONE]


@dataclasses.dataclass
class Priced:
    value: object
    currency: dataclasses.InitVar[str]
    label: str = dataclasses.field(init=False, default="")

    def __post_init__(self, currency):
        self.label = currency


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: object


@dataclasses.dataclass
class OwnInit:
    value: object

    def __init__(self, other):
        self.value, self.more = other, [other]


@dataclasses.dataclass
class Sum:
    value: object
    total: object = dataclasses.field(init=False, default=None)

    def __post_init__(self):
        self.total = self.value if isinstance(self.value, int) else None


class OwnTuple(tuple):  # noqa: SLOT001 it has attributes
    def __new__(cls, *items):
        made = super().__new__(cls, items)
        made.note = "kept"
        return made


class OwnPair(NamedTuple("OwnPair", [("left", object), ("right", object)])):
    __slots__ = ()

    def __new__(cls, both):
        return super().__new__(cls, *both)


class OwnSet(set):
    __slots__ = ("note",)

    def __init__(self, items, *, note):
        super().__init__(items)
        self.note = note


class OwnFrozenSet(frozenset):
    def __new__(cls, items, note):
        made = super().__new__(cls, items)
        made.note = note
        return made


class OwnList(list):
    def __init__(self, *, note):
        super().__init__()
        self.note = note

    def __setitem__(self, place, value):
        raise TypeError("it is read-only")


class OwnDict(OrderedDict):
    def __init__(self, name):
        super().__init__()
        self.name = name


class OwnDefault(defaultdict):
    def __init__(self, name):
        super().__init__(list)
        self.name = name

    def __copy__(self):
        raise TypeError("there is one of it")


class OwnDeque(deque):
    def __init__(self, *, note):
        super().__init__(maxlen=3)
        self.note = note

    def __copy__(self):
        raise TypeError("there is one of it")


def filled(container, value):
    add = getattr(container, "append", None)
    if add is None:
        container["key"] = value
    else:
        add(value)
    return container


def later(value):
    total = Sum("none")
    total.total = value
    return total


MADE_IN_THEIR_OWN_WAY = {
    "InitVar": lambda value: Priced(value, "EUR"),
    "frozen with slots": Frozen,
    "own __init__": OwnInit,
    "computed": Sum,
    "set later": later,
    "tuple": lambda value: OwnTuple(value, 2),
    "namedtuple": lambda value: OwnPair((value, 2)),
    "set": lambda value: OwnSet([value], note="n"),
    "frozenset": lambda value: OwnFrozenSet([value], "n"),
    "list": lambda value: filled(OwnList(note="n"), value),
    "OrderedDict": lambda value: filled(OwnDict("n"), value),
    "defaultdict": lambda value: filled(OwnDefault("n"), value),
    "deque": lambda value: filled(OwnDeque(note="n"), value),
    "namespace": lambda value: types.SimpleNamespace(value=value, other=2),
    "read-only dict": lambda value: types.MappingProxyType({"key": value}),
    "UserDict": lambda value: UserDict(key=value),
    "UserList": lambda value: UserList([value]),
    "ChainMap": lambda value: ChainMap({"key": value}, {"other": value}),
}


@pytest.mark.parametrize("make", MADE_IN_THEIR_OWN_WAY.values(), ids=MADE_IN_THEIR_OWN_WAY)
def test_what_is_made_in_its_own_way_holds_the_result_and_all_else_that_it_held(make):
    value, expected = make(ONE), make(1)

    copy = resolved([value])[0]

    assert type(copy) is type(expected)
    if isinstance(value, OwnInit):
        expected.more = value.more  # no field of it
    assert copy == expected or isinstance(copy, Priced | types.MappingProxyType)
    assert getattr(copy, "__dict__", {}) == getattr(expected, "__dict__", {})
    assert [getattr(copy, name, None) for name in ("note", "label", "maxlen", "default_factory", "total")] == [
        getattr(expected, name, None) for name in ("note", "label", "maxlen", "default_factory", "total")
    ]
    assert list(futures_in(copy)) == []
    assert ONE in futures_in(value)


def test_objects_of_attrs_pydantic_and_msgspec_hold_the_results():
    attrs, pydantic = pytest.importorskip("attrs"), pytest.importorskip("pydantic")

    @attrs.frozen
    class Point:
        x: object
        y: int = 2

    class Model(pydantic.BaseModel):
        x: object
        y: int = 2

    kinds = [Point, Model]
    if importlib.util.find_spec("msgspec") is not None:
        struct = importlib.import_module("msgspec").defstruct
        kinds.append(struct("Struct", [("x", object), ("y", int, 2)], frozen=True))

    for kind in kinds:
        copy = resolved({"at": kind(x=[ONE])})["at"]
        assert copy == kind(x=[1]), kind


def test_the_values_of_a_dict_of_futures_become_a_list():
    assert resolved({"a": ONE}.values()) == [1]
    assert resolved({"a": ONE}.items()) == [("a", 1)]


def test_what_a_map_returns_becomes_a_list():
    assert type(resolved(task(abs).map([-1]))) is list


def test_a_list_that_holds_itself_does_so_afterwards():
    rows = [ONE, {}]
    rows += [rows, (rows, ONE)]
    rows[1]["rows"] = rows

    copy = resolved(rows)
    assert copy[0] == 1
    assert copy[2] is copy
    assert copy[1]["rows"] is copy
    assert copy[3][0] is copy
    assert copy[3][1] == 1
    assert rows[0] is ONE


def test_an_object_that_holds_itself_is_no_endless_loop():
    node = Node(ONE)
    node.above = node

    copy = resolved(node)
    assert copy.value == 1
    assert copy.above is node


def test_a_wide_ring_is_looked_through_once():
    ring = [ONE]
    for _ in range(15):
        ring = [ring, ring, ring, ring]
    ring.append(ring)

    assert list(futures_in(ring)) == [ONE]
    assert resolved(ring)[4] is not ring


def test_an_endless_generator_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr("otelflow._core.flows.future_arguments._MOST_UNCOUNTED", 1_000)
    with pytest.raises(NotSubmittable, match="more than 1,000 items, and nothing tells how many"):
        rows_of("double", (itertools.count(),), {})

    assert len(rows_of("double", (range(1_500),), {})) == 1_500
    assert len(rows_of("double", (iter(range(900)),), {})) == 900


def test_what_is_no_future_is_named_by_who_waits_for_it():
    with pytest.raises(TypeError, match="3 is no future: give what"):
        wait([ONE, 3])
    with pytest.raises(TypeError, match="'abc' is no future: give what"):
        list(as_completed(["abc"]))
