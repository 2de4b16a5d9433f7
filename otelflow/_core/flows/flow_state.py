"""What otelflow itself keeps on a flow, under one name: all others are free for the attributes of a user's class."""

import os
import sys
import weakref
from collections.abc import Coroutine, Generator, Mapping
from enum import Enum
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, Never, TypeVar

from otelflow import semconv
from otelflow._core.flows.config import Flow_Run__Config
from otelflow._core.flows.definition import Definition, definition_of, text_of_name
from otelflow._core.flows.never_run import SetUp, SetUpAndRun, copy_of
from otelflow._core.inside import messages
from otelflow._core.process import forks, losses
from otelflow._core.process.settings import settings
from otelflow._core.runs import open_runs
from otelflow._core.runs.bounded import BoundedLog, Bounds
from otelflow._core.text.safe_str import brief_repr, comes_from_outside

if TYPE_CHECKING:
    from otelflow._core.flows.notebook import Tree
    from otelflow._core.inside.artifacts import Artifact, Result
    from otelflow._core.inside.events import Flow_Run__Event
    from otelflow._core.process.settings_table import Settings
    from otelflow._core.runs.run import Run

V = TypeVar("V")

_IN_MEMORY: Final = 1_000
_NOTHING_REMEMBERED: Final = (
    "flow %s: run() returns the flow's data, which is empty; what its function returned is "
    "execute().flow_return_value (said once)"
)
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


_making: Final = forks.new_lock()


class _ShellWatcher:
    """Lets a notebook remember runs; all others need nothing of it."""

    def first_opened(self) -> None:
        """See whether IPython is there."""
        ipython = sys.modules.get("IPython")
        if ipython is not None:
            from otelflow._core.flows import notebook  # noqa: PLC0415 most programs are no notebook

            notebook.observe_in_shell(ipython)

    def last_closed(self) -> None:
        """Go on: the next cell may run another flow."""


open_runs.watch(_ShellWatcher())


def has_failed(task: Any) -> bool:
    """Tell whether *task* is kept when others must be left out; by name, since a flow that travels takes it along."""
    return vars(task).get("status") in semconv.FAILED_RESULTS


def is_unimportant(_: object) -> bool:
    """Keep nothing of what must be left out."""
    return False


# What is kept of a run: its tasks, and what most runs have none of
_TASKS: Final = Bounds(_IN_MEMORY, _IN_MEMORY, _IN_MEMORY, has_failed)
_RARE: Final = Bounds(_IN_MEMORY, _IN_MEMORY, 0, is_unimportant)


