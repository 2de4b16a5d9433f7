"""The ways out for metrics: one per file, each loaded only when it is chosen."""

from typing import Protocol


class Way(Protocol):
    """Brings the numbers of the board to where they are read. Trouble on the way is counted and said, not raised."""

    def start(self) -> bool:
        """Begin; return False when that is not possible."""

    def flush(self, timeout: float) -> bool:
        """Bring the numbers of now within *timeout* seconds; return whether they arrived."""

    def close(self) -> None:
        """Bring the last numbers, in bounded time, and end."""
