"""The attributes of a flow, read from its state and written to it, and the reports of its last run."""

import sys
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from otelflow._core import flows
from otelflow._core.flows.fitting import assigned
from otelflow._core.inside import messages
from otelflow._core.runs.bounded import BoundedLog
from otelflow._core.text import classes
from otelflow.errors import NoSuchAttribute

if TYPE_CHECKING:
    from otelflow._core.flows.config import Flow_Run__Config
    from otelflow._core.flows.flow_state import FlowState
    from otelflow._core.flows.osbot_report import Flow_Stats, FlowLogger
    from otelflow._core.flows.task import Task
    from otelflow._core.inside.artifacts import Artifact, Result
    from otelflow._core.inside.events import Flow_Run__Event

R = TypeVar("R")
V = TypeVar("V")

_RETURNED: Final = "what its function returned is flow_return_value, after execute()"
_RUNS: Final = "execute() runs it, in async code await does"
#: What people ask a flow for who know other frameworks, and where a flow has it
_OTHER_NAMES: Final = {
    **dict.fromkeys(("result", "return_value", "returned", "value", "output", "flow_result", "get"), _RETURNED),
    **dict.fromkeys(("error", "exception"), "what ended it is flow_error, after execute()"),
    **dict.fromkeys(("start", "submit", "delay", "invoke", "call", "apply", "execute_flow_async"), _RUNS),
    **dict.fromkeys(("run_async", "arun", "aexecute"), "in async code: await it, or execute_async()"),
    **dict.fromkeys(("state", "state_name", "ok", "success", "failed"), "how it ended is status, after execute()"),
    **dict.fromkeys(("messages", "logs", "captured_messages"), "what it said is log, after execute()"),
    **dict.fromkeys(("id", "run_id", "flow_run_id"), "its id is flow_id"),
    **dict.fromkeys(
        ("trace_id", "span_id", "span", "span_context", "trace"),
        "what runs in it has that: opentelemetry.trace.get_current_span().get_span_context(); "
        "afterwards 'otelflow show --list'",
    ),
    **dict.fromkeys(("parameters", "params", "arguments"), "they are flow_args and flow_kwargs"),
    "name": "its name is flow_name",
}


class state_value(Generic[V]):
    """A read-only view of the state that an attribute of an instance, or of a user's class, hides without harm."""

    def __init__(self, read: Callable[[Any], V]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, flow: Any, owner: object = None) -> V:
        if flow is None:  # a dataclass would take it for the default of a field with this name
            raise AttributeError("only an instance has it")
        return self._read(flow)


