"""Keep a bounded part of what a run piles up, and say how much was left out."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar, overload

from otelflow._core.process import forks

T = TypeVar("T")


# One for all, since a forked child must free it, and could not find one in each object. It is held for no longer than
# one item takes. Re-entrant: the garbage collector may end a generator's run while this thread holds it.
_lock: Final = forks.new_lock()


class BoundedLog(Sequence[T], Generic[T]):
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
                left_out = last.popleft()
                if self._is_important(left_out) and len(self._important) < self._important_limit:
                    self._important.append(left_out)
                else:
                    self.omitted += 1
            last.append(item)

    def leave_out(self, count: int) -> None:
        """Count *count* items that were not even added."""
        with _lock:
            self.omitted += count

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

    def __eq__(self, log: object) -> bool:
        return self._all() == (log._all() if isinstance(log, BoundedLog) else log)

    __hash__ = None  # type: ignore[assignment]  # it compares like the list that it is

    def __repr__(self) -> str:
        rest = f" (+{self.omitted:,} omitted)" if self.omitted else ""
        return f"{self._all()!r}{rest}"
