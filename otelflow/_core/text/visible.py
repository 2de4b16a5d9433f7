"""Text as it is shown to people: nothing in it controls a terminal, forges a line, or cannot be seen."""

from typing import Final

from otelflow._core.text.regex import lazy_compile

# CSI and OSC sequences first, whole.
_SEQUENCES: Final = (
    r"(?s)(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])(?:(?!\x07|\x1b\\|\x9c|\n\Z).)*+(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b."
)
_COLORS: Final = r"(\x1b\[[\d;:]*m)"
_PLAIN: Final = "\x1b[0m"
# Then every other control character, and the characters that turn text around or cannot be seen. The joiners U+200C
# and U+200D and the variation selectors U+FE00 to U+FE0F stay, since scripts and emoji need them.
_CONTROLS: Final = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_ELLIPSIS: Final = "…"


def clean(text: object, limit: int = 2_000) -> str:
    """Return *text* without anything that a terminal obeys or hides, at most *limit* characters of it."""
    plain = str(text)
    is_cut = len(plain) > limit
    plain = lazy_compile(_SEQUENCES).sub("", plain[:limit])
    plain = plain.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return lazy_compile(_CONTROLS).sub("", plain) + (_ELLIPSIS if is_cut else "")


def colored(text: str) -> str:
    """Return *text* cleaned but for its colours, which end with it."""
    if text.isascii() and text.isprintable():
        return text
    pieces = lazy_compile(_COLORS).split(text)  # every second one is a colour
    is_left_on = len(pieces) > 1 and pieces[-2] != _PLAIN
    parts = [piece if place % 2 else clean(piece, len(piece)) for place, piece in enumerate(pieces)]
    return "".join((*parts, _PLAIN)) if is_left_on else "".join(parts)


def one_line(text: object, limit: int = 500) -> str:
    """Return *text* cleaned and on one line."""
    return " ".join(clean(text, limit).split())