class _StateAttribute:
    """An attribute that stands in the state as *name*: what a user's class has in its place changes no run."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self._public_name = name

    def __get__(self, flow: Any, owner: object = None) -> Any:
        if flow is None:
            raise AttributeError("only an instance has it")
        return getattr(flow.flow_state, self._name)

    def __set__(self, flow: Any, value: Any) -> None:
        setattr(flow.flow_state, self._name, assigned(flow, self._public_name, value))


if TYPE_CHECKING:

    class AsCoroutine(Coroutine[Any, Any, V]):
        """asyncio.run() and the like take a flow. Of a method of these names with other parameters mypy complains."""

        send: Any
        throw: Any
        close: Any
else:

    class AsCoroutine(Generic[V]):
        """With these methods a flow is a Coroutine, which asyncio.run(), create_task() and TaskGroup ask for."""

        @state_value
        def send(self) -> Callable[[Any], Any]:
            """The ``send`` of ``execute_async``, for asyncio: a method would be a frame in each traceback."""
            return _coroutine_of(self).send

        @state_value
        def throw(self) -> Callable[..., Any]:
            """The ``throw`` of ``execute_async``, for asyncio."""
            return _coroutine_of(self).throw

        def close(self) -> None:
            """End ``execute_async`` where it is; for asyncio."""
            coroutine, self.flow_state.coroutine = self.flow_state.coroutine, None
            if coroutine is not None:
                coroutine.close()


def _coroutine_of(flow: Any) -> Any:
    state = flow.flow_state
    if state.coroutine is None:
        state.coroutine = flow.__await__()
    return state.coroutine


class FlowAttributes(Generic[R]):
    """What can be set on a flow (its name, its configuration, its arguments), and what is known of its last run."""

    if TYPE_CHECKING:  # a class may have a value of its own in their places
        flow_state: state_value[FlowState]
        flow_name: str
        flow_id: str
        flow_config: Flow_Run__Config
        flow_args: tuple[Any, ...]
        flow_kwargs: dict[str, Any]
        flow_run_params: Mapping[str, Any]
        flow_error: BaseException | None
    else:
        flow_name = _StateAttribute("name")
        flow_id = _StateAttribute("id")
        flow_config = _StateAttribute("config")
        flow_args = _StateAttribute("args")
        flow_kwargs = _StateAttribute("kwargs")
        flow_run_params = _StateAttribute("run_params")
        flow_error = _StateAttribute("error")

    if not TYPE_CHECKING:  # a type checker would take any misspelt name

        def __getattr__(self, name: str) -> Any:
            others = super()
            if hasattr(others, "__getattr__"):  # a class beside Flow among the bases of a user's
                return others.__getattr__(name)
            if classes.has(type(self), name):  # a property has raised, and what it said is lost: it says it again
                return object.__getattribute__(self, name)
            if name in _OTHER_NAMES:
                raise NoSuchAttribute(f"{type(self).__name__!r} object", name, _OTHER_NAMES[name])
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__orig_bases__" not in vars(cls):
            type.__setattr__(cls, "__orig_bases__", cls.__bases__)  # dill would take those it inherits for its own

    @property
    def flow_return_value(self) -> R | None:
        """What the function returned, or None before it has; reading it of a flow that never ran is a warning."""
        state = self.flow_state
        if state.set_up is not None:
            state.warn_if_never_run(", so there is no flow_return_value")
        value: R | None = state.return_value
        return value

    @flow_return_value.setter
    def flow_return_value(self, value: R | None) -> None:
        self.flow_state.return_value = value

    @property
    def data(self) -> dict[str, Any]:
        """What tasks get as ``flow_data``; what a subclass assigns that is no mapping is an attribute of its own."""
        data: dict[str, Any] = vars(self).get("data", self.flow_state.data)
        return data

    @data.setter
    def data(self, data: dict[str, Any]) -> None:
        _ = vars(self).pop("data", None)
        if self.flow_state.is_plain or isinstance(data, MutableMapping):
            self.flow_state.data = assigned(self, "data", data)
        else:
            vars(self)["data"] = data

    @state_value
    def flow_target(self) -> Callable[..., Any] | None:
        """What ``execute()`` runs, or None before it is set up."""
        definition = self.flow_state.definition
        return None if definition is None else definition.target

    @state_value
    def setup_completed(self) -> bool:
        """Whether ``setup()`` has said what ``execute()`` runs."""
        return self.flow_state.definition is not None

    @state_value
    def status(self) -> str | None:
        """``running``, one of ``semconv.RESULTS``, or None before the first run."""
        return self.flow_state.status

    @state_value
    def started_ns(self) -> int:
        """When the run began, in nanoseconds since the epoch; 0 before the first run."""
        return self.flow_state.started_ns

    @state_value
    def ended_ns(self) -> int:
        """When the run ended, in nanoseconds since the epoch; 0 before it has."""
        return self.flow_state.ended_ns

    @state_value
    def duration(self) -> float | None:
        """How long the run took, in seconds; None before it has ended."""
        return self.flow_state.duration

    @state_value
    def executed_tasks(self) -> "BoundedLog[Task]":
        """The tasks of the run in the order in which they began."""
        return self.flow_state.executed_tasks

    @state_value
    def log(self) -> BoundedLog[messages.Line]:
        """The messages of the run."""
        return self.flow_state.log

    @state_value
    def artifacts(self) -> "BoundedLog[Artifact]":
        """The artifacts of the run."""
        return self.flow_state.artifacts

    @state_value
    def results(self) -> "BoundedLog[Result]":
        """The results of the run."""
        return self.flow_state.results

    @state_value
    def captured_events(self) -> "BoundedLog[Flow_Run__Event]":
        """The events of the run, with ``flow_data__capture_events``."""
        return self.flow_state.captured_events

    @state_value
    def logger(self) -> "FlowLogger":
        """A logger whose messages are this flow's: ``flow.logger.info("42 rows")``."""
        state = self.flow_state
        logger: FlowLogger = state.logger or flows.osbot_report.FlowLogger(self)
        state.logger = logger
        return logger

    @state_value
    def captured_exec_logs(self) -> list[str]:
        """The messages of the run from its execution on, with their ANSI colours."""
        return [line.text for line in self.flow_state.lines]

    def log_messages_with_colors(self) -> list[str]:
        """Return the messages of the run from its execution on, a list of texts with their ANSI colours.

        >>> Flow().setup(pow, 2, 10).execute().log_messages_with_colors()[-1]
        '...Flow return value...: ...1024...'
        """
        return [line.text for line in self.flow_state.lines]

    def log_messages(self) -> list[str]:
        """Return the messages of the run from its execution on, a list of texts without ANSI colours.

        >>> Flow().setup(pow, 2, 10).execute().log_messages()[-1]
        'Flow return value: 1024'
        """
        return [line.plain_text for line in self.flow_state.lines]

    def captured_logs(self) -> list[str]:
        """Return what ``log_messages`` returns.

        >>> Flow().setup(pow, 2, 10).execute().captured_logs()[-1]
        'Flow return value: 1024'
        """
        return [line.plain_text for line in self.flow_state.lines]

    def print_log_messages(self, use_colors: bool = True) -> Self:
        """Print what ``log_messages_with_colors`` returns, or ``log_messages`` without *use_colors*. Returns the flow.

        >>> run = Flow().setup(pow, 2, 10).execute().print_log_messages(use_colors=False)
        Executing flow run ...
        Flow return value: 1024
        """
        for line in self.flow_state.lines:
            sys.stdout.write(messages.for_console(line, has_colors=use_colors))
        return self

    # Reports

    @state_value
    def flow_stats(self) -> "Flow_Stats":
        """Times, status and counts of the run."""
        return flows.osbot_report.Flow_Stats(self)

    def durations(self) -> dict[str, Any]:
        """Return name, duration (seconds) and status of the flow, and the seconds of each task by its name, in a dict.

        >>> sorted(Flow().setup(pow, 2, 10).execute().durations())
        ['flow_duration', 'flow_name', 'flow_status', 'flow_tasks']
        """
        return flows.osbot_report.durations(self)

    def durations__with_tasks_status(self) -> dict[str, Any]:
        """Return ``durations()`` with the tasks in their order, each with name, duration (seconds) and status.

        >>> Flow().setup(pow, 2, 10).execute().durations__with_tasks_status()["flow_tasks"]
        {}
        """
        return flows.osbot_report.durations_with_tasks_status(self)

    def flow_output(self) -> dict[str, Any]:
        """Return the return value and the durations, in a dict.

        >>> Flow().setup(pow, 2, 10).execute().flow_output()["output"]
        1024
        """
        return {"output": self.flow_state.return_value, "durations": flows.osbot_report.durations(self)}

    def json(self) -> dict[str, Any]:
        """Return everything that is kept of the run as plain data: a dict of what JSON knows.

        >>> sorted(Flow().setup(pow, 2, 10).execute().json())
        ['flow_data', 'flow_events']
        """
        return flows.osbot_report.as_json(self)
