"""The warning of a flow that was set up and never run."""

import atexit
import os
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from types import CodeType, CoroutineType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any, Final

from otelflow._core.process.process import State
from otelflow._core.text import classes
from otelflow._core.text.safe_str import bounded_name

_MOST_KEPT: Final = 100_000
# They lead to the variables of modules.
_WAYS_OUT: Final = (ModuleType, FunctionType, CodeType, FrameType, GeneratorType, CoroutineType)


class _Warned(State):
    """The places for which Python has shown the warning that a flow was never run, as ``warnings`` keeps them."""

    registry: dict[Any, Any]
    watched_process: int | None

    def reset(self) -> None:
        """Have shown none, and look for none yet at the end of a process."""
        self.registry = {}
        self.watched_process = None


_warned: Final = _Warned()
_PACKAGE_FOLDER: Final = _Warned.reset.__code__.co_filename.rpartition("_core")[0]


class SetUp:
    """The line that set a flow up; if an object of this class is dropped, its flow was never run: that is a warning.

    It is dropped with its flow, also where a user's class has a ``__del__`` of its own.
    """

    __slots__ = ("code", "flow_name", "instruction", "target")

    def __init__(self, frame: FrameType, flow_name: str, target: CodeType | None) -> None:
        # What of ours has called it (a hook, say) is not where a person looks.
        while frame.f_code.co_filename.startswith(_PACKAGE_FOLDER) and frame.f_back is not None:
            frame = frame.f_back
        # Not the line: to know it, Python reads the table of the function up to there.
        self.code, self.instruction, self.target = frame.f_code, frame.f_lasti, target
        self.flow_name = flow_name  # the last one: __del__ looks for it

    def place(self) -> tuple[str, int]:
        """Return the file and the line that set the flow up."""
        code, instruction = self.code, self.instruction
        lines = (line for start, end, line in code.co_lines() if start <= instruction < end and line is not None)
        return code.co_filename, next(lines, code.co_firstlineno)

    def parts(self) -> tuple[str, tuple[str, int], tuple[str, int] | None]:
        """Return what ``copy_of`` makes a copy of, which may be in another process: the code itself cannot travel."""
        target = None if self.target is None else (self.target.co_filename, self.target.co_firstlineno)
        return self.flow_name, self.place(), target

    def warn(self, occasion: str) -> None:
        """Warn that the flow was not run; *occasion* is the end of the sentence."""
        target = self.target
        file, line = SetUp.place(self)  # it may be a SetUpAndRun by now
        place, cure = f"called at {file}:{line}", "add .execute(), or in async code await it"
        python = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 pathlib takes long to import
        is_library = file.startswith((python, _PACKAGE_FOLDER, "<frozen ")) or classes.is_of_package(file)
        if target is not None and is_library:  # a thread, a scheduler: its line says nothing to the user
            caller = "C" if file.startswith(os.path.dirname(__file__)) else f"{file}:{line}"  # noqa: PTH120 as above
            place = f"defined at {target.co_filename}:{target.co_firstlineno} and called by {caller}"
            file, line = target.co_filename, target.co_firstlineno
            cure = "write @flow(execute_on_call=True), or hand over a function that executes it"
        warnings.warn_explicit(
            f"flow {bounded_name(self.flow_name)!r}, {place}, was never run{occasion}: "
            f"calling it only sets it up; {cure}",
            RuntimeWarning,
            file,
            line,
            registry=_warned.registry,
        )

    def __del__(self) -> None:
        if not sys.is_finalizing() and hasattr(self, "flow_name"):  # a Ctrl-C may have left it half made
            self.warn("")


class SetUpAndRun:
    """What a ``SetUp`` becomes when its flow is run: without ``__del__``, in which a Ctrl-C would be lost."""

    __slots__ = SetUp.__slots__


def copy_of(flow_name: str, place: tuple[str, int], target: tuple[str, int] | None) -> SetUp:
    """Return what warns of a copied flow that is never run, made of the ``parts()`` of its original."""
    codes = [compile("", file, "exec").replace(co_firstlineno=line) for file, line in (place, target or place)]
    set_up = SetUp.__new__(SetUp)
    set_up.code, set_up.instruction, set_up.target = codes[0], -1, codes[1] if target else None
    set_up.flow_name = flow_name
    return set_up


def watch() -> None:
    """Look, when the process ends, for what a script has kept: that is dropped too late for a warning of its own.

    It is called with the first function that becomes a flow or task. Python calls the last exit function first: what a
    program has registered since, which may run a flow yet, comes before this.
    """
    if _warned.watched_process is None and not sys.is_finalizing():
        # Who types may run it yet.
        is_script = hasattr(sys.modules.get("__main__"), "__file__") and not sys.flags.interactive
        _warned.watched_process = os.getpid() if is_script else 0
        atexit.unregister(_warn_of_kept)
        atexit.register(_warn_of_kept)


def _warn_of_kept() -> None:
    """Warn of each flow that was never run: of one in a circle, as it is dropped, and of what the script has kept."""
    if _warned.watched_process != os.getpid():  # a forked child has what its parent has
        return
    import gc  # noqa: PLC0415 not at an import of otelflow

    gc.collect(1)  # what came lately and is in a circle, as the flow in the traceback of an error: it takes no time
    # By identity: a metaclass may do anything when it is asked for the equality of a class.
    if id(SetUp) not in map(id, map(type, gc.get_objects())):
        return
    gc.collect()  # what has been in a circle for long: it takes time, but only where a flow was not run
    for value in _kept_by_script(gc):
        if classes.attribute(type(value), "__otelflow__") == "flow":
            state = vars(value).get("flow_state")
            if state is not None:
                state.warn_if_never_run(" before the program ended")


def _kept_by_script(gc: ModuleType) -> Iterator[Any]:
    """Yield what the variables of the script have, and what is in that, and so on; nothing of another module's."""
    values: list[Any] = [vars(sys.modules["__main__"])]
    ids = {id(values)}
    for value in values:  # it grows
        yield value
        is_foreign = issubclass(type(value), type) and classes.module_of(value) != "__main__"
        if is_foreign or type(value) in _WAYS_OUT or len(values) > _MOST_KEPT:
            continue
        for item in islice(gc.get_referents(value), _MOST_KEPT):
            if gc.is_tracked(item) and id(item) not in ids:
                ids.add(id(item))
                values.append(item)
