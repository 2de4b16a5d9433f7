"""Plain JSON data of whatever a program has: by value, bounded, and whatever the objects do."""

import argparse
import collections
import ctypes
import dataclasses
import datetime as dt
import enum
import json
import math
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from otelflow._core.text.plain import frame_rows, is_structured, plain


class Color(enum.Enum):
    RED = "red"


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


class Named(Point):
    _fields_ = (("name", ctypes.c_char_p), ("sizes", ctypes.c_int * 2))


class Line(ctypes.Structure):
    _fields_ = (("begin", Point), ("rest", Point * 1))


@dataclasses.dataclass
class Order:
    number: int
    at: object
    password: str = dataclasses.field(default="x", repr=False)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC), "2024-01-02T03:00:00+00:00"),
        (dt.time(1, 2), "01:02:00"),
        (Color.RED, "red"),
        ({Color.RED: 1, None: 2, 1.5: 3, False: 4}, {"red": 1, "null": 2, "1.5": 3, "false": 4}),
        (Order(1, dt.date(2024, 1, 2)), {"number": 1, "at": "2024-01-02"}),
        (collections.deque([1, (2,)]), [1, [2]]),
        (collections.UserDict(a={1}), {"a": [1]}),
        (collections.UserString("ab"), "ab"),
        ({"a": 1}.values(), [1]),
        (SimpleNamespace(a={2}), {"a": [2]}),
        (argparse.Namespace(a=1), {"a": 1}),
        (Named(1, 2.5, b"x"), {"x": 1, "y": 2.5, "name": "c_char_p", "sizes": [0, 0]}),
        (Line(Point(1, 2.5), (Point(3, 4.5),)), {"begin": {"x": 1, "y": 2.5}, "rest": [{"x": 3, "y": 4.5}]}),
        (Line(Point(1, 2.5)).begin, {"x": 1, "y": 2.5}),
        ((Point * 1)(), [{"x": 0, "y": 0.0}]),
        (ctypes.c_int(5), 5),
        (ctypes.c_void_p(), None),
        (memoryview(b"ab"), "ab"),
        (math.inf, "Infinity"),
        ("caf\udce9", "caf\\udce9"),
        (-(10**5_000), "-1" + "0" * 5_000),
        (object, "<class 'object'>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_keep_their_meaning(value, data):
    assert plain(value) == data


NOWHERE = """
import ctypes
from otelflow._core.text.plain import plain

class Named(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("wide", ctypes.c_wchar_p))

named = Named(7)
for offset in (Named.name.offset, Named.wide.offset):
    ctypes.c_void_p.from_buffer(named, offset).value = 16
pointer = ctypes.cast(16, ctypes.POINTER(Named))
print(plain(named))
for value in (
    ctypes.cast(16, ctypes.c_char_p), ctypes.cast(16, ctypes.c_wchar_p), pointer, pointer.contents,
    pointer.contents.__class__.from_address(16), ctypes.c_int.from_address(16), (ctypes.c_int * 2).from_address(16),
    ctypes.cast((ctypes.c_void_p * 2)(16, 16), ctypes.POINTER(ctypes.c_char_p * 2)).contents,
    (ctypes.c_char_p * 2).from_buffer((ctypes.c_void_p * 2)(16, 16)),
):
    print(type(plain([value])[0]).__name__)
"""


def test_no_pointer_is_followed_since_where_it_leads_to_may_be_gone():
    done = subprocess.run([sys.executable, "-c", NOWHERE], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["{'number': 7, 'name': 'c_char_p', 'wide': 'c_wchar_p'}", *["str"] * 9]


class Raising:
    """Raises what it is given, in whatever it is asked."""

    def __init__(self, error):
        vars(self)["error"] = error

    def __repr__(self):
        raise vars(self)["error"]

    __str__ = __len__ = __iter__ = __bool__ = __repr__

    def __eq__(self, other):
        raise vars(self)["error"]

    def __hash__(self):
        raise vars(self)["error"]

    @property
    def __class__(self):
        raise vars(self)["error"]


class RaisingDict(dict):
    def items(self):
        raise SystemExit("in items()")


@pytest.mark.parametrize("error", [SystemExit(3), ValueError(), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"a": (value,)}], ids="abc")
def test_an_object_may_raise_anything(error, wrap):
    json.dumps(plain(wrap(Raising(error))), allow_nan=False)


def test_a_container_may_raise_anything():
    assert plain([RaisingDict(a=1)]) == ["{'a': 1}"]


def test_ctrl_c_while_an_object_is_shown_comes_out():
    with pytest.raises(KeyboardInterrupt):
        plain([Raising(KeyboardInterrupt())])


class Endless(dict):
    def items(self):
        while True:
            yield 1, "x" * 1_000


@pytest.mark.parametrize(
    "value", [Endless(), [[1] * 1_000] * 100_000, "x" * 100_000_000], ids=["endless", "wide", "long"]
)
def test_what_is_too_large_is_cut_and_says_so_in_bounded_time(value):
    began = time.perf_counter()

    data = json.dumps(plain(value))

    assert time.perf_counter() - began < 30
    assert len(data) < 100_000_000
    assert "cut" in data


def test_what_is_nested_too_deep_is_shown_as_text():
    deep = []
    for _ in range(50_000):
        deep = [deep]

    text = json.dumps(plain(deep))
    assert text.startswith("[[[")
    assert 100 < len(text) < 100_000


def test_numpy_pandas_and_polars_are_known_by_what_they_can_do():
    numpy, pandas, polars = map(pytest.importorskip, ("numpy", "pandas", "polars"))

    assert plain([numpy.int64(3), numpy.float32(1.5), numpy.bool_(True), numpy.array([[1, 2]])]) == [
        3,
        1.5,
        True,
        [[1, 2]],
    ]
    assert plain(numpy.datetime64("2024-01-01T00:00:00.000000001")) == "2024-01-01T00:00:00.000000001"
    rows = [{"a": 1, "b": "2024-01-01T00:00:00"}, {"a": 2, "b": "NaT"}]
    assert plain(pandas.DataFrame({"a": [1, 2], "b": [pandas.Timestamp("2024-01-01"), pandas.NaT]})) == rows
    assert plain(pandas.Series([1, 2])) == plain(polars.Series([1, 2])) == [1, 2]
    assert plain(polars.DataFrame({"x": [1, None]})) == [{"x": 1}, {"x": None}]


def test_what_is_masked_is_none_and_a_row_of_a_structured_array_has_its_names():
    numpy = pytest.importorskip("numpy")

    assert plain(numpy.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])) == [[1, None], [3, 4]]
    assert plain(numpy.ma.masked) is None
    assert plain(numpy.arange(3_000)) == list(range(3_000))
    assert plain(numpy.array(["a", "b"])) == ["a", "b"]
    assert plain(numpy.array([float("nan"), 1.5])) == ["NaN", 1.5]
    assert plain(numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])) == [{"a": 1, "b": 2.5}]


