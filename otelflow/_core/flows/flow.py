"""A flow: one function or ``main``, one trace each time it is executed."""

import inspect
import sys
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Never, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from otelflow._core.flows import declared
from otelflow._core.flows.config import Flow_Run__Config
from otelflow._core.flows.definition import (
    Capture,
    Definition,
    FlowOptions,
    Kind,
    decorate,
    show_keywords,
)
from otelflow._core.flows.flow_run import Block, FlowRun, innermost_block, new_flow_id
from otelflow._core.flows.objective import Objective, checked_buckets
from otelflow._core.inside import events, messages
from otelflow._core.inside.artifacts import Artifact, Result, add_artifact, add_result
from otelflow._core.inside.speaker import Speaker
from otelflow._core.process import provider
from otelflow._core.runs.bounded import BoundedLog
from otelflow._core.runs.current import open_run_here
from otelflow._core.runs.drivers import run_to_end
from otelflow._core.runs.endings import FAILED
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import bounded_name
from otelflow.errors import ConfigurationError, FlowNotSetUp, NotCallable, UnfillableParameter, UnknownKeyword

if TYPE_CHECKING:
    from otelflow._core.flows.osbot_report import Flow_Stats
    from otelflow._core.flows.task import Task

P = ParamSpec("P")
R = TypeVar("R")

_IN_MEMORY: Final = 1_000


