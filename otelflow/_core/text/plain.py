"""Turn whatever a user hands over into plain JSON data: bounded in size, depth and time, and never raising.

Libraries are known by what their objects can do, never by an import: numpy, pandas, polars, pyarrow, pydantic, attrs.
What is nothing of all this is its own text.
"""

import itertools
import math
from collections import UserString, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from enum import Enum
from time import monotonic
from types import SimpleNamespace
from typing import Any, Final

from otelflow._core.text.safe_str import bounded_name, comes_from_outside, digits, safe_str, type_name

# Together they keep a run from standing still: what is larger is cut, and says so.
_ITEMS: Final = 1_000_000
_CHARACTERS: Final = 32 * 1024 * 1024
_DEPTH: Final = 64
_SECONDS: Final = 5.0
# The clock is looked at once in so many items.
_ITEMS_BETWEEN_LOOKS: Final = 256
_ROWS_AT_ONCE: Final = 1_000
# What is shown of something nested too deep
_EXCERPT: Final = 1_000
# An int with more bits is a text: readers of JSON refuse it, or make a float of it.
_INTEGER_BITS: Final = 2_000
# What an item takes at least, with what parts it from the next one
_LEAST_CHARACTERS: Final = 2
_CUT_KEY: Final = "…"
# Kinds of numpy's numbers and texts that Python has, too
_PLAIN_KINDS: Final = ("b", "i", "u", "f", "U")
_NONE: Final = object()


def plain(value: object, characters: int = _CHARACTERS) -> Any:
    """Return *value* as None, bool, int, finite float, str, list or dict with str keys, all the way down.

    Times are in ISO 8601, an Enum is its value, NaN and the infinities are texts, a data frame is a list of rows, a
    model or dataclass is a dict of its fields. What has more than *characters*, or very many items, is cut and says so.
    """
    return _Conversion(characters).convert(value, 0)


def is_structured(value: object) -> bool:
    """Tell whether ``plain`` makes more of *value* than a number or a text."""
    return any(_offers(value, names) for names in (*_FRAMES, *_ARRAYS)) or has_fields(value)


# What classes of libraries have, and nothing else is likely to have together
_PANDAS: Final = ("itertuples", "columns", "iloc")
_POLARS: Final = ("iter_rows", "columns", "height")
_ARROW: Final = ("to_pylist", "column_names", "to_batches")
_ARROW_BATCH: Final = ("to_pylist", "schema", "num_rows")
_FRAMES: Final = (_PANDAS, _POLARS, _ARROW, _ARROW_BATCH)
_ARRAY: Final = ("tolist", "shape", "dtype")
_SERIES: Final = ("to_list", "dtype", "__len__")
_ARROW_ARRAY: Final = ("to_pylist", "null_count", "slice")
_ARROW_SCALAR: Final = ("as_py", "is_valid")
_C_OBJECT: Final = ("__ctypes_from_outparam__", "_b_base_", "_b_needsfree_")
_C_ARRAY: Final = ("_length_", "_type_", "__ctypes_from_outparam__")
_C_STRUCTURE: Final = ("_fields_", "__ctypes_from_outparam__")
_ARGPARSE: Final = ("_get_args", "_get_kwargs", "__contains__")
_PYDANTIC: Final = ("model_dump", "model_fields")
_PYDANTIC_1: Final = ("dict", "__fields__")
_DATACLASS: Final = ("__dataclass_fields__",)
_ATTRS: Final = ("__attrs_attrs__",)
_STRUCT: Final = ("__struct_fields__",)  # of msgspec
_RECORDS: Final = (_PYDANTIC, _PYDANTIC_1, _DATACLASS, _ATTRS, _STRUCT, _C_STRUCTURE, _ARGPARSE)
_ARRAYS: Final = (_ARRAY, _SERIES, _ARROW_ARRAY, _C_ARRAY)


def frame_rows(value: object) -> Iterable[Any] | None:
    """Return the rows of *value* if it is a table of a library: a frame of pandas or polars, a table of pyarrow."""
    try:
        return next((rows(value) for names, rows in _ROWS if _offers(value, names)), None)
    except BaseException as error:  # what looks like a frame is foreign code, which may raise anything
        if comes_from_outside(error):
            raise
        return None


def _offers(value: object, names: tuple[str, ...]) -> bool:
    try:
        kind = type(value)
        return not isinstance(value, type) and all(hasattr(kind, name) for name in names)
    except BaseException as error:  # a metaclass is foreign code
        if comes_from_outside(error):
            raise
        return False


def has_fields(value: object) -> bool:
    """Tell whether ``plain`` makes a dict of the fields of *value*."""
    return issubclass(type(value), SimpleNamespace) or any(_offers(value, names) for names in _RECORDS)