def test_two_columns_of_one_name_keep_their_values():
    pandas = pytest.importorskip("pandas")

    assert plain(pandas.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])) == [{"a": 1, "b": 2, "a (2)": 3}]


def test_what_arrow_has_is_data_whatever_its_class():
    pyarrow = pytest.importorskip("pyarrow")

    assert plain(pyarrow.table({"a": [1, None]})) == [{"a": 1}, {"a": None}]
    assert plain(pyarrow.record_batch({"a": list(range(2_500))})) == [{"a": number} for number in range(2_500)]
    assert plain([pyarrow.array([1, None]), pyarrow.chunked_array([[1], [2]]), pyarrow.scalar("x")]) == [
        [1, None],
        [1, 2],
        "x",
    ]


def test_a_struct_of_msgspec_is_its_fields():
    msgspec = pytest.importorskip("msgspec")

    assert plain(msgspec.defstruct("Order", [("number", int)])(3)) == {"number": 3}


def test_a_model_is_its_fields():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        number: int
        secret: pydantic.SecretStr

    assert plain(Model(number=1, secret="x")) == {"number": 1, "secret": "**********"}


def test_each_item_takes_of_the_room_that_is_left():
    assert plain([1] * 1_000, 100)[-1] == "… [cut after 49 of 1,000 items]"


def test_of_what_is_nested_sixty_four_containers_stay():
    deep = ["core"]
    for _ in range(70):
        deep = [deep]
    data, depth = plain(deep), 0
    while isinstance(data, list):
        data, depth = data[0], depth + 1

    assert depth == 64
    assert data == "[[[[[[[...]]]]]]]"


