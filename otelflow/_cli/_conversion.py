"""Turn the text of a ``--param`` into the value that an annotation asks for: pydantic does it, with a few additions.

A text means what it says on a command line: ``yes``, ``none``, ``90m``, the name of an Enum's member, and JSON for
everything that has items or fields. In a union the first member that takes the text gets it; ``str`` is tried last.
"""

import contextlib
import dataclasses
import enum
import inspect
import json
import re
import types
import typing
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from otelflow._core.text import durations

if TYPE_CHECKING:
    from pydantic import ValidationError

# pydantic is imported late: it takes longer than a small flow, and only parameters need it.
# ruff: noqa: PLC0415

#: What the origin of an annotation such as ``int | None`` is
UNIONS: Final = (typing.Union, types.UnionType)
_NONE: Final = type(None)
_ANYTHING: Final = (Any, object, inspect.Parameter.empty)

# How pydantic says that a text has no items or fields
_JSON_KINDS: Final = (
    "list_type",
    "dict_type",
    "tuple_type",
    "set_type",
    "frozen_set_type",
    "mapping_type",
    "dataclass_type",
    "model_type",
    "sequence_str",
)

# What a text says besides what pydantic reads in it
_READERS: Final[Mapping[Any, Callable[[str], Any]]] = {
    _NONE: lambda text: None if text.lower() in ("none", "null") else text,
    bool: str.strip,
    int: int,
    float: float,
    date: date.fromisoformat,  # pydantic takes 20260131 for seconds since 1970
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    timedelta: lambda text: timedelta(seconds=durations.parse(text)),
}

_EXAMPLES: Final[Mapping[type, str]] = {
    bool: "true or false",
    datetime: "such as 2026-01-31T12:00:00",
    date: "such as 2026-01-31",
    time: "such as 12:00",
    timedelta: "such as 90s, 15m, 12h or 7d",
    list: 'JSON such as ["a", "b"]',
    dict: 'JSON such as {"key": 1}',
}


class ConversionError(ValueError):
    """A value does not convert; the message says why, unless the name of the annotation says it."""


def name_of(annotation: Any) -> str:
    """Return *annotation* as its author wrote it, with an example where that helps."""
    if typing.get_origin(annotation) is Annotated:
        return name_of(typing.get_args(annotation)[0])
    name, kind = str(annotation).replace("typing.", ""), annotation
    if typing.get_origin(annotation) in UNIONS:  # that of a value that may be left out is an example of both
        members = [member for member in typing.get_args(annotation) if member is not _NONE]
        kind = members[0] if len(members) == 1 else None
    if typing.get_origin(kind) is not None or not isinstance(kind, type):
        return name
    if kind is annotation:
        name = kind.__name__
    example = f"one of {', '.join(kind.__members__)}" if issubclass(kind, enum.Enum) else _EXAMPLES.get(kind, "")
    return f"{name} ({example})" if example else name


def convert(value: Any, annotation: Any) -> Any:
    """Return *value*, a text or a part of JSON, as *annotation* asks. Raises ConversionError."""
    annotation = getattr(annotation, "__value__", annotation)  # what `type Name = …` stands for
    if annotation in _ANYTHING or isinstance(annotation, str) or (annotation is str and isinstance(value, str)):
        return value
    import pydantic

    settings = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    try:
        with warnings.catch_warnings(action="ignore"):  # an annotation may be any object
            # In a tuple, because pydantic takes no settings for a dataclass on its own.
            in_tuple: Any = types.GenericAlias(tuple, (_lenient(annotation),))
            adapter = pydantic.TypeAdapter[Any](in_tuple, config=settings)
    except Exception as error:  # noqa: BLE001 pydantic has many, and an annotation may be code of its own
        if not isinstance(annotation, type):
            return value  # it says nothing about the text
        raise ConversionError(str(error).partition("\n")[0]) from None
    readings, reason = [value], None
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            readings = [json.loads(value), value]
    for reading in readings:
        try:
            return adapter.validate_python((reading,))[0]
        except pydantic.ValidationError as error:
            reason = _reason(error, annotation) if reason is None else reason
        except (pydantic.PydanticUserError, NameError):  # of a model or dataclass
            reason = "an annotation in it cannot be resolved; define or import what it names at run time"
    raise ConversionError(reason)


