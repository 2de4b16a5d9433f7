"""The warning of a flow that was set up and never run."""

import sys
import warnings
from types import FrameType
from typing import Any, Final

from otelflow._core.process.process import State
from otelflow._core.text.safe_str import bounded_name


class _Warned(State):
    """The places for which Python has shown the warning that a flow was never run, as ``warnings`` keeps them."""

    registry: dict[Any, Any]

    def reset(self) -> None:
        """Have shown none."""
        self.registry = {}


_warned: Final = _Warned()
_HOUSE: Final = _Warned.reset.__code__.co_filename.rpartition("_core")[0]


class SetUp:
    """The line that set a flow up; if an object of this class is dropped, its flow was never run: that is a warning.

    It is dropped with its flow, also where a user's class has a ``__del__`` of its own.
    """

    __slots__ = ("code", "flow_name", "instruction")

    def __init__(self, frame: FrameType, flow_name: str) -> None:
        # What of ours has called it (a hook, say) is not where a person looks.
        while frame.f_code.co_filename.startswith(_HOUSE) and frame.f_back is not None:
            frame = frame.f_back
        # Not the line: to know it, Python reads the table of the function up to there.
        self.code, self.instruction, self.flow_name = frame.f_code, frame.f_lasti, flow_name

    def warn(self, occasion: str) -> None:
        """Warn that the flow was not run; *occasion* is the end of the sentence."""
        code, instruction = self.code, self.instruction
        lines = (line for start, end, line in code.co_lines() if start <= instruction < end and line is not None)
        file, line = code.co_filename, next(lines, code.co_firstlineno)
        warnings.warn_explicit(
            f"flow {bounded_name(self.flow_name)!r}, called at {file}:{line}, was never run{occasion}: "
            "calling it only sets it up; add .execute(), or in async code await it",
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
