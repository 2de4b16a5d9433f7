"""The signs that a tree is drawn with, for outputs with and without Unicode."""
# ruff: noqa: RUF001 - that these signs resemble letters is why they have ASCII stand-ins

from collections.abc import Mapping
from typing import Final

from otelflow import semconv

UNICODE: Final[Mapping[str, str]] = {
    "branch": "├─ ",
    "last": "└─ ",
    "detail": "├╴ ",
    "last detail": "└╴ ",
    "pipe": "│  ",
    "space": "   ",
    "bar": "━",
    "dot": "╸",
    "times": "×",
    "separator": " · ",
    "full": "█",
    "empty": "░",
    "unknown": "?",
    "": "",
    "message": "· ",
    "event": "• ",
    "artifact": "◆ ",
    "result": "= ",
    "link": "→ ",
    "more": "… ",
    "fault": "",
    semconv.SUCCESS: "✓",
    semconv.FAILURE: "✗",
    semconv.TIMEOUT: "✗",
    semconv.ERROR: "✗",
    semconv.CANCELLATION: "⊘",
    semconv.SKIP: "–",
    semconv.RUNNING: "▸",
}
ASCII: Final[Mapping[str, str]] = {
    "branch": "|- ",
    "last": "`- ",
    "detail": "|  ",
    "last detail": "`  ",
    "pipe": "|  ",
    "space": "   ",
    "bar": "=",
    "dot": "-",
    "times": "x",
    "separator": " - ",
    "full": "#",
    "empty": ".",
    "unknown": "?",
    "": "",
    "message": "- ",
    "event": "* ",
    "artifact": "# ",
    "result": "= ",
    "link": "> ",
    "more": ".. ",
    "fault": "",
    semconv.SUCCESS: "+",
    semconv.FAILURE: "X",
    semconv.TIMEOUT: "X",
    semconv.ERROR: "X",
    semconv.CANCELLATION: "o",
    semconv.SKIP: "-",
    semconv.RUNNING: ">",
}

# Other signs in rich's output and in our own words; one sign each, so that columns stay columns.
_STAND_INS: Final = str.maketrans("━─═╸│┃║•·‘’“”█▌…×→µ░", "----|||**''\"\"##.x>u.")


def is_drawable(encoding: str) -> bool:
    """Return whether *encoding* has every sign of the Unicode set."""
    try:
        "".join(UNICODE.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def encodable(text: str, encoding: str) -> str:
    """Return *text* with nothing in it that *encoding* lacks."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_STAND_INS).encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.translate(_STAND_INS).encode("ascii", "backslashreplace").decode()
    return text
