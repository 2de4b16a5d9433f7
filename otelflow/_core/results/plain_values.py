"""Values as JSON holds them, so that exactly the same value comes back: what JSON lacks is tagged with its type.

Reading runs no code of the file's choice: a class is taken only where its module is imported already, and its objects
are filled in without a call of theirs.
"""

import base64
import dataclasses
import enum
import functools
import json
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from otelflow._core.process.program import module_name, modules_called
from otelflow._core.text import classes
from otelflow._core.text.safe_str import brief_repr, comes_from_outside
from otelflow.errors import ResultNotStorable, ResultUnreadable

_TAG: Final = "$type"
_VALUE: Final = "value"
_TOO_DEEP: Final = "is nested too deep, or refers to itself"
# Python reads no longer number from text, unless it is hexadecimal
_LONGEST_INT: Final = 10**4_000


def dumps(value: object) -> str:
    """Return *value* as JSON. Raises ResultNotStorable that names the part that JSON cannot hold."""
    return _text(_Encoder().plain(value))


def canonical(value: object) -> str:
    """Return a text that is the same for equal values in every process, whatever the order of a dict or set.

    Raises ResultNotStorable as ``dumps`` does.
    """
    return _text(_Encoder(is_canonical=True).plain(value), sort_keys=True)


def loads(text: str | bytes) -> Any:
    """Return the value that ``dumps`` has made *text* of. Raises ResultUnreadable."""
    try:
        return _value_of(json.loads(text))
    except ResultUnreadable:
        raise
    except RecursionError:
        raise ResultUnreadable("it is nested too deep") from None
    except Exception as error:  # in a file may stand anything, and each type refuses it in its own way
        if comes_from_outside(error):
            raise
        raise ResultUnreadable(f"it is not what otelflow writes: {brief_repr(str(error), 200)}") from None


def _text(plain: object, *, sort_keys: bool = False) -> str:
    try:
        return json.dumps(plain, separators=(",", ":"), sort_keys=sort_keys)
    except RecursionError:
        raise ResultNotStorable("", _TOO_DEEP) from None


