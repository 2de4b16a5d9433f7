"""A task: one function, one span each time it is called."""

import functools
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, ParamSpec, Protocol, Self, TypeVar, overload

from otelflow import semconv
from otelflow._core.flows.definition import Capture, Kind, Spec, check_keywords, marked, shown_value
from otelflow._core.flows.injection import dependencies_of
from otelflow._core.inside import events, messages
from otelflow._core.inside.artifacts import Artifact, Result, add_artifact, add_result
from otelflow._core.process import forks
from otelflow._core.process.ids import new_id
from otelflow._core.process.settings import settings
from otelflow._core.runs.current import current_run, open_run_here
from otelflow._core.runs.endings import SUCCESS, Outcome, error_message
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import printable
from otelflow.errors import NotCallable

if TYPE_CHECKING:
    import weakref

    from otelflow._core.flows.flow import Flow

P = ParamSpec("P")
R = TypeVar("R")

_counting: Final = forks.new_lock()


def new_task_id() -> str:
    """Return an id that no other task run has."""
    return new_id("task_id__")


class Task:
    """One call of a task. ``@task`` makes it; used directly, set ``task_target`` and call ``execute__sync()``.

    ``task_return_value``, ``task_error`` and ``duration`` (seconds) are there when it has ended.
    """

    _spec: Spec | None = None
    _flow: "weakref.ref[Flow[Any]] | None" = None
    _run: "TaskRun | None" = None
    task_return_value: Any = None
    task_error: BaseException | None = None
    status: str | None = None
    duration: float | None = None
    started_ns: int = 0

    def __init__(
        self,
        task_target: Callable[..., Any] | None = None,
        task_args: tuple[Any, ...] = (),
        task_kwargs: dict[str, Any] | None = None,
        *,
        task_name: str = "",
        task_id: str = "",
        raise_on_error: bool = True,
    ) -> None:
        self.task_target = task_target
        self.task_args = task_args
        self.task_kwargs = {} if task_kwargs is None else task_kwargs
        self.task_name = task_name
        self.task_id = task_id or new_task_id()
        self.raise_on_error = raise_on_error
        self.data: dict[str, Any] = {}

    @property
    def task_flow(self) -> "Flow[Any] | None":
        """The flow that the task belongs to, as long as somebody keeps it."""
        return self._flow() if self._flow is not None else None

    @task_flow.setter
    def task_flow(self, flow: "Flow[Any] | None") -> None:
        self._flow = None if flow is None else flow.reference

    def find_flow(self) -> "Flow[Any] | None":
        """Return the flow that is current here."""
        run = current_run()
        return self.task_flow or (run.flow if run is not None else None)

    def execute__sync(self) -> Any:
        """Run the task and return its value.

        Raises the target's own exception, unless ``raise_on_error`` is False; NotCallable without a target.
        """
        spec = self._known()
        return spec.runner(lambda _args, _kwargs: TaskRun(self, spec))()

    async def execute__async(self) -> Any:
        """Run the task, also one that is not async, and return its value; raises as ``execute__sync`` does."""
        value = self.execute__sync()
        return await value if self._known().kind is Kind.COROUTINE else value

    def _known(self) -> Spec:
        if self.task_target is None:
            raise NotCallable("A task", None)
        if self._spec is None or self._spec.target is not self.task_target:
            self._spec = Spec("A task", self.task_target)
        self.task_name = printable(self.task_name or self._spec.name or type(self).__name__)
        self.task_id = printable(self.task_id)
        return self._spec

    def log_debug(self, message: object) -> None:
        """Record *message* at level DEBUG."""
        self._log(logging.DEBUG, message)

    def log_info(self, message: object) -> None:
        """Record *message* at level INFO."""
        self._log(logging.INFO, message)

    def log_warning(self, message: object) -> None:
        """Record *message* at level WARNING."""
        self._log(logging.WARNING, message)

    def log_error(self, message: object) -> None:
        """Record *message* at level ERROR."""
        self._log(logging.ERROR, message)

    def _log(self, level: int, message: object) -> None:
        run = self._run or open_run_here()
        if run is not None:
            messages.write(run, level, message)

    def add_task_artifact(
        self,
        description: str | None = None,
        key: str | None = None,
        data: object = None,
        artifact_type: str | None = None,
    ) -> Artifact:
        """Record an artifact of this task. Raises InvalidArtifact for a key or data that does not fit."""
        return add_artifact(self._run or TaskRun(self, None), key, data, description, artifact_type)

    def add_task_result(self, key: str, description: object) -> Result:
        """Record a result of this task. Raises InvalidArtifact for a key that is not valid."""
        return add_result(self._run or TaskRun(self, None), key, description)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Nothing to release; ``with Task() as task`` reads well."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task_name} {self.task_id} {self.status or 'not run'}>"


