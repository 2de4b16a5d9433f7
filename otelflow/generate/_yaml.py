"""Write plain data as YAML that people read: a few lines here save every user a dependency."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

# What no YAML reader takes for anything but a text.
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./()-]+)*")
_BASIC: Final = 0xFFFF
_NOT_TEXT: Final = re.compile(r"(?i)(?:y|n|yes|no|on|off|true|false|null|nan|inf)")


def to_yaml(value: Any, *comments: str) -> str:
    """Return *value* (dicts, lists, texts, numbers) as YAML below *comments*."""
    return "\n".join([*(f"# {comment}".rstrip() for comment in comments), *_lines(value)]) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _under(f"{_scalar(key)}:", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            lines = list(_lines(inner))
            if isinstance(inner, str) and "\n" in inner:
                lines = list(_block(inner))
            yield f"- {lines[0]}"
            yield from (f"  {line}" if line else "" for line in lines[1:])
    else:
        yield _scalar(value)


def _under(head: str, inner: Any) -> Iterator[str]:
    if isinstance(inner, str) and "\n" in inner:
        first, *rest = _block(inner)
        yield f"{head} {first}"
        yield from rest
    elif isinstance(inner, dict | list) and inner:
        yield head
        yield from (f"  {line}" if line else "" for line in _lines(inner))
    else:
        yield f"{head} {_scalar(inner)}"


def _block(text: str) -> Iterator[str]:
    lines = text.removesuffix("\n").split("\n")
    if not text.endswith("\n") or not all(line.strip() and line.isprintable() for line in lines) or lines[0][0] == " ":
        yield _quoted(text)
        return
    yield "|"
    yield from (f"  {line}" for line in lines)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value):
        return value
    if isinstance(value, str) and '"' in value and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    """Return *text* in double quotes, where everything can be escaped."""
    return '"' + "".join(one if one.isprintable() and one not in '"\\' else _escaped(one) for one in text) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\{character}" if character in '"\\' else f"\\u{code:04x}" if code <= _BASIC else f"\\U{code:08x}"
