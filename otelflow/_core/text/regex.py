"""Regular expressions: ours, compiled when they are first used, and lists of those of users."""

import functools
import re
from typing import Final

# An escaped character, a set, a quantifier, or one character of a regular expression.
_TOKENS: Final = r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,\d*\}|."


@functools.cache
def lazy_compile(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return *pattern* ready for use: compiling all of them would make an import 3 ms longer."""
    return re.compile(pattern, flags)


def split_patterns(text: str) -> list[str]:
    r"""Return the patterns in *text*, which commas separate.

    A comma in a quantifier, a set or a group (``[0-9]{8,16}``, ``[,;]``, ``(a,b)``) belongs to its pattern, as an
    escaped one does (``\,``).
    """
    patterns = [""]
    depth = 0
    for token in lazy_compile(_TOKENS).findall(text):
        depth = max(0, depth + (token == "(") - (token == ")"))  # noqa: S105 a token of a pattern
        if token == "," and depth == 0:  # noqa: S105
            patterns.append("")
        else:
            patterns[-1] += token
    return [pattern.strip() for pattern in patterns if pattern.strip()]