class Flow(Speaker, Generic[R]):
    """One flow, set up to be executed; each ``execute()`` is a run, a trace, an id of its own.

    ``@flow`` makes it. Used directly, give ``setup()`` what it runs, or subclass it and override ``main``, and
    ``task_dependencies`` for what tasks may ask for.

    *flow_name* (str): its name; that of the function or class unless given. *flow_id* (str): the id of every run; a new
    one for each unless given. *flow_config* (``Flow_Run__Config``): how it logs, prints and raises. *data* (mapping):
    what ``flow_data`` begins with. *capture_parameters* (True, or names of parameters) and *capture_return_value*
    (bool): record these values on the span, redacted and bounded. *more*: attributes that the class has, ``objective``
    and ``buckets`` among them.

    After a run: ``status`` is one of ``semconv.RESULTS`` (``running`` meanwhile, None before), ``flow_return_value``
    and ``flow_error`` are how it ended, ``duration`` is in seconds, ``started_ns`` and ``ended_ns`` are nanoseconds
    since the epoch, and ``data``, ``log``, ``artifacts``, ``results`` and ``executed_tasks`` are what it left.

    Raises UnknownKeyword for a keyword that is no attribute, UnfillableParameter for an argument without a name,
    ConfigurationError for a value that does not fit.

    >>> from otelflow import Flow
    >>> class Power(Flow):
    ...     def main(self, base, exponent=2):
    ...         return base**exponent
    >>> run = Power(flow_name="power").setup(base=3).execute()
    >>> run.flow_name, run.status, run.flow_return_value
    ('power', 'success', 9)
    """

    flow_target: Callable[..., Any] | None = None
    flow_return_value: R | None = None
    flow_error: BaseException | None = None
    status: str | None = None
    started_ns: int = 0
    ended_ns: int = 0
    duration: float | None = None
    objective: Objective | None = None
    buckets: Sequence[float] | None = None
    flow_definition: Definition | None = None
    flow_run: "FlowRun | None" = None
    _block: "Block | None" = None
    _used_id: str | None = None
    _is_main: bool = False

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Begin at once: a subclass (a dataclass, say) may have an ``__init__`` that does not call ours."""
        flow = super().__new__(cls)
        if cls is not Flow:
            Flow.__init__(flow)
        return flow

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.main is not Flow.main:
            _declare(cls.__name__, cls, cls.objective, cls.buckets)

    def __init__(
        self,
        *positional: Never,
        flow_name: str | None = None,
        flow_id: str | None = None,
        flow_config: Flow_Run__Config | None = None,
        data: Mapping[str, Any] | None = None,
        capture_parameters: Capture = False,
        capture_return_value: bool = False,
        **attributes: Any,
    ) -> None:
        if positional:
            cure = self._how_to_call_main(()) or "; give what it runs to setup(): Flow().setup(function, …).execute()"
            raise UnfillableParameter("flow", type(self).__name__, f"it takes keywords only{cure}")
        if flow_config is not None and not isinstance(flow_config, Flow_Run__Config):
            raise ConfigurationError(f"flow_config must be a Flow_Run__Config, not {flow_config!r:.80}")
        for name, value in attributes.items():
            if not hasattr(type(self), name) and not any(
                name in inspect.get_annotations(c) for c in type(self).__mro__
            ):
                raise UnknownKeyword(
                    type(self).__name__, name, inspect.signature(flow).parameters, self._how_to_call_main((name,))
                )
            setattr(self, name, value)
        self.flow_config = flow_config if flow_config is not None else Flow_Run__Config()
        self.flow_name = flow_name or type(self).__name__
        self.flow_id = flow_id or new_flow_id()
        self.flow_args: tuple[Any, ...] = ()
        self.flow_kwargs: dict[str, Any] = {}
        self.flow_run_params: Mapping[str, Any] | None = None
        self.data: dict[str, Any] = dict(data or {})
        self.reference: weakref.ref[Flow[Any]] = weakref.ref(self)
        self._is_named = bool(flow_name)
        self._has_fixed_id = flow_id is not None
        self._capture: dict[str, Any] = {
            "capture_parameters": capture_parameters,
            "capture_return_value": capture_return_value,
        }
        self._forget_run()

    def begin_flow_run(self) -> None:
        """Forget the run before, and take an id that no run had; called by the run."""
        if self._used_id is not None:
            self._forget_run()
            if self.flow_id == self._used_id and not self._has_fixed_id:
                self.flow_id = new_flow_id()
        self._used_id = self.flow_id

    def _forget_run(self) -> None:
        self.executed_tasks: BoundedLog[Task] = BoundedLog(
            _IN_MEMORY, _IN_MEMORY, _IN_MEMORY, lambda task: task.status in FAILED
        )
        self.log: BoundedLog[messages.Line] = messages.new_log()
        self.artifacts: BoundedLog[Artifact] = BoundedLog(_IN_MEMORY, _IN_MEMORY, 0, _is_unimportant)
        self.results: BoundedLog[Result] = BoundedLog(_IN_MEMORY, _IN_MEMORY, 0, _is_unimportant)
        self.captured_events: BoundedLog[events.Flow_Run__Event] = BoundedLog(
            _IN_MEMORY, _IN_MEMORY, 0, _is_unimportant
        )

    # Set up

    def setup(self, target: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Self:
        """Say what ``execute()`` runs: *target* with these arguments, or ``main`` with them by name.

        *target* (a function, method or other callable): None is ``main``. *args*, *kwargs*: what it is called with.

        Returns the flow. Raises NotCallable for a target that cannot be called, FlowNotSetUp without one when ``main``
        is not overridden.

        >>> Flow().setup(pow, 2, 10).execute().flow_return_value
        1024
        """
        if target is None and not self._overrides_main():
            raise FlowNotSetUp
        if target is not None and not callable(target):
            raise NotCallable("A flow", target, self._how_to_call_main(()))
        self._is_main = target is None
        return self.use_definition(
            Definition("A flow", self.main if target is None else target, self._capture), args, kwargs
        )

    def set_flow_target(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Self:
        """Do as ``setup`` with a *target*. Returns the flow; raises NotCallable.

        >>> Flow().set_flow_target(pow, 2, 10).execute().flow_return_value
        1024
        """
        self._is_main = getattr(target, "__func__", None) is type(self).main
        return self.use_definition(Definition("A flow", target, self._capture), args, kwargs)

    def use_definition(self, definition: Definition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Run *definition* with these arguments, and be called by its name, unless the user gave another."""
        self.flow_definition = definition
        self.flow_target, self.flow_args, self.flow_kwargs = definition.target, args, kwargs
        if not self._is_named and definition.name and not self._is_main:
            self.flow_name = definition.name
        return self

    def set_flow_name(self, value: str | None = None) -> Self:
        """Call the flow *value* (str), or by its function or class when that is None. Returns the flow.

        >>> Flow().setup(pow, 2, 10).set_flow_name("power").flow_name
        'power'
        """
        function_name = self.flow_definition.name if self.flow_definition is not None and not self._is_main else ""
        self.flow_name = value or function_name or type(self).__name__
        self._is_named = value is not None
        return self

    def set_flow_id__time_now(self) -> Self:
        """Make the time of now (UTC, to the nanosecond) the id of the next run. Returns the flow.

        >>> Flow().set_flow_id__time_now().flow_id
        'flow_id__20...'
        """
        now = time.time_ns()
        self.flow_id = (
            f"flow_id__{time.strftime('%Y-%m-%d__%H-%M-%S', time.gmtime(now / 1e9))}__{now % 1_000_000_000:09}"
        )
        return self

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """What a subclass runs; override it, as ``def`` or ``async def``. Raises FlowNotSetUp until then.

        >>> class Double(Flow):
        ...     def main(self, number):
        ...         return 2 * number
        >>> Double().setup(number=21).execute().flow_return_value
        42
        """
        raise FlowNotSetUp

    def task_dependencies(self) -> Mapping[str, Any]:
        """Return what tasks and the flow may ask for by name or type, a mapping by name; override it.

        >>> from otelflow import INJECTED, Flow, task
        >>> @task
        ... def load(database=INJECTED):
        ...     return len(database)
        >>> class Count(Flow):
        ...     def task_dependencies(self):
        ...         return {"database": ["a row", "another"]}
        ...     def main(self):
        ...         return load()
        >>> Count().execute().flow_return_value
        2
        """
        return _NO_DEPENDENCIES

    def _how_to_call_main(self, names: tuple[str, ...]) -> str:
        """Return where the arguments of ``main`` go, if it is overridden and has the parameters *names*."""
        if not self._overrides_main():
            return ""
        gathering = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = list(inspect.signature(self.main).parameters.values())
        parameters = [parameter for parameter in parameters if parameter.kind not in gathering]
        empty = inspect.Parameter.empty
        fitting = [p.name for p in parameters if p.default is empty or p.name in names]
        if not set(names) <= set(fitting):
            return ""
        arguments = ", ".join(f"{name}=…" for name in fitting)
        return f"; the arguments of main go to setup(), by name: {type(self).__name__}().setup({arguments}).execute()"

    def _overrides_main(self) -> bool:
        return type(self).main is not Flow.main

    # Run

    def execute(self) -> Self:
        """Run the flow to its end; an async one on a loop of its own, with this context.

        A generator flow begins when its ``flow_return_value`` is iterated, and ends with it.

        Returns the flow. Raises the flow's own exception (unless ``raise_flow_error`` is False), FlowNotSetUp when it
        has nothing to run, UnfillableParameter when the arguments do not fit.

        >>> Flow().setup(pow, 2, 10).execute()
        <Flow pow flow_id__... success>
        """
        rest = self._start()
        return self if rest is None else run_to_end(self._awaited(rest))

    async def execute_async(self) -> Self:
        """Run the flow on the running loop. Returns the flow; raises as ``execute`` does.

        >>> import asyncio
        >>> asyncio.run(Flow().setup(asyncio.sleep, 0, "awake").execute_async()).flow_return_value
        'awake'
        """
        rest = self._start()
        return self if rest is None else await self._awaited(rest)

    def _start(self) -> Coroutine[Any, Any, Any] | None:
        """Start the run; return what must be awaited for it to end: the flow is async, or returned a coroutine."""
        if self.flow_definition is None:
            self.setup()
        definition = self.flow_definition
        assert definition is not None  # noqa: S101 setup() has set it
        started = definition.drive(lambda _args, _kwargs: FlowRun(self, definition))()
        if definition.is_generator:
            self.flow_return_value = started
        is_open = definition.kind is Kind.COROUTINE or self.status == "running"
        return started if is_open and type(started) is CoroutineType else None

    async def _awaited(self, rest: Coroutine[Any, Any, Any]) -> Self:
        await rest
        return self

    def execute_flow(self, flow_run_params: Mapping[str, Any] | None = None) -> Self:
        """Do as ``execute``, keeping *flow_run_params* (a mapping) in the attribute of that name.

        >>> Flow().setup(pow, 2, 10).execute_flow({"reason": "nightly"}).flow_run_params
        {'reason': 'nightly'}
        """
        self.flow_run_params = flow_run_params
        return self.execute()

    def run(self) -> dict[str, Any]:
        """Do as ``execute``, and return the flow's ``data``, a dict.

        >>> def remember(flow_data):
        ...     flow_data["answer"] = 42
        >>> Flow().setup(remember).run()
        {'answer': 42}
        """
        return self.execute().data

    def __enter__(self) -> Self:
        self._block = Block(self, self._block)
        self._block.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        block = innermost_block(self) or self._block  # threads may share a flow, and each leaves its own block
        if block is not None:
            block.close()
        while self._block is not None and self._block.is_closed:
            self._block = self._block.around

    # Messages, artifacts, results

    def _speaking_run(self) -> Run:
        """Return the run to which something said now belongs: the task or flow of ours that is current."""
        run = open_run_here()
        while run is not None and run.flow is not self:
            run = run.parent
        run = run or self.flow_run or self._block
        if run is None:
            run = Block(self, None)
            run.has_ended = self.duration is not None and provider.span_maker() is not None
        return run

    def _log(self, level: int, message: object, task_run_id: str | None) -> None:
        messages.write(self._speaking_run(), level, message, task_run_id=task_run_id)

    def add_flow_artifact(
        self,
        description: str | None = None,
        key: str | None = None,
        data: object = None,
        artifact_type: str | None = None,
    ) -> Artifact:
        """Record something that the run made: a table, a page, a link, a picture, a progress.

        *description* (str): what it is. *key* (str): what it is looked up by, up to 128 letters, digits, ``.``, ``_``
        and ``-``.
        *data*: what it is made of, and *artifact_type* (str) what that must be: ``markdown`` (a text), ``table`` (a
        list of rows or a dict of columns), ``link`` (an http address), ``progress`` (0 to 100), ``image`` (bytes, or an
        http address), ``json``, ``error``, or any other word for anything. Without a type it is ``json``, ``error`` or
        ``text``.

        Returns the ``Artifact``, whose ``update()`` gives it a new state. Raises InvalidArtifact for a key or data that
        does not fit.

        >>> def count(this_flow):
        ...     this_flow.add_flow_artifact("what was sold", key="sold", data={"tea": [3, 4]}, artifact_type="table")
        >>> [artifact.data for artifact in Flow().setup(count).execute().artifacts]
        [[{'tea': 3}, {'tea': 4}]]
        """
        return add_artifact(self._speaking_run(), key, data, description, artifact_type)

    def add_flow_result(self, key: str, description: object) -> Result:
        """Record a named result of the run.

        *key* (str): its name, up to 128 letters, digits, ``.``, ``_`` and ``-``. *description*: its value, kept as
        text, redacted and bounded.

        Returns the ``Result``. Raises InvalidArtifact for a key that is not valid.

        >>> def count(this_flow):
        ...     this_flow.add_flow_result("rows", 3)
        >>> [result.as_dict() for result in Flow().setup(count).execute().results]
        [{'key': 'rows', 'description': '3'}]
        """
        return add_result(self._speaking_run(), key, description)

    @property
    def captured_exec_logs(self) -> list[str]:
        """The messages of the run, with their ANSI colours."""
        return [line.text for line in self.log]

    def log_messages_with_colors(self) -> list[str]:
        """Return the messages of the run, a list of texts with their ANSI colours.

        >>> Flow().setup(pow, 2, 10).execute().log_messages_with_colors()[-1]
        '...Flow return value...: ...1024...'
        """
        return self.captured_exec_logs

    def log_messages(self) -> list[str]:
        """Return the messages of the run, a list of texts without ANSI colours.

        >>> Flow().setup(pow, 2, 10).execute().log_messages()[-1]
        'Flow return value: 1024'
        """
        return [line.plain_text for line in self.log]

    def captured_logs(self) -> list[str]:
        """Return what ``log_messages`` returns.

        >>> Flow().setup(pow, 2, 10).execute().captured_logs()[-1]
        'Flow return value: 1024'
        """
        return self.log_messages()

    def print_log_messages(self, use_colors: bool = True) -> Self:
        """Print the messages of the run, with their ANSI colours if *use_colors*. Returns the flow.

        >>> run = Flow().setup(pow, 2, 10).execute().print_log_messages(use_colors=False)
        Created flow run ...
        Executing flow run ...
        Flow return value: 1024
        """
        for text in self.log_messages_with_colors() if use_colors else self.log_messages():
            sys.stdout.write(text + "\n")
        return self

    # Reports

    @property
    def flow_stats(self) -> "Flow_Stats":
        """Times, status and counts of the run."""
        from otelflow._core.flows import osbot_report  # noqa: PLC0415 most programs never ask for one

        return osbot_report.Flow_Stats(self)

    def durations(self) -> dict[str, Any]:
        """Return name, duration (seconds) and status of the flow, and the seconds of each task by its name, in a dict.

        >>> sorted(Flow().setup(pow, 2, 10).execute().durations())
        ['flow_duration', 'flow_name', 'flow_status', 'flow_tasks']
        """
        from otelflow._core.flows import osbot_report  # noqa: PLC0415 most programs never ask for one

        return osbot_report.durations(self)

    def durations__with_tasks_status(self) -> dict[str, Any]:
        """Return ``durations()`` with the tasks in their order, each with name, duration (seconds) and status.

        >>> Flow().setup(pow, 2, 10).execute().durations__with_tasks_status()["flow_tasks"]
        {}
        """
        from otelflow._core.flows import osbot_report  # noqa: PLC0415 most programs never ask for one

        return osbot_report.durations_with_tasks_status(self)

    def flow_output(self) -> dict[str, Any]:
        """Return the return value and the durations, in a dict.

        >>> Flow().setup(pow, 2, 10).execute().flow_output()["output"]
        1024
        """
        return {"output": self.flow_return_value, "durations": self.durations()}

    def json(self) -> dict[str, Any]:
        """Return everything that is kept of the run as plain data: a dict of what JSON knows.

        >>> sorted(Flow().setup(pow, 2, 10).execute().json())
        ['flow_data', 'flow_events']
        """
        from otelflow._core.flows import osbot_report  # noqa: PLC0415 most programs never ask for one

        return osbot_report.as_json(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.flow_name} {self.flow_id} {self.status or 'not run'}>"


