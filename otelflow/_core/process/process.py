"""All that this process knows between runs: a test resets it, and a forked child lets go of what is its parent's.

A package that must remember something declares a ``State`` of its own and makes one of it at import. Nowhere else does
otelflow keep what outlives a run; the architecture test looks for it.
"""

from typing import Final

_pieces: "Final[list[State]]" = []


class State:
    """One piece of what a process knows, listed when it is made."""

    def __init__(self) -> None:
        self.reset()
        _pieces.append(self)

    def reset(self) -> None:
        """Be as in a process that has just begun; every attribute gets its first value here."""
        raise NotImplementedError

    def begin_anew(self) -> None:
        """Let go of what is the parent's: called in a forked child, which keeps all that no such method changes."""


def reset() -> None:
    """Forget everything, as in a process that has just begun; for tests. What was made last is forgotten first."""
    for piece in reversed(_pieces):
        piece.reset()


def begin_anew() -> None:
    """Call ``begin_anew()`` of each piece, in a forked child."""
    for piece in _pieces:
        piece.begin_anew()
