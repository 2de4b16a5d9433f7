"""Ctrl-C between any two steps of a program: where CPython looks for signals."""

import dis
import functools
import inspect
import itertools


@functools.cache
def places(code):
    """Return the offsets in *code* where CPython looks for signals: after calls, at its begin, at jumps back."""
    steps = list(dis.get_instructions(code))
    looks = {after.offset for step, after in itertools.pairwise(steps) if step.opname.startswith(("CALL", "RESUME"))}
    return looks | {step.argval for step in steps if step.opname.startswith("JUMP_BACKWARD")}


#: The beginning of a program that uses ``places``
PLACES = f"import dis, functools, itertools\n\n{inspect.getsource(places)}"
