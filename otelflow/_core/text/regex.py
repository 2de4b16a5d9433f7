"""Regular expressions: ours, compiled when they are first used, and lists of those of users."""

import functools
import re
from typing import Final

# An escaped character, a set (also one that does not end), a quantifier, or one character of a regular expression.
_TOKENS: Final = r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]?|\{[\d\s,]*\}|."
# Numbers in braces that ``re`` takes for the text that they are.
_NO_QUANTIFIER: Final = r"\{(?=[^}]*\d)(?!\d+\}|\d*,\d*\}).*"

_OPENING: Final = {"}": "{", "]": "["}


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


def half_pattern(pattern: str) -> str:
    r"""Return why *pattern* is the half of one, or a quantifier that is none, though ``re`` takes it; or nothing.

    ``re`` takes ``[0-9]{8``, ``16}`` and ``[0-9]{8, 16}`` for the characters that they are, and would never find what
    they were written for. What is escaped (``\{``) is a character indeed, and so is what closes it.
    """
    reason = _half(pattern)
    return f"is no whole regular expression: {reason} for the character" if reason else ""


def _half(pattern: str) -> str:
    opened: list[str] = []
    for token in lazy_compile(_TOKENS).findall(pattern):
        if lazy_compile(_NO_QUANTIFIER).fullmatch(token):
            return f"{token} is no quantifier, as {{8}} and {{8,16}} are; write \\{{"
        if token in ("{", r"\{", r"\["):
            opened.append(token)
        elif token in _OPENING:
            matching = next((item for item in reversed(opened) if item[-1] == _OPENING[token]), None)
            if matching is None:
                return f"{token} closes nothing; write \\{token}"
            opened.remove(matching)
    return r"it ends inside of {; write \{" if "{" in opened else ""