def _reason(error: "ValidationError", annotation: Any) -> str:
    """Return in one sentence why *error* came, or nothing where the name of *annotation* says it already."""
    mistake = error.errors(include_url=False)[0]
    kind, value = mistake["type"], mistake["input"]
    sentence = str(mistake["ctx"]["error"]) if kind == "value_error" else mistake["msg"]
    path = ".".join(str(part) for part in mistake["loc"][1:] if isinstance(part, int) or part.isidentifier())
    if typing.get_origin(annotation) in UNIONS:
        return ""  # each of its members has another reason
    if path:
        count = error.error_count() - 1
        others = f" (and {count} more)" if count else ""
        return f"at {path}: {sentence[:1].lower()}{sentence[1:]}{others}"
    if kind in _JSON_KINDS and isinstance(value, str):
        try:
            json.loads(value)
        except (ValueError, RecursionError) as mistake_in_json:
            return f"it is not JSON: {mistake_in_json}"
    return "" if kind.endswith(("_parsing", "_type", "enum", "literal_error", "is_instance_of")) else sentence


def _lenient(annotation: Any) -> Any:
    """Return *annotation* for pydantic, so that it takes also what a command line and JSON can only say as a text."""
    from pydantic import BeforeValidator, Field

    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        # Metadata may tell the members of a union apart, and knows them as they are.
        is_union = typing.get_origin(members[0]) in UNIONS
        return annotation if is_union else Annotated[(_lenient(members[0]), *annotation.__metadata__)]
    if origin in UNIONS:
        ordered = sorted(members, key=lambda member: (member is str, member is not _NONE))
        union: Any = typing.Union[tuple(map(_lenient, ordered))]  # noqa: UP007 as many as there are
        return Annotated[union, Field(union_mode="left_to_right")]
    if annotation is Iterable or origin is Iterable:  # of which pydantic would make an iterator that converts later
        return types.GenericAlias(list, tuple(map(_lenient, members or (Any,))))
    if members and isinstance(origin, type) and issubclass(origin, Collection):
        return origin[tuple(member if member is ... else _lenient(member) for member in members)]  # type: ignore[index]
    if typing.is_typeddict(annotation):
        return _lenient_typed_dict(annotation)
    reader = _reader(annotation)
    return annotation if reader is None else Annotated[annotation, BeforeValidator(reader)]


def _lenient_typed_dict(kind: Any) -> Any:
    """Return *kind* with fields that take texts, as the TypedDict of a later Python, which alone pydantic takes."""
    import typing_extensions  # pydantic's own

    if any(re.search(rf"\b{kind.__name__}\b", repr(field)) for field in kind.__annotations__.values()):
        return kind  # it has itself inside
    fields: dict[str, Any] = {}
    for name, annotation in typing.get_type_hints(kind).items():
        item = _lenient(annotation)
        fields[name] = item if name in kind.__required_keys__ else typing.NotRequired[item]
    return typing_extensions.TypedDict(kind.__name__, fields)  # type: ignore[operator]


def _reader(annotation: Any) -> Callable[[Any], Any] | None:
    """Return the function that knows more of *annotation* than pydantic does, or None."""
    import pydantic

    if typing.get_origin(annotation) is typing.Literal:
        return partial(_choose, {str(choice): choice for choice in typing.get_args(annotation)[::-1]})
    if annotation in _READERS:
        return partial(_read, _READERS[annotation])
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, enum.Enum):
        members = annotation.__members__
        names = {name.lower(): member for name, member in members.items()}
        return partial(_choose, {**names, **{str(member.value): member for member in annotation}, **members})
    if dataclasses.is_dataclass(annotation) and not hasattr(annotation, "__pydantic_fields__"):
        return partial(_convert_fields, annotation)
    try:
        pydantic.TypeAdapter(annotation)
    except pydantic.PydanticSchemaGenerationError:  # a class of the program's own
        return partial(_read, annotation)
    return None


def _choose(choices: Mapping[str, Any], value: Any) -> Any:
    return choices.get(str(value), choices.get(str(value).lower(), value))


def _read(reader: Callable[[str], Any], value: Any) -> Any:
    """Return what *reader* makes of a text; a text that it refuses is left to pydantic. Raises ValueError."""
    if isinstance(value, bool) and reader in (int, float):
        raise ValueError(f"{json.dumps(value)} is no number")
    if isinstance(value, str):
        with contextlib.suppress(Exception):  # the class may be the program's own
            return reader(value)
    return value


def _convert_fields(kind: Any, value: Any) -> Any:
    """Return a JSON object with each value converted for the field of its name in the dataclass *kind*."""
    if not isinstance(value, dict):
        return value
    annotations = typing.get_type_hints(kind, include_extras=True)
    converted = {}
    for name, item in value.items():
        try:
            converted[name] = convert(item, annotations.get(name, Any))
        except ConversionError as error:
            reason = f" ({error})" if str(error) else ""
            raise ConversionError(f"{name} must be {name_of(annotations[name])}{reason}") from None
    return converted
