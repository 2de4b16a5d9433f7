"""Turn the text of a ``--param`` into what an annotation asks for.

Written here because nothing light does it: typer converts only what a command's own signature may hold (no dict, no
union, no dataclass), and pydantic would be by far the largest dependency of the command line.
"""

import dataclasses
import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

_BOOLS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NONE: Final = ("none", "null")
#: What the origin of an annotation such as ``int | None`` is
UNIONS: Final = (typing.Union, types.UnionType)
_CONTAINERS: Final = (list, tuple, set, frozenset, dict)


class Unconvertible(ValueError):
    """A value does not convert; the message says what was wanted."""


def convert(value: Any, wanted: Any) -> Any:
    """Return *value*, a text or something out of JSON, as *wanted*. Raises Unconvertible."""
    try:
        return _converted(value, wanted)
    except Unconvertible:
        raise
    except (ValueError, OverflowError, RecursionError):
        raise Unconvertible from None


def _converted(value: Any, wanted: Any) -> Any:
    wanted = getattr(wanted, "__value__", wanted)  # what `type Name = …` stands for
    if wanted in (Any, object, inspect.Parameter.empty):
        return value
    origin = typing.get_origin(wanted)
    if origin is typing.Annotated:
        return convert(value, typing.get_args(wanted)[0])
    if origin is typing.Literal:
        return _choice(value, wanted)
    if origin in UNIONS:
        return _member(value, wanted)
    kind = origin or wanted
    kind = _CONCRETE.get(kind, kind)
    if kind in _CONTAINERS:
        return _container(value, kind, typing.get_args(wanted), wanted)
    return _plain(value, kind)


def _plain(value: Any, kind: Any) -> Any:
    if kind in (None, type(None)):
        return _none(value)
    if isinstance(kind, typing.TypeVar) or not isinstance(kind, type):
        return value  # an annotation that is no type says nothing about the text
    if issubclass(kind, enum.Enum):
        return _enum(value, kind)
    if dataclasses.is_dataclass(kind) and not isinstance(value, kind):
        return _dataclass(value, kind)
    converter = _CONVERTERS.get(kind)
    if converter is not None:
        return converter(value)
    return _made(value, kind)


def name_of(wanted: Any) -> str:
    """Return *wanted* as its author wrote it."""
    if typing.get_origin(wanted) is None and isinstance(wanted, type):
        if issubclass(wanted, enum.Enum):
            return f"{wanted.__name__} (one of {', '.join(wanted.__members__)})"
        return _HINTS.get(wanted, wanted.__name__)
    return str(wanted).replace("typing.", "")


def _none(value: Any) -> None:
    if value is not None and (not isinstance(value, str) or value.lower() not in _NONE):
        raise Unconvertible


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unconvertible
    return value


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _BOOLS[_text(value).strip().lower()]
    except KeyError:
        raise Unconvertible from None


def _int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(_text(value))


def _float(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return float(_text(value))


def duration(value: Any) -> timedelta:
    """Return ``90s``, ``15m``, ``12h``, ``7d`` or ``2w`` as a timedelta. Raises Unconvertible."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", _text(value).strip().lower())
    if parts is None:
        raise Unconvertible
    try:
        return timedelta(**{_UNITS[parts[2]]: float(parts[1])})
    except OverflowError:
        raise Unconvertible from None


_CONVERTERS: Final[Mapping[type, Callable[[Any], Any]]] = {
    str: _text,
    bool: _bool,
    int: _int,
    float: _float,
    bytes: lambda value: _text(value).encode(),
    datetime: lambda value: datetime.fromisoformat(_text(value)),
    date: lambda value: date.fromisoformat(_text(value)),
    time: lambda value: time.fromisoformat(_text(value)),
    timedelta: duration,
}

_HINTS: Final[Mapping[type, str]] = {
    bool: "bool (true or false)",
    datetime: "datetime (such as 2026-01-31T12:00:00)",
    date: "date (such as 2026-01-31)",
    time: "time (such as 12:00)",
    timedelta: "timedelta (such as 90s, 15m, 12h or 7d)",
    list: 'list (JSON such as ["a", "b"])',
    dict: 'dict (JSON such as {"key": 1})',
}

# What an abstract annotation is satisfied with.
_CONCRETE: Final[Mapping[Any, type]] = {
    typing.get_origin(typing.Sequence): list,
    typing.get_origin(typing.Iterable): list,
    typing.get_origin(typing.Collection): list,
    typing.get_origin(typing.Mapping): dict,
    typing.get_origin(typing.MutableMapping): dict,
}


def _made(value: Any, kind: type) -> Any:
    """Return an instance of any other class that can be made of one text, such as Path, Decimal or UUID."""
    if isinstance(value, kind):
        return value
    try:
        return kind(_text(value))
    except Exception:  # noqa: BLE001 Decimal, for one, raises no ValueError; it is the user's class
        raise Unconvertible from None


def _choice(value: Any, wanted: Any) -> Any:
    for choice in typing.get_args(wanted):
        if value == choice or (isinstance(value, str) and value == str(choice)):
            return choice
    raise Unconvertible


def _enum(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if value in (member.name, member.value) or str(value) == str(member.value):
            return member
    for member in kind:
        if str(value).lower() == member.name.lower():
            return member
    raise Unconvertible


def _member(value: Any, wanted: Any) -> Any:
    """Return *value* as the first member of a union that takes it; a text is the last resort, since it takes all."""
    members = sorted(typing.get_args(wanted), key=lambda member: (member is str, member is not type(None)))
    for member in members:
        try:
            return convert(value, member)
        except Unconvertible:
            continue
    raise Unconvertible


def _container(value: Any, kind: type, inner: tuple[Any, ...], wanted: Any) -> Any:
    if isinstance(value, str):
        value = _from_json(value)
    if kind is dict:
        if not isinstance(value, dict):
            raise Unconvertible
        key, item = inner or (Any, Any)
        return {convert(name, key): convert(one, item) for name, one in value.items()}
    if not isinstance(value, list):
        raise Unconvertible
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        if len(value) != len(inner):
            raise Unconvertible
        return tuple(convert(one, each) for one, each in zip(value, inner, strict=True))
    return kind(convert(one, inner[0] if inner else Any) for one in value)


def _dataclass(value: Any, kind: type) -> Any:
    """Return a JSON object as a dataclass, each field converted by its own annotation."""
    fields = _from_json(value) if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise Unconvertible
    hints = typing.get_type_hints(kind)
    try:
        return kind(**{name: convert(one, hints.get(name, Any)) for name, one in fields.items()})
    except TypeError as error:  # a field that is missing or unknown
        raise Unconvertible(str(error)) from None


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unconvertible(f"it is not JSON: {error}") from None