class _Encoder:
    """Makes plain values; ``place`` is where it is in the value, for the error."""

    def __init__(self, *, is_canonical: bool = False) -> None:
        self.is_canonical = is_canonical
        self.place: list[str] = []

    def plain(self, value: object) -> Any:
        """Return what JSON holds in the place of the whole *value*."""
        try:
            return self._plain(value)
        except RecursionError:
            raise ResultNotStorable("", _TOO_DEEP) from None

    def inner(self, step: str, value: object) -> Any:
        """Return what JSON holds in the place of *value*, which is a part, reached by *step*."""
        self.place.append(step)
        plain = self._plain(value)
        self.place.pop()
        return plain

    def items(self, values: Any) -> list[Any]:
        """Return the plain items of *values* in their order."""
        return [self.inner(f"[{number}]", item) for number, item in enumerate(values)]

    def pairs(self, values: Mapping[Any, Any], *, is_ordered: bool = False) -> list[Any]:
        """Return keys and values as pairs."""
        pairs = [
            [self.inner(".keys()", key), self.inner(f"[{brief_repr(key, 40)}]", item)] for key, item in values.items()
        ]
        return sorted(pairs, key=_sort_key) if self.is_canonical and not is_ordered else pairs

    def refuse(self, reason: str) -> ResultNotStorable:
        """Return the error that says why the value at this place cannot be held."""
        return ResultNotStorable("".join(self.place), reason)

    def _plain(self, value: object) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            if _is_whole(value):  # type: ignore[arg-type]  # type() says it
                return value
            return _tagged("text", base64.b64encode(value.encode("utf-8", "surrogatepass")).decode())  # type: ignore[attr-defined]
        if kind is int:
            is_short = -_LONGEST_INT < value < _LONGEST_INT  # type: ignore[operator]  # type() says it
            return value if is_short else _tagged("int", hex(value))  # type: ignore[arg-type]
        if kind is float:
            is_finite = value - value == 0  # type: ignore[operator]
            return value if is_finite else _tagged("float", repr(value))
        if kind is list:
            return self.items(value)
        if kind is dict:
            names: Mapping[Any, Any] = value  # type: ignore[assignment]  # type() says it
            if all(type(key) is str and _is_whole(key) for key in names) and _TAG not in names:
                return {key: self.inner(f"[{brief_repr(key, 40)}]", item) for key, item in names.items()}
            return _tagged("dict", self.pairs(names))
        encoder = _ENCODERS.get(kind)
        if encoder is not None:
            return _tagged(encoder[0], encoder[1](self, value))
        return self._plain_object(value)

    def _plain_object(self, value: Any) -> Any:
        """Return the plain form of an object of a user's class: an enum, a dataclass, a named tuple, a model."""
        kind = type(value)
        if isinstance(value, enum.Enum):
            by_name = kind.__members__.get(value.name or "") is value
            member = ["name", value.name] if by_name else ["value", self.inner(".value", value.value)]
            return _tagged("enum", [self._class_name(kind), *member])
        if isinstance(value, tuple) and hasattr(kind, "_fields") and not getattr(value, "__dict__", None):
            return _tagged("namedtuple", [self._class_name(kind), self.items(tuple(value))])
        if dataclasses.is_dataclass(kind) and not _has_content(kind):
            return _tagged("dataclass", [self._class_name(kind), self._fields(value)])
        model = _base_model()
        if model is not None and isinstance(value, model) and kind.__getstate__ is model.__getstate__:
            return _tagged("model", [self._class_name(kind), self.inner("", value.__getstate__())])
        name = f"{kind.__module__}.{kind.__qualname__}"
        raise self.refuse(f"is of the type {name}, which JSON cannot hold so that exactly the same comes back")

    def _fields(self, value: Any) -> dict[str, Any]:
        fields = [field.name for field in dataclasses.fields(value)]
        names = list(getattr(value, "__dict__", ()))
        for base in type(value).__mro__:
            slots = vars(base).get("__slots__", ())
            slots = [slots] if isinstance(slots, str) else slots
            names += [slot for slot in slots if slot not in ("__dict__", "__weakref__") and hasattr(value, slot)]
        for name in names:
            if name not in fields and not isinstance(getattr(type(value), name, None), functools.cached_property):
                raise self.refuse(f"has the attribute {name!r}, which is no field of {type(value).__qualname__}")
        return {name: self.inner(f".{name}", getattr(value, name)) for name in fields if hasattr(value, name)}

    def _class_name(self, kind: type) -> str:
        name = f"{module_name(kind.__module__)}:{kind.__qualname__}"
        if not self.is_canonical and _class_called(name) is not kind:
            raise self.refuse(f"is of the class {kind.__qualname__}, which cannot be imported from {kind.__module__}")
        return name


def _has_content(kind: type) -> bool:
    """Tell whether an instance of *kind* is more than its attributes: a list, an exception or the like, too."""
    return not all(classes.is_made_here(base) for base in kind.__mro__ if base is not object)


