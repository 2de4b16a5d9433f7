"""Find the one item of a batch that can never be delivered: halve the batch until that is alone."""

from collections.abc import Iterator
from typing import Any, Final

_MOST_HALVINGS: Final = 200


class Halving:
    """The pieces of one batch that are still to be exported, in order, and how much more may be tried."""

    def __init__(self, batch: list[Any]) -> None:
        self._rest = [batch]
        # An endpoint that refuses everything is found out on the way down to the first item and the one beside it.
        self._failures_left = 2 * len(batch).bit_length() + 2
        self.has_begun = self.has_succeeded = False

    def pieces(self) -> Iterator[list[Any]]:
        """Yield what is to be exported, until nothing is left."""
        while self._rest:
            yield self._rest.pop()

    def halve(self, piece: list[Any]) -> bool:
        """Have both halves of *piece* exported, unless too much has failed; tell whether they will be."""
        self._failures_left -= 1
        if self._failures_left < (-_MOST_HALVINGS if self.has_succeeded else 0):
            return False
        middle = len(piece) // 2
        self._rest += (piece[middle:], piece[:middle])
        self.has_begun = True
        return True