class Number(int):
    """A whole number of a library."""


class Model:
    """A class of attrs."""

    __attrs_attrs__ = (SimpleNamespace(name="name", repr=True), SimpleNamespace(name="password", repr=False))

    def __init__(self):
        self.name, self.password = Number(7), "x"


def test_a_class_of_attrs_is_its_fields_but_for_those_that_it_hides():
    assert plain(Model()) == {"name": 7}
    assert type(plain(Model())["name"]) is int


class Frame:
    """What a data frame has."""

    columns = ("a", "a")
    iloc = None

    def __init__(self, name):
        self.index = SimpleNamespace(name=name)

    def itertuples(self, *, index, name):
        return iter([(0, 1, 2)] if index else [(1, 2)])


@pytest.mark.parametrize(("name", "shown"), [("day", "day"), (None, "index")])
def test_the_index_of_a_data_frame_is_its_first_column(name, shown):
    (row,) = plain(Frame(name))

    assert list(row.items()) == [(shown, 0), ("a", 1), ("a (2)", 2)]


class Interrupted(type):
    def __getattr__(cls, name):
        raise KeyboardInterrupt


def test_ctrl_c_in_a_metaclass_comes_out():
    class Odd(metaclass=Interrupted):
        pass

    with pytest.raises(KeyboardInterrupt):
        plain(Odd())


class Table:
    """What a data frame of polars has."""

    columns = ("a",)
    height = 1

    def iter_rows(self, *, named=False):
        return iter([{"a": 1}] if named else [(1,)])


class Broken(Table):
    """A table that raises what it is given."""

    def __init__(self, error):
        self.error = error

    def iter_rows(self, *, named=False):
        raise self.error


class Column:
    """What a column of a library has."""

    dtype = "int"

    def to_list(self):
        return [1, 2]

    def __len__(self):
        return 2

    def __iter__(self):
        return iter((1, 2))


def test_the_rows_of_a_table_have_their_names_and_a_column_is_a_list():
    assert plain(Table()) == [{"a": 1}]
    assert list(frame_rows(Table())) == [{"a": 1}]
    assert plain(Column()) == [1, 2]
    assert frame_rows([{"a": 1}]) is None


def test_a_table_that_raises_is_none_and_ctrl_c_comes_out_of_it():
    assert frame_rows(Broken(SystemExit(1))) is None
    with pytest.raises(KeyboardInterrupt):
        frame_rows(Broken(KeyboardInterrupt()))


@pytest.mark.parametrize(
    ("value", "is_more"),
    [
        (Table(), True),
        (Column(), True),
        (Model(), True),
        (Order(1, 2), True),
        (1, False),
        ("x", False),
        ([1], False),
        ({"a": 1}, False),
        (object(), False),
        (Order, False),
        (Table, False),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_more_than_a_number_or_a_text_is_known_by_its_class(value, is_more):
    assert is_structured(value) is is_more


def test_a_dict_counts_as_a_container_around_what_is_in_it():
    deep = "core"
    for _ in range(71):
        deep = {"a": deep}
    data, depth = plain(deep), 0
    while isinstance(data, dict):
        data, depth = data["a"], depth + 1

    assert depth == 64
    assert data == "{'a': {'a': {'a': {'a': {'a': {'a': {...}}}}}}}"


def test_of_a_dict_as_much_is_kept_as_there_is_room_for():
    assert plain({str(number): number for number in range(1_000)}, 100)["…"].endswith(" of 1,000 items]")


def test_what_takes_too_long_is_cut(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("otelflow._core.text.plain.monotonic", lambda: now[0])

    def slow():
        for number in range(10_000):
            now[0] += 0.01
            yield number

    class Slow(collections.UserList):
        def __iter__(self):
            return slow()

    data = plain(Slow(range(10_000)))

    assert 500 <= len(data) - 1 <= 500 + 256
    assert data[-1] == f"… [cut after {len(data) - 1:,} of 10,000 items]"


def test_keys_that_are_one_text_all_stay():
    assert plain({1: "a", "1": "b", "1 (2)": "c", None: "d", "null": "e"}) == {
        "1": "a",
        "1 (2)": "b",
        "1 (2) (2)": "c",
        "null": "d",
        "null (2)": "e",
    }
