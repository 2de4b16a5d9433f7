"""A flow: one function or ``main``, one trace each time it is executed."""

import copy
import functools
import inspect
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from types import FrameType, TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Never,
    ParamSpec,
    Self,
    TypeVar,
)

from otelflow import semconv
from otelflow._core import flows, inside
from otelflow._core.flows.calls import caller
from otelflow._core.flows.config import Flow_Run__Config
from otelflow._core.flows.declared import declare_flow
from otelflow._core.flows.definition import Definition, refuse_flow, text_of_name
from otelflow._core.flows.execution import ExecutedRun, to_end, to_end_async
from otelflow._core.flows.fitting import check_base_classes, check_flow
from otelflow._core.flows.flow_attributes import AsCoroutine, FlowAttributes, state_value
from otelflow._core.flows.flow_run import Block, innermost_block, new_flow_id, new_flow_run
from otelflow._core.flows.flow_state import NO_DATA, FlowState, id_of, name_of
from otelflow._core.flows.injection import check_dependencies
from otelflow._core.flows.keywords import (
    Capture,
    FlowOptions,
    PolicyOptions,
    check_keywords,
)
from otelflow._core.flows.objective import Objective, buckets_of, objective_of
from otelflow._core.inside import messages
from otelflow._core.inside.log_methods import LogMethods
from otelflow._core.process import clock, provider
from otelflow._core.runs.current import open_run_here
from otelflow._core.runs.endings import SUCCESS, UNCLOSED
from otelflow._core.runs.run import Run
from otelflow._core.text import classes
from otelflow.errors import FlowNotSetUp, NotCallable, UnfillableParameter, UnknownKeyword

if TYPE_CHECKING:
    import typing_extensions

    from otelflow._core.inside.artifacts import Artifact, Result

P = ParamSpec("P")
if TYPE_CHECKING:
    # ``this_flow: Flow`` is ``Flow[Any]``. Python 3.11 has no defaults; type checkers bring typing_extensions along.
    R = typing_extensions.TypeVar("R", default=Any)
else:
    R = TypeVar("R")
F = TypeVar("F", bound="Flow[Any]")
# Methods that cannot be called before they are bound
_METHODS: Final = (classmethod, functools.partialmethod, functools.singledispatchmethod)


def _new_run(flow: "Flow[Any]") -> "ExecutedRun | Flow[Any]":
    """Return the next run of *flow*, or a generator flow itself, which begins when its value is iterated."""
    state = flow.flow_state
    definition = state.definition or _definition(flow)
    state.expect_no_run()
    if definition.is_generator:
        state.return_value = definition.drive(lambda _args, _kwargs: new_flow_run(flow, definition))()
        return flow
    return new_flow_run(flow, definition)


def _definition(flow: "Flow[Any]") -> Definition:
    """Return what *flow* runs, which is its ``main`` unless it is set up. Raises FlowNotSetUp."""
    state = flow.flow_state
    if state.definition is None:
        own = vars(flow).get("setup", classes.attribute(type(flow), "setup"))
        if callable(own) or isinstance(own, _METHODS):  # a user's class may have a value under that name
            _ = flow.setup()
        if state.definition is None:  # a user's class has a setup() of its own
            _ = Flow.setup(flow)
    definition = state.definition
    assert definition is not None  # noqa: S101 setup() has set it
    return definition