_NO_DEPENDENCIES: Final[Mapping[str, Any]] = {}


def _is_unimportant(_: object) -> bool:
    return False


def _declare(name: str, target: Any, objective: Any, buckets: Any) -> None:
    """Let metrics and ``otelflow generate`` know of a flow before it runs. Raises ConfigurationError."""
    if not isinstance(objective, Objective | None):
        raise ConfigurationError(f"Flow {name!r}: objective must be an Objective, not {objective!r:.60}")
    bounds = checked_buckets(buckets)
    description = (getattr(target, "__doc__", None) or "").strip().partition("\n")[0]
    module = getattr(target, "__module__", None) or ""
    declared.declare(declared.Declared(bounded_name(name), module, bounds, objective, description))


if TYPE_CHECKING:  # making them takes a good part of an import

    class _Decorator(Protocol):
        @overload
        def __call__(self, target: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Flow[R]]: ...
        @overload
        def __call__(self, target: Callable[P, R], /) -> Callable[P, Flow[R]]: ...


@overload
def flow(target: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Flow[R]]: ...
@overload
def flow(target: Callable[P, R], /) -> Callable[P, Flow[R]]: ...
@overload
def flow(**options: Unpack[FlowOptions]) -> "_Decorator": ...
def flow(target: Any = None, /, **options: Any) -> Any:
    """Make a function or method a flow: calling it returns a ``Flow`` that is set up, and ``execute()`` runs it.

    *flow_name* (str): its name; that of the function unless given. *flow_id* (str): the id of every run.
    *flow_config* (``Flow_Run__Config``): how it logs, prints and raises. *data* (mapping): what ``flow_data`` begins
    with.
    *capture_parameters* (True, or names), *capture_return_value* (bool): record values, redacted and bounded.
    *objective* (``Objective``): what alerts are made of. *buckets* (numbers, seconds): those of the metric of
    durations.

    Returns a function that returns the ``Flow``. Raises UnknownKeyword, NotCallable, or ConfigurationError for a value
    that does not fit its keyword.

    >>> from otelflow import flow
    >>> @flow(capture_return_value=True)
    ... def halve(number):
    ...     return number / 2
    >>> halve(10).execute().flow_return_value
    5.0
    """

    def wrap(definition: Definition) -> Callable[..., Flow[Any]]:
        keywords = {name: value for name, value in options.items() if name != "data"}
        plan: Flow[Any] = Flow(**keywords)  # a wrong value is said at decoration, not at the first call
        _declare(
            bounded_name(plan.use_definition(definition, (), {}).flow_name),
            definition.target,
            plan.objective,
            plan.buckets,
        )

        def new_flow(*args: Any, **kwargs: Any) -> Flow[Any]:
            flow: Flow[Any] = Flow(**keywords)
            flow.data.update(options.get("data") or {})
            return flow.use_definition(definition, args, kwargs)

        return new_flow

    return decorate("@flow", FlowOptions, target, options, wrap)


show_keywords(flow, FlowOptions)
