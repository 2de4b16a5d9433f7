"""What may stand in a label: few values, none of them an id."""

import re
from typing import Final

from otelflow._core.process import losses
from otelflow._core.text.safe_str import bounded_name

#: The value that stands for all that are too many
OVERFLOW: Final = "__overflow__"

_LONGEST: Final = 120
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


def label_of(name: object) -> str:
    """Return *name* as a label: a bounded text; an id in it would make every run a series of its own."""
    text = bounded_name(name)
    if len(text) >= _SHORTEST_ID and _ID.search(text) is not None:
        label = _ID.sub(_ID_TEXT, text)
        losses.warn_once(
            f"metrics id {label[:_LONGEST]}",
            "The name %r contains an id, and metrics cannot have a series for every run: it is counted as %r. "
            "Give the flow or task a fixed name; ids belong into attributes and artifacts",
            text[:_LONGEST],
            label[:_LONGEST],
        )
        text = label
    return text if len(text) <= _LONGEST else text[:_LONGEST] + _CUT