class Flow(FlowAttributes[R], AsCoroutine["Flow[R]"], LogMethods, Generic[R]):
    """One flow, set up to be executed; each ``execute()`` is a run, a trace, an id of its own.

    ``@flow`` makes it. Used directly, give ``setup()`` what it runs, or subclass it and override ``main``, and
    ``task_dependencies`` for what tasks may ask for.

    *flow_name* (str): its name; that of the function or class unless given. *flow_id* (str): the id of every run; a new
    one for each unless given. *flow_config* (``Flow_Run__Config``): how it logs, prints and raises. *data* (mapping):
    what ``flow_data`` begins with. *capture_parameters* (True, or names of parameters) and *capture_return_value*
    (bool): record these values on the span, redacted and bounded. *more*: attributes that the class has, ``objective``,
    ``buckets`` and ``task_runner`` among them, and the policies that ``@flow`` takes.

    After a run: ``status`` is one of ``semconv.RESULTS`` (``running`` meanwhile, None before), ``flow_return_value``
    and ``flow_error`` are how it ended, ``duration`` is in seconds, ``started_ns`` and ``ended_ns`` are nanoseconds
    since the epoch, and ``data``, ``log``, ``artifacts``, ``results`` and ``executed_tasks`` are what it left.

    ``await flow`` does as ``await flow.execute_async()``, and so do ``asyncio.run(flow)`` and ``asyncio.gather(flow,
    …)``. A flow that is set up and dropped without a run is a RuntimeWarning that names the line. Subclasses may have
    attributes and methods of any other name: what otelflow itself needs stands in ``flow_state``.

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

    objective: Objective | None = None
    buckets: Sequence[float] | None = None
    task_runner: object = None
    __otelflow__ = "flow"

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Begin at once: a subclass (a dataclass, say) may have an ``__init__`` that does not call ours."""
        flow = super().__new__(cls)
        if cls is not Flow:
            Flow.__init__(flow)
        return flow

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        check_base_classes(cls)
        if cls.main is not Flow.main:
            own_name = inspect.getattr_static(cls, "flow_name", None)
            name = own_name if isinstance(own_name, str) else cls.__name__
            declare_flow(name, cls, objective_of(cls), buckets_of(cls), getattr(cls, "task_runner", None))
        check_dependencies(cls)

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
            cure = _how_to_call_main(self, ()) or "; give what it runs to setup(): Flow().setup(function, …).execute()"
            raise UnfillableParameter("flow", type(self).__name__, f"it takes keywords only{cure}")
        check_flow(self, flow_config, data, capture_parameters, capture_return_value)
        options: dict[str, Any] = {}
        for name, value in attributes.items():
            if not hasattr(type(self), name) and not any(
                name in inspect.get_annotations(c) for c in type(self).__mro__
            ):
                if name in PolicyOptions.__annotations__:
                    options[name] = value
                    continue
                raise UnknownKeyword(
                    type(self).__name__, name, FlowOptions.__annotations__, _how_to_call_main(self, (name,))
                )
            setattr(self, name, value)
        check_keywords(type(self).__name__, options, PolicyOptions)
        options.update(capture_parameters=capture_parameters, capture_return_value=capture_return_value)
        if flow_config is None:
            own = None if type(self) is Flow else classes.attribute(type(self), "flow_config")
            flow_config = own if isinstance(own, Flow_Run__Config) else None
        state = FlowState(self, type(self).__name__, new_flow_id(), flow_config, dict(data or {}), options)
        object.__setattr__(self, "flow_state", state)  # a user's class may be frozen, or have a __setattr__ of its own
        state.is_plain = type(self) is Flow
        state.is_named, state.has_fixed_id = bool(flow_name), flow_id is not None
        if flow_name:
            object.__setattr__(self, "flow_name", text_of_name(flow_name))
        if flow_id:
            object.__setattr__(self, "flow_id", text_of_name(flow_id))

    def __setstate__(self, values: dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        by_name, by_slot = values if isinstance(values, tuple) else (values, None)
        vars(self).update(by_name or {})
        for name, value in (by_slot or {}).items():  # of a class with __slots__
            object.__setattr__(self, name, value)
        if self.flow_state.reference is not None:  # copy.copy() gives the state of the original
            object.__setattr__(self, "flow_state", copy.copy(self.flow_state))
        self.flow_state.reference = weakref.ref(self)

    @state_value
    def flow_state(self) -> FlowState:  # asked of an instance that has lost its own: pydantic's dataclasses do that
        """Begin once more."""
        Flow.__init__(self)
        state: FlowState = vars(self)["flow_state"]
        return state

    # Set up

    def setup(self, target: Callable[..., Any] | None = None, /, *args: Any, **kwargs: Any) -> Self:
        """Say what ``execute()`` runs: *target* with these arguments, or ``main`` with them by name.

        *target* (a function, method or other callable): None is ``main``. It may be given by name, unless ``main`` has
        a parameter of that name. *args*, *kwargs*: what it is called with.

        Returns the flow. Raises NotCallable for a target that cannot be called, DecoratedTwice for one that is a flow
        already, FlowNotSetUp without one when ``main`` is not overridden.

        >>> Flow().setup(pow, 2, 10).execute().flow_return_value
        1024
        """
        if target is None and "target" in kwargs:
            is_of_main = _overrides_main(self) and "target" in inspect.signature(self.main).parameters
            target = None if is_of_main else kwargs.pop("target")
        if target is None and not _overrides_main(self):
            raise FlowNotSetUp(type(self).__name__, () if type(self) is Flow else vars(type(self)))
        if target is not None and not callable(target):
            raise NotCallable("A flow", target, _how_to_call_main(self, ()))
        if isinstance(target, type) and issubclass(target, Flow):
            raise NotCallable("A flow", target, f"; it is a flow already, and {target.__name__}().execute() runs it")
        refuse_flow("setup()", target)
        refuse_flow(f"class {type(self).__name__}", None if target is not None else self.main)
        self.flow_state.is_main = target is None
        definition = Definition("A flow", self.main if target is None else target, self.flow_state.options)
        _use_definition(self, definition, args, kwargs)
        self.flow_state.set_up_at(caller(), name_of(self))
        return self

    def set_flow_target(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Self:
        """Do as ``setup`` with a *target*. Returns the flow; raises NotCallable, DecoratedTwice.

        >>> Flow().set_flow_target(pow, 2, 10).execute().flow_return_value
        1024
        """
        refuse_flow("set_flow_target()", target)
        self.flow_state.is_main = getattr(target, "__func__", None) is type(self).main
        _use_definition(self, Definition("A flow", target, self.flow_state.options), args, kwargs)
        self.flow_state.set_up_at(caller(), name_of(self))
        return self

    def resume(self, run_id: str) -> Self:
        """Go on, at the next ``execute()``, with the run of this id (str), which has not ended well.

        What it was called with is known; whatever else the flow has (attributes, ``data``) is that of this object.

        Returns the flow. Raises RunNotResumable for a run that is not known, has ended well, goes on, or is another
        flow's, and for a flow without ``persist_result=True``; FlowNotSetUp when it has nothing to run;
        ResultUnreadable when what is kept cannot be read.

        >>> class Nightly(Flow):
        ...     def main(self, day, server):
        ...         return f"{day} {self.flow_state.data[server]}"
        >>> run = Nightly(persist_result=True, flow_config=Flow_Run__Config(raise_flow_error=False))
        >>> run.setup(day="monday", server="a").execute().status
        'failure'
        >>> run.data["a"] = "is up"
        >>> run.resume(run.flow_id).execute().flow_return_value
        'monday is up'
        """
        from otelflow._core.flows import resuming  # noqa: PLC0415 few flows are resumed

        definition = _definition(self)
        self.flow_state.expect_no_run()  # the attempt is run next, or the error says why it is not
        attempt, call = resuming.attempt_of(definition, run_id, name_of(self))
        go_on(self, attempt, call, run_id, caller())
        return self

    def set_flow_name(self, value: str | None = None) -> Self:
        """Call the flow *value* (str), or by its function or class when that is None. Returns the flow.

        >>> Flow().setup(pow, 2, 10).set_flow_name("power").execute().flow_name
        'power'
        """
        state = self.flow_state
        function_name = state.definition.name if state.definition is not None and not state.is_main else ""
        self.flow_name = text_of_name(value) or function_name or type(self).__name__
        state.is_named = value is not None
        return self

    def set_flow_id__time_now(self) -> Self:
        """Make the time of now (UTC, to the nanosecond) the id of the next run. Returns the flow.

        >>> Flow().set_flow_id__time_now().flow_id
        'flow_id__20...'
        """
        now = clock.time_ns()
        self.flow_id = (
            f"flow_id__{time.strftime('%Y-%m-%d__%H-%M-%S', time.gmtime(now // 1_000_000_000))}"
            f"__{now % 1_000_000_000:09}"
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

    # Run

    @to_end(_new_run, waits=True)
    def execute(self) -> Self:
        """Run the flow to its end; an async one on a loop of its own, with this context.

        A generator flow begins when its ``flow_return_value`` is iterated, and ends with it.

        Returns the flow. Raises the flow's own exception (unless ``raise_flow_error`` is False), FlowNotSetUp when it
        has nothing to run, UnfillableParameter when the arguments do not fit.

        >>> Flow().setup(pow, 2, 10).execute()
        <Flow pow flow_id__... success>
        """
        return self

    @to_end_async(_new_run, waits=True)
    async def execute_async(self) -> Self:
        """Run the flow on the running loop. Returns the flow; raises as ``execute`` does.

        >>> import asyncio
        >>> asyncio.run(Flow().setup(asyncio.sleep, 0, "awake").execute_async()).flow_return_value
        'awake'
        """
        return self

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return flows.notebook.mime_bundle(self.flow_state.tree)

    def __await__(self) -> Generator[Any, Any, Self]:
        """Do as ``execute_async``, once: a flow that has run is returned as it is. Raises RuntimeError if it runs."""
        state = self.flow_state
        if state.status == semconv.RUNNING:  # as Python says of a coroutine
            name = name_of(self)
            raise RuntimeError(
                f"flow {name!r} is being awaited already: await it once, or call {name}() for each await"
            )
        if state.status is None and state.return_value is None:  # a generator flow has run when it has a generator
            return self.execute_async().__await__()
        return _itself(self).__await__()

    def execute_flow(self, flow_run_params: Mapping[str, Any] | None = None) -> Self:
        """Do as ``execute``, keeping *flow_run_params* (a mapping) in the attribute of that name, if it is not empty.

        >>> Flow().setup(pow, 2, 10).execute_flow({"reason": "nightly"}).flow_run_params
        {'reason': 'nightly'}
        """
        if flow_run_params:
            self.flow_state.run_params = flow_run_params
        return self.execute()

    def run(self) -> dict[str, Any]:
        """Do as ``execute``, and return the flow's ``data``, a dict.

        >>> def remember(flow_data):
        ...     flow_data["answer"] = 42
        >>> Flow().setup(remember).run()
        {'answer': 42}
        """
        return self.execute().flow_state.data_alone()

    def __enter__(self) -> Self:
        state = self.flow_state
        state.expect_no_run()
        state.block = Block(self, state.block)
        state.block.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        state = self.flow_state
        block = innermost_block(self) or state.block  # threads may share a flow, and each leaves its own block
        try:
            if block is not None:
                block.close(SUCCESS if error is None else UNCLOSED)
        finally:
            while state.block is not None and state.block.is_closed:
                state.block = state.block.around

    # Messages, artifacts, results

    def __otelflow_write__(self, level: int, message: object, task_run_id: str | None) -> None:
        messages.write(_run_of_entries(self), level, message, task_run_id=task_run_id)

    def add_flow_artifact(
        self,
        description: str | None = None,
        key: str | None = None,
        data: object = None,
        artifact_type: str | None = None,
    ) -> "Artifact":
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
        return inside.artifacts.add_artifact(_run_of_entries(self), key, data, description, artifact_type)

    def add_flow_result(self, key: str, description: object) -> "Result":
        """Record a named result of the run.

        *key* (str): its name, up to 128 letters, digits, ``.``, ``_`` and ``-``. *description*: its value, kept as
        text, redacted and bounded.

        Returns the ``Result``. Raises InvalidArtifact for a key that is not valid.

        >>> def count(this_flow):
        ...     this_flow.add_flow_result("rows", 3)
        >>> [result.as_dict() for result in Flow().setup(count).execute().results]
        [{'key': 'rows', 'description': '3'}]
        """
        return inside.artifacts.add_result(_run_of_entries(self), key, description)

    def __iter__(self) -> Never:
        raise TypeError(NO_DATA)

    def __json__(self) -> Never:
        raise TypeError(NO_DATA)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self)} {id_of(self)} {self.flow_state.status or 'not run'}>"


_NO_DEPENDENCIES: Final[Mapping[str, Any]] = {}


# What a flow does inside, as functions: a method would be one more name that a user's class could have.


def _use_definition(flow: Flow[Any], definition: Definition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Let *flow* run *definition* with these arguments, and be called by its name, unless the user gave another."""
    state = flow.flow_state
    state.definition = definition
    state.args, state.kwargs = args, kwargs
    if not state.is_named and definition.name and not state.is_main:
        state.name = definition.name


def go_on(
    flow: Flow[Any],
    attempt: Definition,
    call: tuple[tuple[Any, ...], dict[str, Any]],
    run_id: str,
    frame: FrameType,
) -> None:
    """Let the next run of *flow* be *attempt* of the run *run_id*, which *call* began."""
    _use_definition(flow, attempt, *call)
    flow.flow_id = flow.flow_state.used_id = run_id
    flow.flow_state.set_up_at(frame, name_of(flow))


def _overrides_main(flow: Flow[Any]) -> bool:
    return type(flow).main is not Flow.main


def _how_to_call_main(flow: Flow[Any], names: tuple[str, ...]) -> str:
    """Return where the arguments of ``main`` go, if it is overridden and has the parameters *names*."""
    if not _overrides_main(flow):
        return ""
    gathering = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(flow.main).parameters.values())
    parameters = [parameter for parameter in parameters if parameter.kind not in gathering]
    empty = inspect.Parameter.empty
    fitting = [p.name for p in parameters if p.default is empty or p.name in names]
    if not set(names) <= set(fitting):
        return ""
    arguments = ", ".join(f"{name}=…" for name in fitting)
    return f"; the arguments of main go to setup(), by name: {type(flow).__name__}().setup({arguments}).execute()"


async def _itself(flow: F) -> F:
    return flow


def _run_of_entries(flow: Flow[Any]) -> Run:
    """Return the run to which what *flow* records now belongs: its task or run that is current."""
    run = open_run_here()
    while run is not None and run.flow is not flow:
        run = run.parent
    run = run or flow.flow_state.run or flow.flow_state.block
    if run is None:
        run = Block(flow, None)
        run.has_ended = flow.flow_state.duration is not None and provider.span_maker() is not None
    return run
