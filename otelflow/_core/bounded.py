"""Keep a bounded part of what a run piles up, and say how much was left out."""

import itertools
import reprlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar, overload

T = TypeVar("T")

# A cut text says so; this leaves room for the sentence that says it.
_CUT = "… [cut, {total:,} characters]"
# What a container shows of itself: never the whole of a million items.
_ITEMS = 200
_DEPTH = 6


# One for all, since a forked child must free it, and could not find one in each object. It is held for no longer than
# one item takes. Re-entrant: the garbage collector may end a generator's run while this thread holds it.
_lock: Final = threading.RLock()


class Kept(Sequence[T], Generic[T]):
    """The first *head*, the last *tail* and up to *important* important items; the rest is counted in ``omitted``.

    Items are in the order in which they came. Whether an item is important is asked when it would be left out.
    """

    __slots__ = ("_first", "_head", "_important", "_important_limit", "_is_important", "_last", "omitted")

    def __init__(self, head: int, tail: int, important: int, is_important: Callable[[T], bool]) -> None:
        self._first: list[T] = []
        self._important: list[T] = []
        self._last: deque[T] = deque(maxlen=tail)
        self._head = head
        self._important_limit = important
        self._is_important = is_important
        self.omitted = 0

    def append(self, item: T) -> None:
        """Add *item*; what it pushes out is kept if it is important and there is room."""
        if len(self._first) < self._head:
            self._first.append(item)  # without the lock: in a race of threads, one item more is kept
            return
        with _lock:
            last = self._last
            if len(last) == last.maxlen:
                self._leave_out(last.popleft())
            last.append(item)

    def leave_out(self, count: int) -> None:
        """Count *count* items that were not even added."""
        with _lock:
            self.omitted += count

    def _leave_out(self, item: T) -> None:
        if self._is_important(item) and len(self._important) < self._important_limit:
            self._important.append(item)
        else:
            self.omitted += 1

    def _all(self) -> list[T]:
        with _lock:
            return [*self._first, *self._important, *self._last]

    def __iter__(self) -> Iterator[T]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._first) + len(self._important) + len(self._last)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        return self._all() == (other._all() if isinstance(other, Kept) else other)

    __hash__ = None  # type: ignore[assignment]  # it compares like the list that it is

    def __repr__(self) -> str:
        rest = f" (+{self.omitted:,} omitted)" if self.omitted else ""
        return f"{self._all()!r}{rest}"


class _Shown(reprlib.Repr):
    """``repr`` that never walks through more than a bounded part of a container, in its own order."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # it takes limits only from Python 3.12 on
        self.maxlevel = _DEPTH
        self.maxstring = self.maxother = self.maxlong = limit
        self.maxtuple = self.maxlist = self.maxarray = self.maxdict = self.maxset = _ITEMS
        self.maxfrozenset = self.maxdeque = _ITEMS

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if level <= 0 and x:
            return "{...}"
        pieces = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in itertools.islice(x.items(), self.maxdict)
        ]
        return "{" + ", ".join([*pieces, *(["..."] if len(x) > self.maxdict else [])]) + "}"

    @classmethod
    def of(cls, value: object, limit: int) -> str:
        """Return the bounded ``repr`` of *value*."""
        return cls(limit).repr(value)

    def repr_instance(self, x: object, level: int) -> str:
        return repr(x)[: self.maxother]


def cut(text: str, limit: int) -> str:
    """Return *text*, or its first *limit* characters and a sentence that says how long it was."""
    return text if len(text) <= limit else text[:limit] + _CUT.format(total=len(text))


def printable(text: str) -> str:
    """Return *text* without lone surrogates, which no exporter can encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def shown(value: object, limit: int) -> str:
    """Return what ``str(value)`` would say, bounded to about *limit* characters, and never raise."""
    try:
        if isinstance(value, str):
            return printable(cut(value, limit))
        if isinstance(value, bytes | bytearray):
            text = bytes(value[:limit]).decode("utf-8", "backslashreplace")
            return cut(text, limit) if len(value) <= limit else text[:limit] + _CUT.format(total=len(value))
        if isinstance(value, list | tuple | dict | set | frozenset | deque):
            return printable(cut(_Shown.of(value, limit), limit))
        return printable(cut(str(value), limit))
    except Exception as error:  # noqa: BLE001 foreign __str__ and __repr__
        return f"<{type(value).__name__}: str() raised {type(error).__name__}>"
