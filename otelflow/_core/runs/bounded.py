"""Keep a bounded part of what a run piles up, and say how much was left out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, overload

from otelflow._core.process import forks

T = TypeVar("T")


# One for all, since a forked child must free it, and could not find one in each object. It is held for no longer than
# one reading takes.
_lock: Final = forks.new_lock()


class Bounds:  # for items of any type: to make it generic takes a part of each import
    """What logs of one kind keep: the first *head*, the last *tail* and up to *important* important items."""

    __slots__ = ("head", "important", "is_important", "most", "tail")

    def __init__(self, head: int, tail: int, important: int, is_important: Callable[[Any], bool]) -> None:
        self.head: Final = head
        self.tail: Final = tail
        self.most: Final = head + tail + tail // 4
        self.important: Final = important
        self.is_important: Final = is_important


class BoundedLog(Sequence[T]):
    """The items that *bounds* let it keep; the rest is counted in ``omitted``.

    Items are in the order in which they came. Whether an item is important is asked when it would be left out. The
    surplus is left out in batches, so that adding an item costs next to nothing: until then up to a quarter of the tail
    is kept besides.
    """

    __slots__ = ("_bounds", "_important", "_items", "_omitted")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._items: list[T] = []  # the first and the last
        self._important: Sequence[T] = ()
        self._omitted = 0

    def append(self, item: T) -> None:
        """Add *item*; what it pushes out is kept if it is important and there is room."""
        items = self._items
        items.append(item)
        if len(items) > self._bounds.most:
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
        bounds = self._bounds
        with _lock:
            head = bounds.head
            surplus = len(self._items) - head - bounds.tail
            if surplus > 0:
                oldest = self._items[head : head + surplus]
                del self._items[head : head + surplus]  # what another thread adds meanwhile, it adds at the end
                room = bounds.important - len(self._important)
                important = [item for item in oldest if bounds.is_important(item)][:room] if room else []
                if important:
                    self._important = [*self._important, *important]
                self._omitted += surplus - len(important)

    def _all(self) -> list[T]:
        with _lock:
            self._leave_out_surplus()
            head = self._bounds.head
            return [*self._items[:head], *self._important, *self._items[head:]]

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
