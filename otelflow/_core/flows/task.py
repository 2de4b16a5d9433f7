"""A task: one function, one span each time it is called."""

import functools
import logging
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    ParamSpec,
    Self,
    TypeVar,
)

from otelflow import semconv
from otelflow._core import flows, inside
from otelflow._core.flows.definition import Definition, Kind, refuse_flow, shown_value, text_of_name
from otelflow._core.flows.execution import ExecutedRun, to_end, to_end_async
from otelflow._core.flows.fitting import check_task, keep_own
from otelflow._core.flows.flow_run import Block
from otelflow._core.inside import messages, print_capture
from otelflow._core.inside.log_methods import LogMethods
from otelflow._core.process import clock, forks, provider
from otelflow._core.process.ids import new_id
from otelflow._core.process.settings import settings
from otelflow._core.runs import open_runs, spans
from otelflow._core.runs.current import current_run, open_run_here, parent_here
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import keeps_inside
from otelflow._core.runs.observers import observed
from otelflow._core.runs.run import Conduct, Run
from otelflow._core.text import classes
from otelflow._core.text.safe_str import bounded_name, brief_repr
from otelflow.errors import ConfigurationError, NotCallable

if TYPE_CHECKING:
    from otelflow._core.flows.osbot_statistics import Task_Stats
    from otelflow._core.inside.artifacts import Artifact, Result

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_DEBUG: Final = logging.DEBUG
_counting: Final = forks.new_lock()


def _new_sync_run(task: "Task") -> Any:
    """Return the next run of *task*, or what begins it: a coroutine or a generator."""
    definition = _prepare(task)
    if definition.kind is Kind.FUNCTION:
        return new_task_run(task, definition)
    return definition.drive(lambda _args, _kwargs: new_task_run(task, definition))()


def _new_run(task: "Task") -> Any:
    """Return the next run of *task*, or the generator that begins it."""
    definition = _prepare(task)
    if definition.kind is Kind.COROUTINE:
        return new_task_run(task, definition)
    return _new_sync_run(task)


def _prepare(task: "Task") -> Definition:
    if task.task_target is None:
        raise NotCallable("A task", None)
    check_task(task)
    definition = task.task_definition
    if definition is None or definition.target is not task.task_target:
        refuse_flow("A task", task.task_target)
        definition = task.task_definition = Definition("A task", task.task_target)
    task.task_name = bounded_name(text_of_name(task.task_name) or definition.name or type(task).__name__)
    task.task_id = bounded_name(text_of_name(task.task_id))
    return definition


