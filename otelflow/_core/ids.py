"""Ids that no other run has, in this process, its forks, or elsewhere."""

import os
from typing import Final

_AT_ONCE: Final = 256
_DIGITS: Final = 16


class _Pool:
    """Random ids made in advance: asking the system for each costs more than all else that is done for an id."""

    ids: Final[list[str]] = []
    follows_forks = False


def new_id(prefix: str) -> str:
    """Return *prefix* and 16 random hexadecimal digits."""
    try:
        return prefix + _Pool.ids.pop()
    except IndexError:
        return prefix + _refilled()


def _refilled() -> str:
    """Make ids in advance and return one more."""
    if not _Pool.follows_forks and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_Pool.ids.clear)  # a child must not use the ids that its parent will use
        _Pool.follows_forks = True
    digits = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
    _Pool.ids.extend(digits[start : start + _DIGITS] for start in range(_DIGITS, len(digits), _DIGITS))
    return digits[:_DIGITS]
