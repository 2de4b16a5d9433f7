"""What a recorded traceback tells: where an error came from, and its lines without the frames of otelflow."""

import re
from typing import Final

from otelflow._core.text.visible import clean
from otelflow_exporters._tree.wording import counted

_FRAME: Final = re.compile(r'^\s*(?:\|\s*)*File "(?P<file>.+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
# What stands before each line of an exception group
_MARGIN: Final = re.compile(r"^ *(?:\| |\+[-+ ])")
_OURS: Final = re.compile(r"[/\\]otelflow[/\\](?:_core|instrument|integrations|runners|serve)[/\\]")
# Packages, Python itself, what was compiled on another machine, and what a library has generated
_LIBRARY: Final = re.compile(
    r"[/\\](?:site-packages|dist-packages)[/\\]|[/\\]lib(?:64)?[/\\]python3\.\d+[/\\]"
    r"|[/\\]Python3\d+[/\\]Lib[/\\]|\.(?:pyx|pxi|pxd)$|^<(?!stdin>|ipython-input|doctest )"
)
_COMMAND: Final = "<string>"  # of ``python -c``, but also what exec() makes of a text
_LONGEST: Final = 100_000
_HEAD: Final = 12
_TAIL: Final = 24


def place_in(trace: str) -> str:
    """Return ``file:line, in function`` of the last frame in a traceback that is the user's own, or of the last one.

    What libraries generate, or compile, is not the user's own.
    """
    frames = [match for line in clean(trace, _LONGEST).splitlines() if (match := _FRAME.match(line))]
    frames = [match for match in frames if not _OURS.search(match["file"])]
    user_frames = [match for match in frames if not _LIBRARY.search(match["file"])]
    user_frames = user_frames or [match for match in frames if match["file"] == _COMMAND]
    if not frames:
        return ""
    frame = (user_frames or frames)[-1]
    return f"{frame['file']}:{frame['line']}" + (f", in {frame['name']}" if frame["name"] else "")


def shown_traceback(trace: str, *, is_whole: bool) -> tuple[list[str], int]:
    """Return the lines of a traceback without our frames; unless *is_whole*, a long middle is only counted."""
    lines: list[str] = []
    is_ours = False
    for line in clean(trace, _LONGEST).splitlines():
        if frame := _FRAME.match(line):
            is_ours = bool(_OURS.search(frame["file"]))
        # The lines of a frame's source are indented more than anything else.
        elif not _MARGIN.sub("", line).startswith("    "):
            is_ours = False
        if not is_ours:
            lines.append(line)
    if is_whole or len(lines) <= _HEAD + _TAIL + 1:
        return lines, 0
    hidden = len(lines) - _HEAD - _TAIL
    return [*lines[:_HEAD], f"… {counted(hidden, 'line', 'more ')}", *lines[-_TAIL:]], hidden
