"""Text of any value: bounded, encodable, and never raising."""

import itertools
import reprlib
from collections import deque
from typing import Any

# A cut text says so; this leaves room for the sentence that says it.
_CUT = "… [cut, {total:,} characters]"
_CUT_LENGTH = 60
# What a container shows of itself: never the whole of a million items.
_ITEMS = 200
_DEPTH = 6


_CONTAINERS = (list, tuple, dict, set, frozenset, deque)


class _BoundedRepr(reprlib.Repr):
    """``repr`` that never walks through more than a bounded part of a container, in its own order."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # it takes limits only from Python 3.12 on
        self._room = limit  # of nested containers, too, which could hold 200 items on each of six levels
        self.maxlevel = _DEPTH
        self.maxstring = self.maxother = self.maxlong = limit
        self.maxtuple = self.maxlist = self.maxarray = self.maxdict = self.maxset = _ITEMS
        self.maxfrozenset = self.maxdeque = _ITEMS

    def repr1(self, x: object, level: int) -> str:
        if self._room <= 0:
            return "..."
        text = super().repr1(x, level)
        if not isinstance(x, _CONTAINERS):
            self._room -= len(text)
        return text

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if level <= 0 and x:
            return "{...}"
        pieces = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in itertools.islice(x.items(), self.maxdict)
        ]
        return "{" + ", ".join([*pieces, *(["..."] if len(x) > self.maxdict else [])]) + "}"

    def repr_str(self, x: str, level: int) -> str:
        # From its beginning on: the end of a secret would be none that redaction knows.
        return repr(x[: self.maxstring])

    def repr_instance(self, x: object, level: int) -> str:
        return repr(x)[: self.maxother]


def cut(text: str, limit: int, length: int = 0) -> str:
    """Return *text*, or its first *limit* characters and a sentence that says how long it was.

    *length* is that of the whole, if *text* is the beginning of something longer.
    """
    return text if len(text) <= limit else text[:limit] + _CUT.format(total=length or len(text))


def is_cut(text: str) -> bool:
    """Tell whether *text* says that it was longer."""
    return text.endswith(_CUT.partition("{total:,}")[2]) and _CUT.partition("{")[0] in text[-_CUT_LENGTH:]


def printable(text: str) -> str:
    """Return *text* without lone surrogates, which no exporter can encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def brief_repr(value: object, limit: int = 80) -> str:
    """Return the first *limit* characters of ``repr(value)``, for an error; never raises."""
    try:
        return printable(_BoundedRepr(limit).repr(value)[:limit])
    except Exception as error:  # noqa: BLE001 foreign __repr__, and numbers that Python refuses to print
        return f"<{type(value).__name__}: repr() raised {type(error).__name__}>"


def safe_str(value: object, limit: int) -> str:
    """Return ``str(value)``, bounded to about *limit* characters; never raises."""
    try:
        if isinstance(value, str):
            return printable(cut(value, limit))
        if isinstance(value, bytes | bytearray):
            text = bytes(value[:limit]).decode("utf-8", "backslashreplace")
            return cut(text, limit) if len(value) <= limit else text[:limit] + _CUT.format(total=len(value))
        if isinstance(value, _CONTAINERS):
            return printable(cut(_BoundedRepr(limit).repr(value), limit))
        return printable(cut(str(value), limit))
    except Exception as error:  # noqa: BLE001 foreign __str__ and __repr__
        return f"<{type(value).__name__}: str() raised {type(error).__name__}>"
