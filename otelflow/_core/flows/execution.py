"""How the objects that users hold are executed: a traceback has one frame of ours for each flow or task.

``execute()`` and its like are drivers of their own, written out for the reason that ``runs/drivers.py`` tells. What is
decorated says what they return in the end.
"""

import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, Never, ParamSpec, TypeVar

from otelflow import semconv
from otelflow._core.flows.definition import Definition, Kind
from otelflow._core.runs.drivers import PLAIN, can_be_awaited, end_when_awaited, is_future, waits_for_await
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_run, close_with, open_run
from otelflow._core.runs.run import Run
from otelflow.errors import UnfillableParameter

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext


#: Is there only in programs that submit tasks: what it knows need not be looked for in others
FUTURES: Final = "otelflow._core.flows.future_inputs"

_NO_ARGUMENTS: Final[tuple[tuple[Any, ...], dict[str, Any]]] = (), {}

P = ParamSpec("P")
R = TypeVar("R")


class ExecutedRun(Run):
    """The run of a flow or a task: one class for both.

    They take turns at each line that opens or closes a run, and CPython is quick with an attribute only where it has
    met one class: a flow of one task takes a fourteenth less than with two.
    """

    __slots__ = ("conduct", "failed_tasks", "kind", "links", "session")

    definition: Definition
    links: "Sequence[SpanContext]"

    def span_name(self) -> str:
        """Return the name of its span."""
        if self.task is None:
            return f"{semconv.FLOW_SPAN}{self.flow_name}"
        return f"{semconv.TASK_SPAN}{self.task_name}"

    @property
    def keeps_errors(self) -> bool:
        """Whether an exception of its body does not come out, as the user asked."""
        return not (self.settings.raise_flow_error if self.task is None else self.task.raise_on_error)

    def pending(self, value: Any) -> Any:
        """Return what ``execute()`` returns when the run ends later, with *value*, which is a flow's until then."""
        if self.task is not None:
            return value
        self.flow_state.return_value = value
        return self.flow

    def code_name(self) -> str:
        """Return the qualified name of the function that it runs."""
        return self.definition.code_name

    @property
    def is_generator(self) -> bool:
        """Whether it may wait for its consumer."""
        return self.definition.is_generator


#: Returns the next run of a flow or task, or else what ``execute()`` returns, since the run begins later
NewRun = Callable[[Any], Any]


def _is_awaited(run: ExecutedRun, value: Any) -> bool:
    """Tell whether *run* goes on until *value*, which its body has returned, was awaited."""
    return can_be_awaited(value) and (run.definition.kind is Kind.COROUTINE or waits_for_await(value))


def refuse_arguments(method: Callable[..., Any], owner: tuple[Any, ...]) -> Never:
    """Raise UnfillableParameter for a *method* that was called of a class, or with arguments, before anything runs."""
    kind = method.__qualname__.partition(".")[0]
    if owner:
        state = getattr(owner[0], "flow_state", None)  # a task has none
        if state is not None:
            state.expect_no_run()  # the error says why
        reason = f"it takes no arguments; they go to what makes the {kind.lower()}, before .{method.__name__}()"
    else:
        reason = f"it is called of an object, not of the class: {kind}(…).{method.__name__}()"
    raise UnfillableParameter("method", method.__name__, reason)


def to_end(  # noqa: C901 a driver is written out, see above
    new_run: NewRun, *, waits: bool
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Execute the run of *new_run* before the decorated method; if *waits*, also await what its body returns."""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def execute(*owner: P.args, **keywords: P.kwargs) -> Any:
            args: tuple[Any, ...] = ()
            kwargs: dict[str, Any] = {}
            if len(owner) != 1 or keywords:
                refuse_arguments(method, owner)
            run = new_run(owner[0])
            if not isinstance(run, ExecutedRun):
                return run
            try:
                open_run(run)
                args, kwargs = run.definition.arguments(run)
                value = run.definition.body(*args, **kwargs)
                if id(type(value)) not in PLAIN and _is_awaited(run, value):
                    if not waits or is_future(value):  # which belongs to a loop that must not be blocked
                        return run.pending(end_when_awaited(run, value))
                    from otelflow._core.runs.own_loop import OwnLoop  # noqa: PLC0415 only for async flows

                    loop = OwnLoop(value, run)
                    try:
                        value = loop.run()
                        if run.session is not None:
                            loop.wait_for_submitted(run)
                    finally:
                        loop.close(run)
                close_run(run, SUCCESS, value)
            except BaseException as error:
                run.has_ended = True
                unfillable = run.definition.call_error(run, error, args, kwargs) if type(error) is TypeError else None
                if not close_with(run, unfillable or error):
                    del run, owner  # as in drivers.function()
                    if unfillable is not None:
                        raise unfillable from None
                    raise
            try:
                return method(*owner, **keywords)
            finally:
                del run, owner

        return execute

    return decorate


AsyncMethod = Callable[P, Coroutine[Any, Any, R]]


def to_end_async(  # noqa: C901 a driver is written out, see above
    new_run: NewRun, *, waits: bool
) -> Callable[[AsyncMethod[P, R]], AsyncMethod[P, R]]:
    """Do as ``to_end`` on the running loop; a coroutine function is always awaited."""

    def decorate(method: AsyncMethod[P, R]) -> AsyncMethod[P, R]:  # noqa: C901 as above
        @functools.wraps(method)
        async def execute_async(*owner: P.args, **keywords: P.kwargs) -> Any:  # noqa: C901 as above
            args, kwargs = _NO_ARGUMENTS
            if len(owner) != 1 or keywords:
                refuse_arguments(method, owner)
            run = new_run(owner[0])
            if not isinstance(run, ExecutedRun):
                return run
            try:
                open_run(run)
                await run.definition.settle(run)
                args, kwargs = run.definition.arguments(run)
                value = run.definition.body(*args, **kwargs)
                if id(type(value)) not in PLAIN and _is_awaited(run, value):
                    if not waits and run.definition.kind is not Kind.COROUTINE:
                        return run.pending(end_when_awaited(run, value))
                    if is_future(value):
                        run.pending(value)
                    value = await value
                if run.session is not None:
                    await run.session.end_async()
                close_run(run, SUCCESS, value)
            except BaseException as error:
                run.has_ended = True
                if run.session is not None:
                    try:
                        await run.session.cancel_async(error)
                    except BaseException:  # Ctrl-C
                        close_with(run, error)
                        raise
                unfillable = run.definition.call_error(run, error, args, kwargs) if type(error) is TypeError else None
                if not close_with(run, unfillable or error):
                    del run, owner  # as in drivers.function()
                    if unfillable is not None:
                        raise unfillable from None
                    raise
            try:
                return await method(*owner, **keywords)
            finally:
                del run, owner

        return execute_async

    return decorate
