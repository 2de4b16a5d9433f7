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
    # One that is called NO_INTERRUPT does not look: it is within a "with" that has not let go of its lock.
    return looks | {step.argval for step in steps if step.opname in ("JUMP_BACKWARD", "JUMP_BACKWARD_QUICK")}


#: The beginning of a program that uses ``places``
PLACES = f"import dis, functools, itertools\n\n{inspect.getsource(places)}"