class Task(LogMethods):
    """One call of a task, with what it was called with and how it ended.

    ``@task`` makes it for each call, and ``this_task`` is how its body asks for it. Used directly, it is one task to
    run.

    *task_target* (a function, method or other callable): what it runs. *task_args* (tuple), *task_kwargs* (dict): what
    that is called with. *task_name* (str): that of the function unless given. *task_id* (str): a new one unless given.
    *task_flow* (``Flow``): the one that it belongs to where none is current.
    *raise_on_error* (bool): whether an ``Exception`` of the target comes out; if not, None is returned in its place.

    After the call: ``status`` is one of ``semconv.RESULTS`` (``running`` meanwhile, None before), ``task_return_value``
    and ``task_error`` are how it ended, ``duration`` is in seconds, ``started_ns`` is in nanoseconds since the epoch.

    Raises ConfigurationError for a *task_flow* that is no ``Flow``; a call raises NotCallable without a target, and
    ConfigurationError for *task_args* that are no tuple or list, *task_kwargs* that are no mapping.

    >>> from otelflow import Task
    >>> call = Task(task_target=pow, task_args=(2, 10))
    >>> call.execute__sync(), call.status
    (1024, 'success')
    """

    task_target: Callable[..., Any] | None = None
    task_definition: Definition | None = None
    flow_reference: weakref.ref[Any] | None = None
    task_run: Run | None = None
    task_return_value: Any = None
    task_error: BaseException | None = None
    status: str | None = None
    duration: float | None = None
    started_ns: int = 0

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        keep_own(cls)

    def __init__(
        self,
        task_target: Callable[..., Any] | None = None,
        task_args: tuple[Any, ...] = (),
        task_kwargs: dict[str, Any] | None = None,
        *,
        task_name: str = "",
        task_id: str = "",
        task_flow: Any = None,
        raise_on_error: bool = True,
    ) -> None:
        self.task_target = task_target
        self.task_args = task_args
        self.task_kwargs = {} if task_kwargs is None else task_kwargs
        self.task_name = task_name
        self.task_id = task_id or new_id("task_id__")
        if task_flow is not None:
            self.task_flow = task_flow
        self.raise_on_error = raise_on_error

    @functools.cached_property
    def data(self) -> dict[str, Any]:
        """What the body of the task keeps for itself: its ``task_data``."""
        return {}

    @property
    def task_flow(self) -> Any:
        """The flow that the task belongs to, as long as the program keeps it; the task keeps one that is set here."""
        return self.flow_reference() if self.flow_reference is not None else None

    @task_flow.setter
    def task_flow(self, flow: Any) -> None:
        if flow is not None and classes.attribute(type(flow), "__otelflow__") != "flow":
            raise ConfigurationError(f"{type(self).__name__}: task_flow must be a Flow, not {brief_repr(flow, 60)}")
        self.flow_reference = None if flow is None else flow.flow_state.reference
        self._own_flow = flow  # it may be kept nowhere else

    @property
    def task_stats(self) -> "Task_Stats":
        """Time, status and place of the task's run."""
        return flows.osbot_statistics.Task_Stats(self)

    def find_flow(self) -> Any:
        """Return the ``Flow`` that the task belongs to, or else the one that is current here, or None.

        >>> Task(task_target=pow).find_flow() is None
        True
        """
        own, run = self.task_flow, current_run()
        return run.flow if own is None and run is not None else own

    @to_end(_new_sync_run, waits=False)
    def execute__sync(self) -> Any:
        """Run the task and return its value, which is a coroutine for an async target.

        Raises the target's own exception, unless ``raise_on_error`` is False; NotCallable without a target,
        UnfillableParameter when the arguments do not fit.

        >>> Task(task_target=divmod, task_args=(1, 0), raise_on_error=False).execute__sync() is None
        True
        """
        return self.task_return_value

    @to_end_async(_new_run, waits=False)
    async def execute__async(self) -> Any:
        """Run the task, also one that is not async, and return its value; raises as ``execute__sync`` does.

        >>> import asyncio
        >>> asyncio.run(Task(task_target=asyncio.sleep, task_args=(0, "awake")).execute__async())
        'awake'
        """
        return self.task_return_value

    @staticmethod
    def random_task_id() -> str:
        """Return an id that no other task has, a str as ``task_id`` is one.

        >>> Task.random_task_id()
        'task_id__...'
        """
        return new_id("task_id__")

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process has: what was done, without the flow and the function that did it."""
        from otelflow._core.text.portable import portable  # noqa: PLC0415 few of them travel

        values = _own_values(self)
        if "status" not in values:  # it has yet to run
            return values
        return {name: portable(value) for name, value in values.items() if name != "task_target"}

    def __copy__(self) -> "Task":
        task = type(self).__new__(type(self))
        vars(task).update(_own_values(self))
        return task

    def __otelflow_write__(self, level: int, message: object, task_run_id: str | None) -> None:
        messages.write(_run_of_entries(self, open_run_here()), level, message, task_run_id=task_run_id)

    def add_task_artifact(
        self,
        description: str | None = None,
        key: str | None = None,
        data: object = None,
        artifact_type: str | None = None,
    ) -> "Artifact":
        """Record something that this task made; arguments and types are those of ``Flow.add_flow_artifact``.

        Returns the ``Artifact``. Raises InvalidArtifact for a key or data that does not fit.

        >>> from otelflow import task
        >>> @task
        ... def fetch(this_task):
        ...     return this_task.add_task_artifact("how far it is", key="fetched", data=50, artifact_type="progress")
        >>> fetch().data
        50
        """
        return inside.artifacts.add_artifact(_run_of_entries(self), key, data, description, artifact_type)

    def add_task_result(self, key: str, description: object) -> "Result":
        """Record a named result of this task: *key* (str) and, as text, *description*.

        Returns the ``Result``. Raises InvalidArtifact for a key that is not valid.

        >>> from otelflow import task
        >>> @task
        ... def fetch(this_task):
        ...     return this_task.add_task_result("rows", 3)
        >>> fetch().as_dict()
        {'key': 'rows', 'description': '3'}
        """
        return inside.artifacts.add_result(_run_of_entries(self), key, description)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Nothing to release; ``with Task() as task`` reads well."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task_name} {self.task_id} {vars(self).get('status') or 'not run'}>"


# What a task does inside, as functions: a method would be one more name that a user's class could have.


def _own_values(task: Task) -> dict[str, Any]:
    private = ("task_definition", "flow_reference", "_own_flow", "task_run")
    return {name: value for name, value in vars(task).items() if name not in private}


def _run_of_entries(task: Task, around: Run | None = None) -> Run:
    """Return the run to which what *task* records belongs, an attempt of it, or *around*; else one never opened."""
    own = task.task_run or around
    if own is not None:
        run = open_run_here()
        return own if run is None or run.task is not task else run
    run = Run(None, settings(), task, task.task_name, task.task_id)
    run.flow = task.task_flow
    run.flow_state = None if run.flow is None else run.flow.flow_state
    run.has_ended = vars(task).get("duration") is not None and provider.span_maker() is not None
    return run


class _TaskConduct(Conduct):
    __slots__ = ()

    def opened(self, run: ExecutedRun) -> None:
        """Say that the task is executed."""
        task, now = run.task, run.started_ns
        task.status, task.started_ns = semconv.RUNNING, now
        if run.links:
            spans.link_to_each(run.span, run.links)
        # As log_lifecycle() does for most programs: a call for each of its two lines takes a twentieth of a task.
        if run.flow_state is not None and run.settings.logs_for_flow_only and not observed.lifecycle:
            line = (now, _DEBUG, messages.EXECUTING_TASK, run.task_name, run.task_run_id)
            run.flow_state.log.append(line)
        else:
            messages.log_lifecycle(run, _DEBUG, messages.EXECUTING_TASK, run.task_name, now)

    def ended(self, run: ExecutedRun, value: object) -> None:
        """Keep value, error and duration on the task, and count it in its flow if it failed."""
        if run.fragment:
            print_capture.finish(run)
        task, ending, own = run.task, run.ending, run.settings
        task.task_run = None
        task.status, task.duration, task.task_return_value = ending.result, run.duration, value
        task.task_error = error = ending.error
        if ending is not SUCCESS and ending.is_failure and run.flow_run is not None:
            count_failures(run.flow_run, 1)
        if error is not None:
            text = f"'{run.task_name}' task: {ending.error_message or ending.error_type}"
            messages.log_lifecycle(run, logging.ERROR, messages.TASK_ERROR, text)
            if own.print_error_stack_trace and keeps_inside(run, ending, ending.error):
                messages.print_traceback(error)  # one that comes out is printed by the flow that it ends
        elif value is not None or own.print_none_return_value:
            is_captured = run.definition.capture_return_value
            if run.flow_state is not None and own.logs_for_flow_only and not observed.lifecycle:  # see opened()
                line = (clock.time_ns(), _DEBUG, messages.TASK_VALUE, value, run.task_run_id)
                run.flow_state.log.append(line)
            else:
                messages.log_lifecycle(run, _DEBUG, messages.TASK_VALUE, value, is_private=not is_captured)
            if is_captured and run.is_recording:
                run.span.set_attribute(semconv.RUN_RETURN_VALUE, shown_value(value))
        if own.print_finished_message:
            messages.log_lifecycle(run, _DEBUG, messages.FINISHED_TASK, run.task_name)


_CONDUCT: Final = _TaskConduct()

# As a call of the class does, which takes longer
_new_object: Final = object.__new__
_begin: Final = Run.__init__


def new_task_run(task: Task, definition: Definition) -> ExecutedRun:
    """Return the next run of *task*, which is to run what *definition* knows."""
    run: ExecutedRun = _new_object(ExecutedRun)
    parent = current_run()
    if parent is None and task.flow_reference is not None and (own := task.flow_reference()) is not None:
        parent = Block(own, None)  # what the user has put it in
    if parent is None and open_runs.is_any() and (parent := flows.thread_pool.run_of_span()) is None:
        flows.thread_pool.warn_if_in_pool(task.task_name)
    if parent is None:
        _begin(run, None, settings(), task, task.task_name, task.task_id)
    else:
        settings_here = parent.settings
        if parent.is_closed:
            parent = parent_here()
        _begin(run, parent, settings_here, task, task.task_name, task.task_id)
        state = run.flow_state
        if state is not None:
            task.flow_reference = state.reference
            if settings_here.add_task_to_self:
                state.executed_tasks.append(task)
    run.kind, run.failed_tasks, run.session, run.links = "task", 0, None, ()
    run.conduct = _CONDUCT if definition.hooks is None else definition.hooks.conduct(_CONDUCT)
    run.definition = definition
    run.args = task.task_args
    run.kwargs = task.task_kwargs
    if definition.records_arguments:
        run.parameters = definition.recorded_parameters(run.args, run.kwargs, semconv.TASK_RUN_NAME)
    task.task_run = run
    return run


def count_failures(flow_run: Any, count: int) -> None:
    """Count *count* tasks of *flow_run* that have failed."""
    with _counting:
        flow_run.failed_tasks += count