def _is_whole(text: str) -> bool:
    """Tell whether no half a character is in *text*: JSON makes one of two that meet."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tagged(tag: str, plain: object) -> dict[str, object]:
    return {_TAG: tag, _VALUE: plain}


def _sort_key(plain: object) -> str:
    return json.dumps(plain, sort_keys=True)


def plain_set(encoder: _Encoder, value: Any) -> list[Any]:
    """Return the items in an order that is the same in every process."""
    return sorted((encoder.inner("{…}", item) for item in value), key=_sort_key)  # never in the order of a hash


def plain_datetime(encoder: _Encoder, value: datetime) -> list[Any]:
    """Return the time without its zone, which of two equal ones it is, and its zone."""
    return [value.replace(tzinfo=None).isoformat(), value.fold, plain_zone(encoder, value.tzinfo)]


def plain_time(encoder: _Encoder, value: time) -> list[Any]:
    """Do as for a datetime."""
    return [value.replace(tzinfo=None).isoformat(), value.fold, plain_zone(encoder, value.tzinfo)]


def plain_zone(encoder: _Encoder, zone: tzinfo | None) -> Any:
    """Return the name of a zone, or its offset."""
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]  # not in its stub
        return [plain_timedelta(encoder, offset), *name]
    raise encoder.refuse(f"has a time zone of the type {type(zone).__qualname__}; take zoneinfo.ZoneInfo")


def plain_timedelta(_: _Encoder, value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def plain_bytes(_: _Encoder, value: bytes) -> str:
    """Return base64."""
    return base64.b64encode(value).decode()


def plain_str(_: _Encoder, value: object) -> str:
    """Return the text from which an equal value can be made."""
    return str(value)


_ENCODERS: Final[Mapping[type, tuple[str, Callable[[_Encoder, Any], Any]]]] = {
    tuple: ("tuple", _Encoder.items),
    set: ("set", plain_set),
    frozenset: ("frozenset", plain_set),
    bytes: ("bytes", plain_bytes),
    bytearray: ("bytearray", plain_bytes),
    complex: ("complex", lambda encoder, value: encoder.items([value.real, value.imag])),
    range: ("range", lambda _, value: [value.start, value.stop, value.step]),
    datetime: ("datetime", plain_datetime),
    date: ("date", lambda _, value: value.isoformat()),
    time: ("time", plain_time),
    timedelta: ("timedelta", plain_timedelta),
    timezone: ("timezone", plain_zone),
    ZoneInfo: ("timezone", plain_zone),
    Decimal: ("decimal", plain_str),
    Fraction: ("fraction", lambda encoder, value: encoder.items([value.numerator, value.denominator])),
    UUID: ("uuid", plain_str),
    OrderedDict: ("OrderedDict", lambda encoder, value: encoder.pairs(value, is_ordered=True)),
    Counter: ("Counter", _Encoder.pairs),
    deque: ("deque", lambda encoder, value: [encoder.items(value), value.maxlen]),
    PosixPath: ("path", plain_str),
    WindowsPath: ("path", plain_str),
    PurePosixPath: ("PurePosixPath", plain_str),
    PureWindowsPath: ("PureWindowsPath", plain_str),
}


# Reading


def _value_of(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_value_of(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    tag = plain.get(_TAG)
    if tag is None:
        return {key: _value_of(item) for key, item in plain.items()}
    return _DECODERS[tag](plain[_VALUE])


def _pairs_of(plain: Any) -> list[tuple[Any, Any]]:
    return [(_value_of(key), _value_of(item)) for key, item in plain]


def zone_of(plain: Any) -> tzinfo | None:
    """Return the zone of this name or offset."""
    if plain is None:
        return None
    if isinstance(plain, str):
        return ZoneInfo(plain)
    offset, *name = plain
    return timezone(timedelta(*offset), *name) if name or any(offset) else UTC


def datetime_of(plain: Any) -> datetime:
    """Return what ``plain_datetime`` was told."""
    text, fold, zone = plain
    return datetime.fromisoformat(text).replace(tzinfo=zone_of(zone), fold=fold)


def time_of(plain: Any) -> time:
    """Return what ``plain_time`` was told."""
    text, fold, zone = plain
    return time.fromisoformat(text).replace(tzinfo=zone_of(zone), fold=fold)


def enum_of(plain: Any) -> Any:
    """Return the member of an Enum."""
    name, kind_of_key, key = plain
    kind = _checked_class(name, lambda kind: issubclass(kind, enum.Enum))
    return kind.__members__[key] if kind_of_key == "name" else kind(_value_of(key))


def namedtuple_of(plain: Any) -> Any:
    """Return a named tuple, of whose class nothing is called."""
    kind = _checked_class(plain[0], lambda kind: issubclass(kind, tuple) and hasattr(kind, "_fields"))
    items = _value_of(plain[1])
    if len(items) != len(kind._fields):
        raise ResultUnreadable(f"{kind.__qualname__} has other fields now")
    return tuple.__new__(kind, items)


def dataclass_of(plain: Any) -> Any:
    """Return an object of a dataclass, made without a call of its methods."""
    kind = _checked_class(plain[0], dataclasses.is_dataclass)
    fields = {field.name for field in dataclasses.fields(kind)}
    if not set(plain[1]) <= fields:
        raise ResultUnreadable(f"{kind.__qualname__} has other fields now")
    value = object.__new__(kind)
    for name, item in plain[1].items():
        object.__setattr__(value, name, _value_of(item))
    if any(not hasattr(value, name) for name in fields):
        raise ResultUnreadable(f"{kind.__qualname__} has other fields now")
    return value


def model_of(plain: Any) -> Any:
    """Return a pydantic model; what is called is pydantic's own."""
    model = _base_model()
    kind = _checked_class(plain[0], lambda kind: model is not None and issubclass(kind, model))
    state = _value_of(plain[1])
    if set(state["__dict__"]) != set(kind.model_fields):
        raise ResultUnreadable(f"{kind.__qualname__} has other fields now")
    value = kind.__new__(kind)
    value.__setstate__(state)  # pydantic's own, which calls nothing of the class
    return value


