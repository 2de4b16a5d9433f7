"""Words for a terminal: the first lines of a text, and sizes and times that can be read."""

from datetime import UTC, datetime
from typing import Final

from otelflow._core.text.visible import clean

_ELLIPSIS: Final = "…"


def lines_of(text: object, count: int) -> tuple[list[str], int]:
    """Return the first *count* lines of *text*, cleaned, and how many are hidden; if any are, a last line says so."""
    plain = str(text)
    lines = clean(plain, 200 * count).splitlines()
    is_cut = len(plain) > 200 * count
    if len(lines) <= count and not is_cut:
        return lines, 0
    first = lines[:count]
    hidden = (len(clean(plain, len(plain)).splitlines()) if is_cut else len(lines)) - len(first)
    if hidden > 0:
        return [*first, f"{_ELLIPSIS} {counted(hidden, 'line', 'more ')}"], hidden
    return [*first, _ELLIPSIS], 1


def size(amount: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def counted(count: int, noun: str, before: str = "") -> str:
    """Return *count* with *noun* in the singular or the plural, and *before* it in between."""
    return f"{count:,} {before}{noun}{'' if count == 1 else 's'}"


def local_time(nanoseconds: int) -> datetime:
    """Return a time, in nanoseconds since 1970, by the clock of the reader."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # a program may tell a span any time
        return datetime.fromtimestamp(0, UTC).astimezone()
