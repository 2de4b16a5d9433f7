"""How much of a trace is drawn: what the options of ``otelflow show`` ask for."""

from typing import Final, Literal, NamedTuple


class TreeView(NamedTuple):
    """What a tree shows; without any of these the usual page, on which much is counted and folded.

    *full*: nothing is folded, cut or left out.
    *logs*: every message, also of calls that are folded otherwise.
    *failed_only*: what failed, and what it is in; the rest is counted.
    *tracebacks*: of which failures: ``none``, those that made the trace fail (``causes``), or ``all``.
    *cure*: what unfolds the rest; said at the end, if anything was folded.

    Example:
        >>> print(render_trace([], view=TreeView(full=True)))
        <BLANKLINE>

    """

    full: bool = False
    logs: bool = False
    failed_only: bool = False
    tracebacks: Literal["none", "causes", "all"] = "none"
    cure: str = ""


USUAL: Final = TreeView()
