"""Ids that no other run has, in this process, its forks, or elsewhere."""

import os
from typing import Final

from otelflow._core.process.forks import fork, notice
from otelflow._core.process.process import State

_AT_ONCE: Final = 256
_DIGITS: Final = 16


class _Process(State):
    """What tells this process from all others, also from one of another machine that has the same number."""

    id: str

    def reset(self) -> None:
        """Have an id that no process had."""
        self.id = os.urandom(_DIGITS // 2).hex()

    def begin_anew(self) -> None:
        """Be another process than the parent."""
        self.reset()


_process: Final = _Process()


def process_id() -> str:
    """Return 16 random hexadecimal digits that stand for this process."""
    notice()
    return _process.id


class _Pool(State):
    """Random ids made in advance: asking the system for each costs more than all else that is done for an id."""

    ids: list[str]

    def reset(self) -> None:
        """Have none left."""
        self.ids = []

    def begin_anew(self) -> None:
        """Leave the parent's ids to the parent."""
        self.ids.clear()


_pool: Final = _Pool()


def new_id(prefix: str) -> str:
    """Return *prefix* and 16 random hexadecimal digits."""
    if not fork.page[0]:
        notice()
    try:
        return prefix + _pool.ids.pop()
    except IndexError:
        ids = os.urandom(_AT_ONCE * _DIGITS // 2).hex(" ", _DIGITS // 2).split()
        own = ids.pop()
        _pool.ids.extend(ids)
        return prefix + own