class _Conversion:
    """One conversion: what is left of its bounds, and the containers that it is inside of."""

    def __init__(self, characters: int) -> None:
        self.items = min(_ITEMS, characters)
        self.characters = characters
        self.deadline = monotonic() + _SECONDS
        self.around: set[int] = set()

    def spend_item(self) -> bool:
        """Tell whether nothing more may be converted."""
        self.items -= 1
        self.characters -= _LEAST_CHARACTERS
        if self.items % _ITEMS_BETWEEN_LOOKS == 0 and monotonic() > self.deadline:
            self.items = 0
        return self.items <= 0 or self.characters <= 0

    def convert(self, value: Any, depth: int) -> Any:
        """Return *value* as plain data; *depth* containers are around it."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if value.bit_length() <= _INTEGER_BITS else self.text(digits(value))
        if kind is float:
            return value if math.isfinite(value) else repr(value).replace("nan", "NaN").replace("inf", "Infinity")
        if id(value) in self.around:
            return f"<{type_name(value)} that contains itself>"
        if depth >= _DEPTH:
            return self.text(value, _EXCERPT)
        self.around.add(id(value))
        try:
            return self.convert_object(value, depth)
        except BaseException as error:  # the value is foreign code, which may raise anything
            if comes_from_outside(error):
                raise
            return self.text(value, _EXCERPT)
        finally:
            self.around.discard(id(value))

    def text(self, value: object, limit: int = _CHARACTERS) -> str:
        """Return *value* as text, as long as there is room."""
        text = safe_str(value, min(limit, max(self.characters, _EXCERPT)))
        self.characters -= len(text)
        return text

    def convert_object(self, value: Any, depth: int) -> Any:
        """Return a *value* of any class as plain data; what its own code raises comes out."""
        for kinds, convert in _BY_KIND:
            if isinstance(value, kinds):
                return convert(self, value, depth)
        if type(value).__module__.partition(".")[0] == "datetime" or _offers(value, ("isoformat", "strftime")):
            return self.text(value.isoformat() if _offers(value, ("isoformat",)) else value)
        for names, rows in _ROWS:
            if _offers(value, names):
                return self.sequence(rows(value), len(value) if hasattr(value, "__len__") else None, depth)
        if _offers(value, _ARRAY):
            return self.array(value, depth)
        if _offers(value, _C_OBJECT):
            return self.object_of_c(value, depth)
        if _offers(value, _SERIES) or _offers(value, _ARROW_ARRAY):
            return self.sequence(iter(value), len(value), depth)
        if _offers(value, _ARROW_SCALAR):
            return self.convert(value.as_py(), depth + 1)
        fields = _fields(value)
        return self.text(value) if fields is None else self.mapping(fields, None, depth)

    def object_of_c(self, value: Any, depth: int) -> Any:
        """Return an object of ctypes as plain data, if its memory is its own: to read any other may end the process."""
        kind, owner = type(value), value
        while owner is not None and not owner._b_needsfree_:
            owner = None if hasattr(type(owner._b_base_), "contents") else owner._b_base_  # where a pointer leads to
        if owner is None or _leads_away(kind) or _leads_away(getattr(kind, "_type_", None)):
            return f"<{type_name(value)}>"  # its own text reads it, too
        if hasattr(kind, "_length_"):
            return self.sequence(iter(value), len(value), depth)
        if hasattr(kind, "_fields_"):
            return self.mapping(_fields(value) or (), None, depth)
        return self.convert(value.value, depth + 1) if hasattr(kind, "value") else self.text(value)

    def array(self, value: Any, depth: int) -> Any:
        """Return an array, or a number of a library, as plain data."""
        if value.shape:
            items = iter(value)
            if len(value.shape) == 1 and getattr(value.dtype, "kind", "") in _PLAIN_KINDS:
                # Many at once: to convert numpy's own one by one takes long.
                starts = range(0, len(value), _ROWS_AT_ONCE)
                items = itertools.chain.from_iterable(value[start : start + _ROWS_AT_ONCE].tolist() for start in starts)
            return self.sequence(items, len(value), depth)
        names = getattr(value.dtype, "names", None)
        if names:  # one row of a structured array
            return self.mapping(((name, value[name]) for name in names), len(names), depth)
        if getattr(value, "mask", False) is not False and value.mask:  # a masked value is not there
            return None
        item = value.item() if getattr(value.dtype, "kind", "") not in ("M", "m") else str(value)  # times: exact
        return self.text(value) if type(item) is type(value) else self.convert(item, depth + 1)

    def sequence(self, values: Iterable[Any], count: int | None, depth: int) -> list[Any]:
        """Return *values*, of which there are *count* if that is known."""
        converted: list[Any] = []
        for value in values:
            if self.spend_item():
                total = f" of {count:,} items" if count is not None else ""
                converted.append(f"… [cut after {len(converted):,}{total}]")
                break
            converted.append(self.convert(value, depth + 1))
        return converted

    def mapping(self, pairs: Iterable[tuple[Any, Any]], count: int | None, depth: int) -> dict[str, Any]:
        """Return *pairs* of keys and values, of which there are *count* if that is known."""
        converted: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for key, value in pairs:
            if self.spend_item():
                total = f" of {count:,} items" if count is not None else ""
                converted[_CUT_KEY] = f"[cut after {len(converted):,}{total}]"
                break
            name = _numbered(self.key(key), counts, converted)  # two keys may be one text
            converted[name] = self.convert(value, depth + 1)
        return converted

    def key(self, key: Any) -> str:
        """Return *key* as JSON has it: a text."""
        if type(key) is str:
            return self.text(key)
        key = key.value if isinstance(key, Enum) else key
        if key is None or isinstance(key, bool):
            return {None: "null", True: "true", False: "false"}[key]
        return self.text(key, _EXCERPT)


def _numbered(name: str, counts: dict[str, int], names: Container[str]) -> str:
    """Return *name* if it is not among *names* yet, else with its number; *counts* say how often each has come."""
    numbered = name
    while numbered in names:
        counts[name] = count = counts.get(name, 1) + 1
        numbered = f"{name} ({count})"
    return numbered


_BY_KIND: Final[tuple[tuple[Any, Callable[[_Conversion, Any, int], Any]], ...]] = (
    (Enum, lambda conversion, value, depth: conversion.convert(value.value, depth + 1)),
    (
        str | bytes | bytearray | memoryview,
        lambda conversion, value, _: conversion.text(bytes(value) if isinstance(value, memoryview) else value),
    ),
    (UserString, lambda conversion, value, _: conversion.text(value)),  # else a sequence of its own kind, for ever
    # Of a subclass, which may do other things than a number does.
    (int, lambda conversion, value, depth: conversion.convert(int.__int__(value), depth)),
    (float, lambda conversion, value, depth: conversion.convert(float.__float__(value), depth)),
    (Mapping, lambda conversion, value, depth: conversion.mapping(value.items(), len(value), depth)),
    (
        Sequence | AbstractSet | ValuesView | deque,
        lambda conversion, value, depth: conversion.sequence(value, len(value), depth),
    ),
)


def _pandas_rows(frame: Any) -> Iterable[Any]:
    names: dict[str, None] = {}
    counts: dict[str, int] = {}
    has_index = type(frame.index).__name__ != "RangeIndex"
    if has_index:
        name = getattr(frame.index, "name", None)
        names["index" if name is None else bounded_name(name)] = None
    for name in map(bounded_name, frame.columns):  # a frame may have two columns of one name
        names[_numbered(name, counts, names)] = None
    rows = frame.itertuples(index=has_index, name=None)
    return (dict(zip(names, row, strict=True)) for row in rows)


def _arrow_rows(batch: Any) -> Iterator[Any]:
    for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
        yield from batch.slice(start, _ROWS_AT_ONCE).to_pylist()


_ROWS: Final = (
    (_PANDAS, _pandas_rows),
    (_POLARS, lambda frame: frame.iter_rows(named=True)),
    (_ARROW_BATCH, _arrow_rows),
    (_ARROW, lambda table: itertools.chain.from_iterable(map(_arrow_rows, table.to_batches()))),
)


def _leads_away(kind: Any) -> bool:
    """Tell whether *kind* of ctypes is a pointer that is followed when its value is read: ``c_char_p`` and the like."""
    return getattr(kind, "_type_", None) in ("z", "Z", "O")


def _fields(value: Any) -> Iterable[tuple[str, Any]] | None:
    """Return the fields of a model, a dataclass, a class of attrs or a structure of C; None for anything else."""
    if _offers(value, _PYDANTIC):
        return list(value.model_dump().items())
    if _offers(value, _PYDANTIC_1):
        return list(value.dict().items())
    if _offers(value, _C_STRUCTURE):
        kinds = reversed(type(value).__mro__)
        fields = [field for kind in kinds for field in vars(kind).get("_fields_", ())]
        return [(name, kind.__name__ if _leads_away(kind) else getattr(value, name)) for name, kind, *_ in fields]
    if isinstance(value, SimpleNamespace) or _offers(value, _ARGPARSE):
        return list(vars(value).items())
    if not has_fields(value):
        return None
    if _offers(value, _DATACLASS):
        import dataclasses  # noqa: PLC0415 only for them

        names = [field.name for field in dataclasses.fields(value) if field.repr]
    elif _offers(value, _ATTRS):
        names = [field.name for field in type(value).__attrs_attrs__ if field.repr]
    else:  # a struct of msgspec
        names = list(type(value).__struct_fields__)
    # One that was never set is left out.
    pairs = ((name, getattr(value, name, _NONE)) for name in names)
    return [(name, item) for name, item in pairs if item is not _NONE]