class TaskRun(Run):
    """The run of a task."""

    __slots__ = ("spec",)

    START: ClassVar = events.Flow_Run__Event_Type.TASK_START
    STOP: ClassVar = events.Flow_Run__Event_Type.TASK_STOP

    task: Task
    task_name: str
    spec: Spec

    def __init__(self, task: Task, spec: Spec | None) -> None:
        super().__init__()
        self.task = task
        self.task_name = task.task_name
        self.task_run_id = task.task_id
        self.config = settings()
        if spec is not None:
            self.spec = spec

    def place(self, parent: Run | None) -> None:
        """Belong to the flow of *parent*, or to none."""
        task = self.task
        if parent is not None:
            self.flow_run = parent.flow_run
            self.flow = parent.flow
            self.flow_name = parent.flow_name
            self.flow_run_id = parent.flow_run_id
            self.config = parent.config
        if self.flow is not None:
            task._flow = self.flow.reference
            if self.config.add_task_to_self:
                self.flow.executed_tasks.append(task)
        task._run = self

    def span_name(self) -> str:
        """Return ``task {name}``."""
        return "task " + self.task_name

    def span_attributes(self) -> Mapping[str, Any]:
        """Return who runs, and in which flow."""
        found = {
            semconv.TASK_NAME: self.task_name,
            semconv.TASK_RUN_ID: self.task_run_id,
            semconv.CODE_FUNCTION_NAME: self.spec.code_name,
        }
        if self.flow_name is not None:
            found[semconv.FLOW_NAME] = self.flow_name
            found[semconv.FLOW_RUN_ID] = self.flow_run_id
        if self.spec.capture_parameters:
            found.update(self.spec.captured_parameters(self.task.task_args, self.task.task_kwargs))
        return found

    def call(self) -> Any:
        """Call the target with what it asks for."""
        task, flow = self.task, self.flow
        dependencies = dependencies_of(flow)
        if not dependencies and self.spec.injection.is_needless:
            return self.spec.call(self, task.task_args, task.task_kwargs)
        named = {
            "this_flow": flow,
            "this_task": task,
            "flow_data": {} if flow is None else flow.data,
            "task_data": task.data,
        }
        return self.spec.call_injected(self, task.task_args, task.task_kwargs, named, dependencies)

    def started(self) -> None:
        """Say that the task is executed."""
        self.task.started_ns = self.started_ns
        self.task.status = "running"
        messages.lifecycle(self, logging.DEBUG, messages.EXECUTING_TASK, self.task_name)

    def ended(self, outcome: Outcome, value: object, duration: float) -> None:
        """Keep value, error and duration on the task, and count it in its flow if it failed."""
        task = self.task
        task._run = None
        task.status, task.duration = outcome.result, duration
        task.task_return_value, task.task_error = value, outcome.error
        if outcome is not SUCCESS and outcome.is_failure and self.flow_run is not None:
            with _counting:
                self.flow_run.failed_tasks += 1
        self._say(outcome, value)

    def _say(self, outcome: Outcome, value: object) -> None:
        if outcome.error is not None:
            text = f"'{self.task_name}' task: {error_message(outcome.error, settings().value_limit)}"
            messages.lifecycle(self, logging.ERROR, messages.TASK_ERROR, text)
        elif value is not None or self.config.print_none_return_value:
            messages.lifecycle(self, logging.DEBUG, messages.TASK_VALUE, value)
            if self.spec.capture_return_value and self.is_recording:
                self.span.set_attribute(semconv.RUN_RETURN_VALUE, shown_value(value))
        if self.config.print_finished_message:
            messages.lifecycle(self, logging.DEBUG, messages.FINISHED_TASK, self.task_name)

    def swallows(self, outcome: Outcome) -> bool:
        """Keep an exception inside with ``raise_on_error=False``, unless the task could not even be called."""
        return not self.task.raise_on_error and outcome.result != semconv.ERROR and isinstance(outcome.error, Exception)


if TYPE_CHECKING:  # making them takes a good part of an import

    class _Decorator(Protocol):
        def __call__(self, target: Callable[P, R], /) -> Callable[P, R]: ...

    class _LenientDecorator(Protocol):
        @overload
        def __call__(
            self, target: Callable[P, Coroutine[Any, Any, R]], /
        ) -> Callable[P, Coroutine[Any, Any, R | None]]: ...
        @overload
        def __call__(self, target: Callable[P, R], /) -> Callable[P, R | None]: ...


_KEYWORDS: Final = {
    "task_name": str | None,
    "task_id": str | None,
    "raise_on_error": bool,
    "capture_parameters": bool | Sequence,
    "capture_return_value": bool,
}


@overload
def task(target: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def task(
    *,
    task_name: str | None = None,
    task_id: str | None = None,
    raise_on_error: Literal[True] = True,
    capture_parameters: Capture = False,
    capture_return_value: bool = False,
) -> "_Decorator": ...
@overload
def task(
    *,
    task_name: str | None = None,
    task_id: str | None = None,
    raise_on_error: Literal[False],
    capture_parameters: Capture = False,
    capture_return_value: bool = False,
) -> "_LenientDecorator": ...
def task(target: Any = None, /, **keywords: Any) -> Any:
    """Make a function or method a task: each call is one span, and returns what the function returns.

    With ``raise_on_error=False`` an exception is recorded and the call returns None. ``capture_parameters`` (True or
    names) and ``capture_return_value`` record values on the span, redacted and bounded.

    Raises UnknownKeyword, NotCallable, or ConfigurationError for a value that does not fit its keyword.
    """
    check_keywords("@task", keywords, _KEYWORDS)
    return functools.partial(_decorate, **keywords) if target is None else _decorate(target, **keywords)


def _decorate(
    target: Any,
    task_name: str | None = None,
    task_id: str | None = None,
    raise_on_error: bool = True,
    **capture: Any,
) -> Any:
    if isinstance(target, staticmethod | classmethod):
        inner = _decorate(target.__func__, task_name, task_id, raise_on_error, **capture)
        return type(target)(inner)
    if isinstance(target, type):
        raise NotCallable("@task", target)
    spec = Spec("@task", target, **capture)
    spec.name = printable(task_name or spec.name or "Task")
    return _wrapped(spec, printable(task_id or ""), raise_on_error)


def _wrapped(spec: Spec, task_id: str, raise_on_error: bool) -> Any:
    def new_run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskRun:
        call = Task(spec.target, args, kwargs, task_name=spec.name, task_id=task_id, raise_on_error=raise_on_error)
        call._spec = spec
        return TaskRun(call, spec)

    return marked(functools.wraps(spec.target)(spec.runner(new_run)), "task")
