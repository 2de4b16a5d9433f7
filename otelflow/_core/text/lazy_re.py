"""Regular expressions that are compiled when they are first used: together they would make an import 3 ms longer."""

import re
from typing import Any, cast


class _Late:
    def __init__(self, pattern: str, flags: int) -> None:
        self._arguments = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._arguments), name)
        setattr(self, name, found)  # so that the next time it is found at once
        return found


def late(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return what ``re.compile`` would, in the disguise of one that has not done it yet."""
    return cast("re.Pattern[str]", _Late(pattern, flags))
