"""Keep a bounded part of what a run piles up, and say how much was left out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar, overload

from otelflow._core.process import forks

T = TypeVar("T")


# One for all, since a forked child must free it, and could not find one in each object. It is held for no longer than
# one reading takes.
_lock: Final = forks.new_lock()


class BoundedLog(Sequence[T]):
    """The first *head*, the last *tail* and up to *important* important items; the rest is counted in ``omitted``.

    Items are in the order in which they came. Whether an item is important is asked when it would be left out. The
    surplus is left out in batches, so that adding an item costs next to nothing: until then up to a quarter of *tail*
    more items are kept.
    """

    __slots__ = ("_head", "_important", "_important_limit", "_is_important", "_items", "_most", "_omitted", "_tail")

    def __init__(self, head: int, tail: int, important: int, is_important: Callable[[T], bool]) -> None:
        self._items: list[T] = []  # the first and the last
        self._important: list[T] = []
        self._head = head
        self._tail = tail
        self._most = head + tail + tail // 4
        self._important_limit = important
        self._is_important = is_important
        self._omitted = 0

    def append(self, item: T) -> None:
        """Add *item*; what it pushes out is kept if it is important and there is room."""
        self._items.append(item)
        if len(self._items) > self._most:
            self._leave_out_surplus()

    def leave_out(self, count: int) -> None:
        """Count *count* items that were not even added."""
        with _lock:
            self._omitted += count

    @property
    def omitted(self) -> int:
        """How many items were left out."""
        self._leave_out_surplus()
        return self._omitted

    def _leave_out_surplus(self) -> None:
        with _lock:
            head = self._head
            surplus = len(self._items) - head - self._tail
            if surplus > 0:
                oldest = self._items[head : head + surplus]
                del self._items[head : head + surplus]  # what another thread adds meanwhile, it adds at the end
                room = self._important_limit - len(self._important)
                important = [item for item in oldest if self._is_important(item)][:room] if room else []
                self._important += important
                self._omitted += surplus - len(important)

    def _all(self) -> list[T]:
        with _lock:
            self._leave_out_surplus()
            return [*self._items[: self._head], *self._important, *self._items[self._head :]]

    def __iter__(self) -> Iterator[T]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

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
