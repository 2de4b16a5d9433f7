"""What this process knows between runs: the one drawer of state, which a test empties and a forked child goes through.

A room that must remember something declares a ``State`` of its own and makes one of it at import. Nowhere else does
otelflow keep what outlives a run; the architecture test looks for it.
"""

from typing import Final

_pieces: "Final[list[State]]" = []


class State:
    """One piece of what a process knows. Making it puts it into the drawer."""

    def __init__(self) -> None:
        self.reset()
        _pieces.append(self)

    def reset(self) -> None:
        """Be as in a process that has just begun; every attribute gets its first value here."""
        raise NotImplementedError

    def begin_anew(self) -> None:
        """Let go of what is the parent's; called in a forked child, where no other thread is."""


def reset() -> None:
    """Forget everything, as in a process that has just begun; for tests. What was made last is forgotten first."""
    for piece in reversed(_pieces):
        piece.reset()


def begin_anew() -> None:
    """Go through the drawer in a forked child."""
    for piece in _pieces:
        piece.begin_anew()
