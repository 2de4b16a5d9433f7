"""Pieces of segments that an endpoint has refused, and may take later: set aside, and tried again one by one."""

import random
from collections.abc import Iterable
from typing import Final

from otelflow._core.process import clock
from otelflow_exporters._spool.batches import Item
from otelflow_exporters._spool.claims import Range

#: How many pieces wait at most: an endpoint that refuses everything is not asked about everything
MOST_PIECES: Final = 64

_FIRST_BACKOFF_SECONDS: Final = 1.0
_LONGEST_BACKOFF_SECONDS: Final = 60.0
_JITTER: Final = 0.2


def backoff(failures: int) -> float:
    """Return how many seconds are waited after so many *failures* in a row; processes do not come back all at once."""
    seconds = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10), _LONGEST_BACKOFF_SECONDS)
    # A program's own random numbers must not be drawn for this.
    return seconds * random.SystemRandom().uniform(1 - _JITTER, 1 + _JITTER)


class Piece:
    """A part of the segment *name* that is tried on its own: a *place* in it, or spans that have none.

    ``tries`` counts how often it was refused, ``arrivals`` how many requests had arrived before it was tried last.
    """

    def __init__(self, name: str, place: Range | None, items: Iterable[Item] = ()) -> None:
        self.name = name
        self.place = place
        self.items = list(items)
        self.tries = 0
        self.arrivals = 0
        self.refusals = 0  # while the endpoint took others
        self.not_before = 0.0  # on clock.monotonic()

    def halves(self, items: list[Item]) -> "list[Piece]":
        """Return two pieces instead of this one, whose *items* are more than one."""
        middle = len(items) // 2
        if self.place is None:
            return [Piece(self.name, None, half) for half in (items[:middle], items[middle:])]
        start, end = self.place
        border = items[middle - 1].end
        return [Piece(self.name, (start, border)), Piece(self.name, (border, end))]


class PiecesAside:
    """The pieces that are set aside, the one that has waited longest first."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def is_full(self) -> bool:
        """Whether no more should be set aside."""
        return len(self._pieces) >= MOST_PIECES

    def add(self, pieces: Iterable[Piece]) -> None:
        """Let *pieces* wait."""
        self._pieces += pieces

    def due(self) -> Piece | None:
        """Return the piece that is to be tried now, if there is one; it goes to the end of the queue."""
        now = clock.monotonic()
        for piece in self._pieces:
            if piece.not_before <= now:
                self._pieces.remove(piece)
                self._pieces.append(piece)
                return piece
        return None

    def remove(self, piece: Piece, instead: Iterable[Piece] = ()) -> None:
        """Let *piece* wait no more, and others *instead* of it."""
        self._pieces.remove(piece)
        self._pieces += instead

    def ranges_in(self, name: str) -> list[Range]:
        """Return which ranges of the segment *name* wait."""
        return sorted(piece.place for piece in self._pieces if piece.name == name and piece.place is not None)

    def has(self, name: str) -> bool:
        """Return whether anything of the segment *name* waits."""
        return any(piece.name == name for piece in self._pieces)

    def forget(self, name: str) -> None:
        """Let nothing of the segment *name* wait any more."""
        self._pieces = [piece for piece in self._pieces if piece.name != name]

    def try_all(self) -> None:
        """Let each piece be tried at once."""
        for piece in self._pieces:
            piece.not_before = 0.0