class FlowState:
    """What a flow's runs write and its reports read: ``flow.flow_state``."""

    __slots__ = (
        "args",
        "block",
        "coroutine",
        "data",
        "definition",
        "duration",
        "ended_ns",
        "error",
        "executed_tasks",
        "has_fixed_id",
        "id",
        "is_main",
        "is_named",
        "is_plain",
        "kwargs",
        "log",
        "logger",
        "name",
        "options",
        "own_config",
        "rare_logs",
        "reference",
        "return_value",
        "run",
        "run_params",
        "set_up",
        "started_ns",
        "status",
        "tree",
        "used_id",
    )

    def __init__(
        self,
        flow: Any,
        name: str,
        run_id: str,
        config: Flow_Run__Config | None,
        data: dict[str, Any],
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self.set_up: SetUp | None = None
        self.reference: weakref.ref[Any] = weakref.ref(flow)
        self.definition: Definition | None = None
        self.options = options
        self.data = data
        self.name = name
        self.id = run_id
        self.run_params: Mapping[str, Any] = _NO_OPTIONS
        self.own_config = config
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.is_named = self.is_main = self.has_fixed_id = False
        self.is_plain = False  # of a class of the user's, whose attributes may be anything
        self.used_id: str | None = None
        self.run: Run | None = None
        self.tree: Tree | None = None  # in a notebook
        self.block: Any = None  # the innermost of ``with flow:``
        self.logger: Any = None  # made when it is asked for
        self.coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any] | None = None
        self.status: str | None = None
        self.return_value: Any = None
        self.error: BaseException | None = None
        self.started_ns = self.ended_ns = 0
        self.duration: float | None = None
        self.forget_run()

    def forget_run(self) -> None:
        """Have nothing of a run before."""
        self.executed_tasks: BoundedLog[Any] = BoundedLog(_TASKS)
        self.log = messages.Log(messages.BOUNDS)
        self.rare_logs: dict[str, BoundedLog[Any]] | None = None

    @property
    def config(self) -> Flow_Run__Config:
        """How the flow logs, prints and raises; without one, an empty one is made when it is asked for."""
        if self.own_config is None:
            with _making:  # two threads must not each make one
                if self.own_config is None:
                    self.own_config = Flow_Run__Config()
        return self.own_config

    @config.setter
    def config(self, config: Flow_Run__Config) -> None:
        self.own_config = config

    def settings(self) -> "Settings":
        """Return the configuration with the process's settings where it says nothing, ready for quick reading."""
        config = self.own_config
        if config is None:
            return settings()
        fields = vars(config) if type(config) is Flow_Run__Config else config.json()  # a subclass may say it as a class
        return settings().with_fields(fields) if fields else settings()

    def data_alone(self) -> dict[str, Any]:
        """Return the data of the run; who gets none in the place of what the function returned is told once."""
        if not self.data and self.return_value is not None:
            losses.warn_once(f"data of {self.name}", _NOTHING_REMEMBERED, brief_repr(self.name))
        return self.data

    @property
    def artifacts(self) -> "BoundedLog[Artifact]":
        """What the run has left behind."""
        return self._rare_log("artifacts")

    @property
    def results(self) -> "BoundedLog[Result]":
        """What the run has recorded as its results."""
        return self._rare_log("results")

    @property
    def captured_events(self) -> "BoundedLog[Flow_Run__Event]":
        """The events of the run, if it was asked to keep them."""
        return self._rare_log("captured_events")

    def _rare_log(self, name: str) -> BoundedLog[Any]:
        """Return one of the logs that most runs never write."""
        logs = self.rare_logs
        if logs is None:
            with _making:  # two threads must not each make one
                logs = self.rare_logs = {} if self.rare_logs is None else self.rare_logs
        log = logs.get(name)
        if log is None:
            log = logs.setdefault(name, BoundedLog(_RARE))
        return log

    def set_up_at(self, frame: FrameType, flow_name: str) -> None:
        """Remember the line that set the flow up: until it runs, that is where ``execute()`` is missing."""
        if self.set_up is not None:  # it was set up before, and not run
            self.expect_no_run()
        if self.block is None:  # tasks inside its block belong to it without a run
            # The code alone: a bound method would keep the flow.
            target = None if self.definition is None else getattr(self.definition.target, "__code__", None)
            self.set_up = SetUp(frame, flow_name, target if type(target) is CodeType else None)

    def expect_no_run(self) -> None:
        """Warn of nothing when the flow is dropped: it is run, or an error says why it is not."""
        if self.set_up is not None:
            self.set_up.__class__ = SetUpAndRun  # type: ignore[assignment]
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
            SetUp.warn(set_up, occasion)

    def __iter__(self) -> Never:
        raise TypeError(NO_DATA)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a copy in another process has: everything but what belongs to this one."""
        from otelflow._core.text.portable import portable  # noqa: PLC0415 few of them travel

        values, definition = self._own_values(), self.definition
        if definition is not None and definition.is_importable:
            # Under its name pickle does not find a decorated function itself.
            values["definition"] = definition.decorated or definition
        elif self.status is not None:
            values["definition"] = None  # a copy of what was done needs no function, and pickle has none to give
        if self.status is not None:  # it has run: of what it was called with, a text will do
            args, kwargs = portable(self.args), portable(self.kwargs)
            options = {name: option for name, option in self.options.items() if portable(option) is option}
            if args is not self.args or kwargs is not self.kwargs or len(options) < len(self.options):
                values["definition"] = None  # which could not be called with that
            values |= {"args": args, "kwargs": kwargs, "options": options}
            values |= {name: portable(values[name]) for name in ("error", "data", "run_params")}
        return None, values

    def __copy__(self) -> "FlowState":
        state = FlowState.__new__(FlowState)
        state.__setstate__((None, self._own_values()))
        return state

    def _own_values(self) -> dict[str, Any]:
        set_up = None if self.set_up is None else (os.getpid(), self.set_up.parts())
        self.expect_no_run()  # it is handed over: whoever has the copy runs it, or is told that nobody did
        values = {name: getattr(self, name) for name in self.__slots__}
        for name in ("reference", "run", "block", "coroutine", "tree", "logger"):
            values[name] = None
        values["set_up"] = set_up
        return values

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        if self.definition is not None:
            self.definition = definition_of(self.definition) or self.definition
        process_id, parts = state[1]["set_up"] or (0, ())
        # A library may make copies and drop them (dataclasses.asdict); what came from another process is the only one.
        self.set_up = copy_of(*parts) if parts and process_id != os.getpid() else None


#: What a Flow says to a library that takes it for data
NO_DATA: Final = (
    "a Flow is no data and cannot be serialized: a call of a function with @flow sets it up, and await runs it and "
    "gives it back; decorate it with @flow(execute_on_call=True), or give the framework a plain function that "
    "returns f(…).execute().flow_return_value, in async code (await f(…)).flow_return_value"
)


def fresh_copy(value: Any) -> Any:
    """Return *value* with each plain dict, list and set in it anew: what one run adds is not there for the next."""
    if type(value) is dict:
        return {key: fresh_copy(item) for key, item in value.items()}
    if type(value) is list:
        return [fresh_copy(item) for item in value]
    return set(value) if type(value) is set else value


def name_of(flow: Any) -> str:
    """Return what *flow* is called: its ``flow_name``, unless a user's class has no name under that name."""
    state = flow.flow_state
    if state.is_plain and type(state.name) is str:
        return state.name
    return _own_text(flow, "flow_name") or str(state.name)


def id_of(flow: Any) -> str:
    """Return the id of the next or last run of *flow*, as ``name_of`` does."""
    state = flow.flow_state
    if state.is_plain and type(state.id) is str:
        return state.id
    return _own_text(flow, "flow_id") or str(state.id)


def _own_text(flow: Any, attribute: str) -> str:
    """Return what a user's class has as *attribute*, if that is a text."""
    try:
        value = getattr(flow, attribute)
    except Exception as error:  # a property of the user's
        if comes_from_outside(error):
            raise
        return ""
    is_text = isinstance(value, str | Enum) or type(value).__module__ == "uuid"
    return value if type(value) is str else text_of_name(value) if is_text else ""
