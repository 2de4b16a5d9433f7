"""What a name is called where it stands in a label: a bounded text, and none of an id in it."""

import re
from typing import Final

from otelflow._core.text.safe_str import bounded_name

#: The most characters of a label, but for the mark of a cut
LONGEST: Final = 120
_CUT: Final = "…"

# A UUID, an id of otelflow, 16 hexadecimal digits among which are letters and numbers, a ULID, 12 digits (as of a time
# in milliseconds), a time with its date, or a date.
_ID: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|(?:flow|task)_id__[0-9a-zA-Z_-]+"
    r"|(?<![0-9a-fA-F])(?=[a-fA-F]*[0-9])(?=[0-9]*[a-fA-F])[0-9a-fA-F]{16,}(?![0-9a-fA-F])"
    r"|(?<![0-9a-zA-Z])(?=[0-9]*[A-Za-z])[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}(?![0-9a-zA-Z])"
    r"|(?<!\d)(?:19|20)\d\d-[01]\d-[0-3]\d(?:[T_ ]+\d\d[:-]?\d\d(?:[:-]?\d\d)?(?:[._]+\d+)?Z?)?(?!\d)"
    r"|(?<!\d)(?:19|20)\d\d[01]\d[0-3]\d[T_ -]\d{4}(?:\d\d)?Z?(?!\d)"
    r"|(?<!\d)\d{12,}(?!\d)"
)
_ID_TEXT: Final = "{id}"
_SHORTEST_ID: Final = 10


def label(name: object) -> str:
    """Return *name* as a label; what would make every run a series of its own is ``{id}`` in it."""
    text = bounded_name(name)
    if len(text) >= _SHORTEST_ID:
        text = _ID.sub(_ID_TEXT, text)
    return text if len(text) <= LONGEST else text[:LONGEST] + _CUT
