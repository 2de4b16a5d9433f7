"""What otelflow itself keeps on a flow, under one name: all others are free for the attributes of a user's class."""

import sys
import warnings
import weakref
from collections.abc import Callable, Coroutine, Generator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Generic, Never, TypeVar

from otelflow._core.flows.definition import Definition, definition_of
from otelflow._core.inside import events, messages
from otelflow._core.process.process import State
from otelflow._core.runs.bounded import BoundedLog
from otelflow._core.runs.endings import FAILED

if TYPE_CHECKING:
    from otelflow._core.flows.notebook import Tree
    from otelflow._core.flows.task import Task
    from otelflow._core.inside.artifacts import Artifact, Result
    from otelflow._core.runs.run import Run

V = TypeVar("V")

_IN_MEMORY: Final = 1_000


class _Warned(State):
    """The places for which Python has shown the warning that a flow was never run, as ``warnings`` keeps them."""

    registry: dict[Any, Any]

    def reset(self) -> None:
        """Have shown none."""
        self.registry = {}


_warned: Final = _Warned()


class _SetUp:
    """The line that set a flow up; when it is dropped as such, that flow was never run, and a warning says so.

    It is dropped with its flow, also where a user's class has a ``__del__`` of its own.
    """

    __slots__ = ("code", "flow_name", "line")

    def __init__(self, frame: FrameType, flow_name: str) -> None:
        self.code, self.line, self.flow_name = frame.f_code, frame.f_lineno, flow_name

    def warn(self, occasion: str) -> None:
        """Warn that the flow was not run; *occasion* is the end of the sentence."""
        file = self.code.co_filename
        warnings.warn_explicit(
            f"flow {self.flow_name!r}, called at {file}:{self.line}, was never run{occasion}: calling it only sets it "
            "up; add .execute(), or in async code await it",
            RuntimeWarning,
            file,
            self.line,
            registry=_warned.registry,
        )

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.warn("")


class _SetUpAndRun:
    """What a ``_SetUp`` becomes when its flow is run: without ``__del__``, in which a Ctrl-C would be lost."""

    __slots__ = _SetUp.__slots__


class FlowState:
    """What a flow's runs write and its reports read: ``flow.flow_state``."""

    __slots__ = (
        "artifacts",
        "block",
        "captured_events",
        "coroutine",
        "data",
        "definition",
        "duration",
        "ended_ns",
        "executed_tasks",
        "has_fixed_id",
        "is_main",
        "is_named",
        "log",
        "options",
        "reference",
        "results",
        "return_value",
        "run",
        "set_up",
        "started_ns",
        "status",
        "tree",
        "used_id",
    )

    def __init__(self, flow: Any, data: Mapping[str, Any] | None = None) -> None:
        self.set_up: _SetUp | None = None
        self.reference: weakref.ref[Any] = weakref.ref(flow)
        self.definition: Definition | None = None
        self.options: Mapping[str, Any] = {}
        self.data: dict[str, Any] = dict(data or {})
        self.is_named = self.is_main = self.has_fixed_id = False
        self.used_id: str | None = None
        self.run: Run | None = None
        self.tree: Tree | None = None  # in a notebook
        self.block: Any = None  # the innermost of ``with flow:``
        self.coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any] | None = None
        self.status: str | None = None
        self.return_value: Any = None
        self.started_ns = self.ended_ns = 0
        self.duration: float | None = None
        self.forget_run()

    def forget_run(self) -> None:
        """Have nothing of a run before."""
        self.executed_tasks: BoundedLog[Task] = BoundedLog(_IN_MEMORY, _IN_MEMORY, _IN_MEMORY, _has_failed)
        self.log: BoundedLog[messages.Line] = messages.new_log()
        self.artifacts: BoundedLog[Artifact] = BoundedLog(_IN_MEMORY, _IN_MEMORY, 0, _is_unimportant)
        self.results: BoundedLog[Result] = BoundedLog(_IN_MEMORY, _IN_MEMORY, 0, _is_unimportant)
        self.captured_events: BoundedLog[events.Flow_Run__Event] = BoundedLog(
            _IN_MEMORY, _IN_MEMORY, 0, _is_unimportant
        )

    def set_up_at(self, frame: FrameType, flow_name: str) -> None:
        """Remember the line that set the flow up: until it runs, that is where ``execute()`` is missing."""
        self.expect_no_run()
        self.set_up = _SetUp(frame, flow_name)

    def expect_no_run(self) -> None:
        """Warn of nothing when the flow is dropped: it is run, or somebody else says why it is not."""
        if self.set_up is not None:
            self.set_up.__class__ = _SetUpAndRun  # type: ignore[assignment]
            self.set_up = None

    @property
    def lines(self) -> list[messages.Line]:
        """The messages of the run from its execution on; ``log`` has the line of its creation, too."""
        return [line for line in self.log if not messages.is_created(line)]

    def warn_if_never_run(self, occasion: str) -> None:
        """Warn once of a flow that was set up and has not run since; *occasion* is the end of the sentence."""
        set_up = self.set_up
        self.expect_no_run()
        if set_up is not None:
            _SetUp.warn(set_up, occasion)

    def __iter__(self) -> Never:
        raise TypeError(NO_DATA)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a copy in another process has: everything but what belongs to this one."""
        self.expect_no_run()  # it is handed over, and runs there
        values = {name: getattr(self, name) for name in self.__slots__}
        for name in ("reference", "run", "block", "coroutine", "set_up", "tree"):
            values[name] = None
        definition = self.definition
        if definition is not None and definition.decorated is not None and definition.is_importable:
            values["definition"] = definition.decorated  # under this name pickle does not find the function itself
        elif definition is not None and self.status is not None and not definition.is_importable:
            values["definition"] = None  # a copy of what was done needs no function, and pickle has none to give
        return None, values

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        if self.definition is not None:
            self.definition = definition_of(self.definition) or self.definition


#: What a Flow says to a library that takes it for data
NO_DATA: Final = (
    "a Flow is no data and cannot be serialized: a function that is decorated with @flow only sets the flow up; give "
    "the framework a plain function that returns f(…).execute().flow_return_value"
)


class state_value(Generic[V]):
    """A read-only view of the state that an attribute of an instance, or of a user's class, hides without harm."""

    def __init__(self, read: Callable[[Any], V]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, flow: Any, owner: object = None) -> V:
        if flow is None:  # a dataclass would take it for the default of a field with this name
            raise AttributeError("only an instance has it")
        return self._read(flow)


def _has_failed(task: "Task") -> bool:
    return task.status in FAILED


def _is_unimportant(_: object) -> bool:
    return False
