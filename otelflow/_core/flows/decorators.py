"""What ``@flow`` and ``@task`` make of a function."""

import functools
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, Never, ParamSpec, TypeVar, Unpack, overload

from otelflow._core.flows.calls import call_of, caller
from otelflow._core.flows.declared import declare_flow
from otelflow._core.flows.definition import Definition, decorate
from otelflow._core.flows.execution import FUTURES, ExecutedRun
from otelflow._core.flows.flow import Flow, go_on
from otelflow._core.flows.flow_run import new_flow_id, new_flow_run
from otelflow._core.flows.flow_state import FlowState, fresh_copy
from otelflow._core.flows.keywords import (
    CommonFlowOptions,
    CommonTaskOptions,
    EachFlowOptions,
    FlowOptions,
    TaskOptions,
    show_keywords,
)
from otelflow._core.flows.task import Task, new_task_run
from otelflow._core.process.ids import new_id
from otelflow._core.text.safe_str import bounded_name
from otelflow.errors import NoSuchAttribute

if TYPE_CHECKING:
    from otelflow._core.flows.flow_types import (
        MYPY,
        ClassFlow,
        ExecutingDecorator,
        FlowDecorator,
        FlowFunction,
        S,
        TakesClass,
    )
    from otelflow._core.flows.task_types import ClassMethod, Decorator, LenientDecorator, Other, TaskFunction

P = ParamSpec("P")
R = TypeVar("R")

# As a call of the class does, which takes longer
_new_object: Final = object.__new__
_begin: Final = FlowState.__init__