def _base_model() -> Any:
    pydantic = sys.modules.get("pydantic")  # without it, no object is a model
    return None if pydantic is None else getattr(pydantic, "BaseModel", None)


def _class_called(name: str) -> object:
    """Return what is called *name* (``module:qualified.name``) in a module that is imported, or None."""
    module, _, qualified_name = name.rpartition(":")
    for place in modules_called(module):
        item: Any = place
        for part in qualified_name.split("."):
            item = getattr(item, "__dict__", {}).get(part)  # no module's own __getattr__ is called
        if item is not None:
            return item
    return None


def _checked_class(name: str, is_fitting: Callable[[Any], bool]) -> Any:
    kind = _class_called(name)
    if not isinstance(kind, type) or not is_fitting(kind):
        raise ResultUnreadable(f"its class {brief_repr(name, 80)} is not here: import the module that has it before")
    return kind


_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "int": lambda plain: int(plain, 16),
    "text": lambda plain: base64.b64decode(plain, validate=True).decode("utf-8", "surrogatepass"),
    "float": float,
    "dict": lambda plain: dict(_pairs_of(plain)),
    "tuple": lambda plain: tuple(_value_of(plain)),
    "set": lambda plain: set(_value_of(plain)),
    "frozenset": lambda plain: frozenset(_value_of(plain)),
    "bytes": lambda plain: base64.b64decode(plain, validate=True),
    "bytearray": lambda plain: bytearray(base64.b64decode(plain, validate=True)),
    "complex": lambda plain: complex(*_value_of(plain)),
    "range": lambda plain: range(*plain),
    "datetime": datetime_of,
    "date": date.fromisoformat,
    "time": time_of,
    "timedelta": lambda plain: timedelta(*plain),
    "timezone": zone_of,
    "decimal": Decimal,
    "fraction": lambda plain: Fraction(*_value_of(plain)),
    "uuid": UUID,
    "OrderedDict": lambda plain: OrderedDict(_pairs_of(plain)),
    "Counter": lambda plain: Counter(dict(_pairs_of(plain))),
    "deque": lambda plain: deque(_value_of(plain[0]), plain[1]),
    "path": Path,
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
    "enum": enum_of,
    "namedtuple": namedtuple_of,
    "dataclass": dataclass_of,
    "model": model_of,
}
