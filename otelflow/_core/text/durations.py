"""Lengths of time as people write and read them."""

import re
from typing import Final

from otelflow._core.text.regex import lazy_compile

_UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PIECE: Final = r"(?<!\d)(\d+(?:\.\d+)?)\s*((?>ms|[smhdw]))"
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def parse(text: str) -> float:
    """Return the seconds that *text* says, such as ``90s``, ``1h30m``, ``500ms`` or ``2w``. Raises ValueError."""
    text = text.strip().lower()
    if lazy_compile(rf"(?:{_PIECE}\s*)+", re.ASCII).fullmatch(text) is None:
        raise ValueError(f"{text!r:.60} is no length of time such as 90s, 15m, 1h30m or 7d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in lazy_compile(_PIECE, re.ASCII).findall(text))
    return round(seconds, 9)  # 9 * 0.001 is a little more than 0.009


def in_words(seconds: float) -> str:
    """Return measured *seconds* with about three digits and one unit, or two units from a minute on: ``1 h 05 m``."""
    if seconds >= _DAY:
        return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:02.0f} h"
    if seconds >= _HOUR:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} m"
    if seconds >= _MINUTE:
        return f"{seconds // _MINUTE:.0f} m {seconds % _MINUTE // 1:02.0f} s"
    for length, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= length:
            amount = seconds / length
            return f"{amount:.3g} {unit}" if amount < 100 else f"{amount:.0f} {unit}"
    return f"{max(0.0, seconds * 1e9):.0f} ns"


def in_units(seconds: float) -> str:
    """Return agreed *seconds* exact to the millisecond, as ``parse`` reads them: ``1h 30m``, ``2s 500ms``."""
    milliseconds = round(seconds * 1_000)
    pieces = []
    for unit, length in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE), ("s", 1), ("ms", 0.001)):
        count, milliseconds = divmod(milliseconds, round(length * 1_000))
        pieces += [f"{count}{unit}"] if count else []
    return " ".join(pieces) or "0ms"