def _flow_of(definition: Definition, options: dict[str, Any]) -> Callable[..., Flow[Any]]:
    """Return what ``@flow`` puts in the place of a function."""
    keywords = {name: value for name, value in options.items() if name in EachFlowOptions.__annotations__}
    plan: Flow[Any] = Flow(**keywords)  # a wrong value is said at decoration, not at the first call
    planned = plan.flow_state
    attributes = {name: value for name, value in vars(plan).items() if name != "flow_state"}
    fixed_id = planned.id if keywords.get("flow_id") else ""
    if not planned.is_named:
        planned.name = definition.name or definition.stand_in_name
    declare_flow(
        bounded_name(planned.name), definition.target, plan.objective, plan.buckets, options.get("task_runner")
    )

    def set_up(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[FlowState, Flow[Any]]:
        flow: Flow[Any] = _new_object(Flow)  # as the plan: its __init__ would take three times as long to find that
        data = fresh_copy(options.get("data") or {})
        state: FlowState = _new_object(FlowState)
        _begin(state, flow, planned.name, fixed_id or new_flow_id(), planned.own_config, data, planned.options)
        state.is_named, state.has_fixed_id, state.is_plain = planned.is_named, planned.has_fixed_id, True
        state.definition, state.args, state.kwargs = definition, args, kwargs
        object.__setattr__(flow, "flow_state", state)
        if attributes:
            vars(flow).update(attributes)
        return state, flow

    def new_flow(args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> Flow[Any]:
        state, flow = set_up(args, kwargs)
        state.set_up_at(frame, state.name)
        return flow

    def resume(run_id: str) -> Flow[Any]:
        """Return the flow, set up to go on with the run of this id, which has not ended well; see RunNotResumable."""
        from otelflow._core.flows import resuming  # noqa: PLC0415 few flows are resumed

        attempt, call = resuming.attempt_of(definition, run_id, definition.name)
        _, flow = set_up(*call)
        go_on(flow, attempt, call, run_id, caller())
        return flow

    if options.get("execute_on_call"):
        function = definition.drive(lambda args, kwargs: new_flow_run(set_up(args, kwargs)[1], definition))
    else:
        function = call_of(new_flow)
    for method in _METHODS_OF_FLOWS:
        vars(function)[method] = functools.partial(refuse_method, definition, method)
    definition.methods = {"resume": resume}
    return function


#: What people write where the flow is left out: ``load.execute()`` in the place of ``load().execute()``
_METHODS_OF_FLOWS: Final = ("execute", "run", "submit")


def refuse_method(definition: Definition, method: str, /, *_: Any, **__: Any) -> Never:
    """Raise NoSuchAttribute for a *method* of the function itself."""
    name = definition.name or "it"
    is_run = definition.options.get("execute_on_call")
    cure = f"{name}(…) runs the flow" if is_run else f"{name}(…) sets the flow up, and {name}(…).execute() runs it"
    if method == "submit":
        cure += "; to run it beside others, call it in a @task, and submit that"
    raise NoSuchAttribute("a function with @flow", method, f"it is called first: {cure}")


if TYPE_CHECKING:
    if MYPY:

        @overload
        def flow(target: TakesClass[S, P, R], /) -> ClassFlow[S, P, R]: ...

    @overload
    def flow(target: Callable[P, Coroutine[Any, Any, R]], /) -> FlowFunction[P, Flow[R]]: ...
    @overload
    def flow(target: Callable[P, R], /) -> FlowFunction[P, Flow[R]]: ...
    @overload
    def flow(*, execute_on_call: Literal[False] = False, **options: Unpack[CommonFlowOptions]) -> FlowDecorator: ...
    @overload
    def flow(*, execute_on_call: Literal[True], **options: Unpack[CommonFlowOptions]) -> ExecutingDecorator: ...


def flow(target: Any = None, /, **options: Any) -> Any:
    """Make a function or method a flow: calling it returns a ``Flow`` that is set up, and ``execute()`` runs it.

    *flow_name* (str): its name; that of the function unless given. *flow_id* (str): the id of every run.
    *flow_run_name* (str, ``"load {path}"``): the name of each run, made of its arguments.
    *flow_config* (``Flow_Run__Config``): how it logs, prints and raises.
    *data* (mapping): what ``flow_data`` begins with.
    *capture_parameters* (True, or names), *capture_return_value* (bool): record values, redacted and bounded.
    *inject* (bool): whether parameters such as ``this_flow`` are filled in.
    *objective* (``Objective``): what alerts are made of. *buckets* (seconds): those of the metric of durations.
    *retries*, *retry_delay*, *retry_jitter_factor*, *retry_condition_fn*, *timeout*, *validate_parameters*, *tags*,
    *concurrency*, *rate_limit*, *limit_timeout*, *measure_resources*: as those of ``task``.
    *on_completion*, *on_failure*, *on_cancellation*, *on_running*: the same with the ``Flow``.
    *task_runner* (a word, an executor, a runner of ``otelflow.runners``): where submitted tasks run.
    *persist_result*, *result_storage*, *result_serializer*: as those of ``task``; its tasks use that storage, too.
    *execute_on_call* (bool): calling it runs the flow, and returns what the function returns; there is no ``Flow``.

    Returns a function that returns the ``Flow``. Raises UnknownKeyword, NotCallable, or ConfigurationError for a value
    that does not fit its keyword.

    >>> from otelflow import flow
    >>> @flow(capture_return_value=True)
    ... def halve(number):
    ...     return number / 2
    >>> halve(10).execute().flow_return_value
    5.0
    """
    return decorate("@flow", FlowOptions, target, options, _flow_of)


show_keywords(flow, FlowOptions)


def _task_of(definition: Definition, options: dict[str, Any]) -> Callable[..., Any]:
    """Return the function that *definition* becomes by ``@task``."""
    task_id = bounded_name(options.get("task_id") or "")
    raise_on_error = options.get("raise_on_error", True)
    definition.name = name = bounded_name(options.get("task_name") or definition.name or definition.stand_in_name)
    target = definition.target

    def new_run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExecutedRun:
        call: Task = _new_object(Task)  # each call makes one: its __init__ would take twice as long to find the same
        call.task_definition, call.task_target, call.task_name = definition, target, name
        call.task_args, call.task_kwargs = args, kwargs
        call.task_id = task_id or new_id("task_id__")
        call.raise_on_error = raise_on_error
        run = new_task_run(call, definition)
        if FUTURES in sys.modules:  # the program submits tasks
            sys.modules[FUTURES].fill_in(run)
        return run

    def submit(*args: Any, wait_for: Any = (), **kwargs: Any) -> Any:
        """Let the task run side by side with the flow; the future has what comes of it."""
        from otelflow._core.flows import future_calls  # noqa: PLC0415 only for programs that submit tasks

        return future_calls.submit(definition, wait_for, args, kwargs)

    def map_(*args: Any, wait_for: Any = (), **kwargs: Any) -> Any:
        """Submit the task once for each row of arguments."""
        from otelflow._core.flows import future_calls  # noqa: PLC0415 as above

        return future_calls.submit_each(definition, wait_for, args, kwargs)

    definition.new_run = new_run
    definition.methods = {"submit": submit, "map": map_}
    return definition.drive(new_run)


if TYPE_CHECKING:
    if MYPY:

        @overload
        def task(target: ClassMethod | Other, /) -> ClassMethod: ...

    @overload
    def task(target: Callable[P, R], /) -> TaskFunction[P, R]: ...
    @overload
    def task(*, raise_on_error: Literal[True] = True, **options: Unpack[CommonTaskOptions]) -> Decorator: ...
    @overload
    def task(*, raise_on_error: Literal[False], **options: Unpack[CommonTaskOptions]) -> LenientDecorator: ...


def task(target: Any = None, /, **options: Any) -> Any:
    """Make a function or method a task: each call is one span, and returns what the function returns.

    *task_name* (str): its name; that of the function unless given. *task_id* (str): the id of every call.
    *task_run_name* (str, ``"page {number}"``): the name of each call, made of its arguments.
    *raise_on_error* (bool): with False an ``Exception`` is recorded, and the call returns None; Ctrl-C, ``sys.exit()``
    and a cancellation of asyncio come out all the same.
    *capture_parameters* (True, or names of parameters) and *capture_return_value* (bool): record these values on the
    span, redacted and bounded.
    *inject* (bool): whether parameters such as ``this_flow`` are filled in.
    *retries* (int): how often it is tried again when it fails; each attempt is a span. *retry_delay*: seconds to wait
    before, a list of them, a function of the number of the attempt that failed, or a wait of tenacity.
    *retry_jitter_factor* (float): by how much of itself a delay may be longer, at random. *retry_condition_fn* (a
    function of the exception): whether to try again. *timeout* (seconds, or a ``timedelta``): after which each attempt
    is given up with RunTimeout; a function runs in a thread of its own for that, and goes on there.
    *on_completion*, *on_failure*, *on_cancellation*, *on_running* (a function of the ``Task``, or a list of them): what
    to call when it has ended so, or begins. *tags* (a set of texts): stand on the span.
    *validate_parameters* (bool): arguments are validated and converted by their annotations, with pydantic.
    *persist_result* (bool): whether what it returns is kept, so that a resumed flow need not run it again.
    *cache_policy* (of ``otelflow.cache_policies``, ``INPUTS`` say) or *cache_key_fn* (a function of task and arguments
    that returns a text): by what two calls are the same, so that the second gets what the first has returned.
    *cache_expiration* (seconds, or a ``timedelta``): for how long. *refresh_cache* (bool): run, and keep the new value.
    *result_storage* (a folder, an address for fsspec, ``memory``, or a ``ResultStorage``) and *result_serializer*
    (``json``, ``pickle``, or a ``ResultSerializer``): where values are kept, and as what.
    *concurrency* (dict, ``{"db": 5}``): how many with that limit run at once, in all processes of this machine.
    *rate_limit* (dict, ``{"api": "10/s"}``): how many begin in a length of time. *limit_timeout* (seconds): how long
    to wait for them at most. *measure_resources* (bool): write on the span what it took of processor and memory.

    Returns a function of the same kind: plain, async or generator, with ``submit(*args, wait_for=futures, **kwargs)``,
    which lets the task run side by side with the flow and returns a ``Future``, and ``map(*rows, …)``, which submits it
    once for each row of arguments and returns a ``FutureList``. Raises UnknownKeyword, NotCallable, or
    ConfigurationError for a value that does not fit its keyword; a call raises the function's own exception, or
    UnfillableParameter when the arguments do not fit.

    >>> from otelflow import task
    >>> @task(raise_on_error=False)
    ... def divide(dividend, divisor):
    ...     return dividend / divisor
    >>> divide(6, 3), divide(6, 0)
    (2.0, None)
    """
    return decorate("@task", TaskOptions, target, options, _task_of)


show_keywords(task, TaskOptions)
