"""Words for a terminal: text that cannot control it, and sizes that can be read."""

import re
from datetime import UTC, datetime
from typing import Final

# CSI and OSC sequences first, whole.
_SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b.",
    re.DOTALL,
)
# Then every other control character, and the characters that turn text around or cannot be seen. The joiners U+200C
# and U+200D and the variation selectors U+FE00 to U+FE0F stay, since scripts and emoji need them.
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_ELLIPSIS: Final = "…"


def clean(text: object, limit: int = 2_000) -> str:
    """Return *text* without anything that a terminal obeys or hides, at most *limit* characters of it."""
    plain = str(text)
    is_cut = len(plain) > limit
    plain = _SEQUENCES.sub("", plain[:limit]).replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return _CONTROLS.sub("", plain) + (_ELLIPSIS if is_cut else "")


def one_line(text: object, limit: int = 500) -> str:
    """Return *text* cleaned and on one line."""
    return " ".join(clean(text, limit).split())


def lines_of(text: object, count: int) -> tuple[list[str], int]:
    """Return the first *count* lines of *text*, cleaned, and how many are hidden; if any are, a last line says so."""
    plain = str(text)
    lines = clean(plain, 200 * count).splitlines()
    if len(lines) <= count and len(plain) <= 200 * count:
        return lines, 0
    hidden = plain.count("\n") + 1 - count
    if hidden > 0:
        return [*lines[:count], f"{_ELLIPSIS} {counted(hidden, 'line', 'more ')}"], hidden
    return [*lines[:count], _ELLIPSIS], 1


def size(amount: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def counted(count: int, noun: str, before: str = "") -> str:
    """Return *count* with *noun* in the singular or the plural; ``span below`` becomes ``spans below``."""
    word, space, rest = noun.partition(" ")
    return f"{count:,} {before}{word}{'' if count == 1 else 's'}{space}{rest}"


def local_time(nanoseconds: int) -> datetime:
    """Return a time, in nanoseconds since 1970, by the clock of the reader."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).astimezone()
