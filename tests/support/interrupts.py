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
    # One that is called NO_INTERRUPT does not look. To the way out of a "with", which begins with three None and still
    # has the lock, nearly all come from above, where nobody looks.
    backs = {step.argval for step in steps if step.opname in ("JUMP_BACKWARD", "JUMP_BACKWARD_QUICK")}
    nones = [step.opname == "LOAD_CONST" and step.argval is None for step in steps]
    outs = {step.offset for place, step in enumerate(steps) if nones[place : place + 3] == [True] * 3}
    return looks | (backs - outs)


#: The beginning of a program that uses ``places``
PLACES = f"import dis, functools, itertools\n\n{inspect.getsource(places)}"
