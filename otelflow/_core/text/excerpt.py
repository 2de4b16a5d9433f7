"""The beginning of data: as much of a table or of nested data as can be read in a moment."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from otelflow._core.text.redaction import recorded
from otelflow._core.text.safe_str import is_cut, printable, safe_str

# What one item costs besides its characters: reading it takes as long as reading so many characters of a text.
_ITEM_COST: Final = 12
_TEXT_COST: Final = 24
# Nested deeper than this, a container is shown as text of so many characters.
_DEPTH: Final = 64
_DEEP_TEXT: Final = 1_000

T = TypeVar("T")


class Excerpt:
    """Copies data until *budget* is used up, which is counted in characters; ``is_cut`` tells whether it was.

    Data that is left out was not even looked at: the time that a copy takes depends on the budget alone.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self.is_cut = False
        self._above: set[int] = set()  # the containers around the one that is copied

    def text(self, value: object) -> str:
        """Return *value* as redacted text, which says so if it is cut."""
        text = recorded(value, self._budget)
        self.is_cut = is_cut(text)
        return text

    def copy(self, value: object) -> object:
        """Return a copy of the beginning of *value*: its dicts, lists and texts; anything else is what it was.

        Raises ValueError for a container that contains itself.
        """
        if isinstance(value, str):
            return self._text(value)
        self._budget -= _ITEM_COST
        if not isinstance(value, Mapping | list | tuple):
            return value
        if id(value) in self._above:
            raise ValueError("it contains itself")
        if len(self._above) >= _DEPTH:
            self._budget -= _DEEP_TEXT
            return safe_str(value, _DEEP_TEXT)
        self._above.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {
                    self._text(key) if isinstance(key, str) else key: self.copy(item)
                    for key, item in self.within(value.items())
                }
            return [self.copy(item) for item in self.within(value)]
        finally:
            self._above.discard(id(value))

    def within(self, items: Iterable[T]) -> Iterator[T]:
        """Return *items* as far as the budget reaches; only copying them uses it up."""
        for item in items:
            if self._budget <= 0:
                self.is_cut = True
                return
            yield item

    def _text(self, text: str) -> str:
        room = max(self._budget, 1)
        self._budget -= len(text) + _TEXT_COST
        if len(text) <= room:
            return printable(text)
        self.is_cut = True
        return recorded(text, room)  # which sees a secret whole that the cut would split
