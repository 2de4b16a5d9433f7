"""What type checkers see of a flow; imported for types only, since to make protocols takes a good part of an import."""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from otelflow._core.flows.flow import Flow

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)

# How a class method is bound to its class: mypy binds plain functions only, others ask __get__, and take the first
# overload that fits. For mypy, MYPY is always true.
MYPY = False
ClassFlow = Callable[Concatenate[type[S], P], Flow[R]]


class TakesClass(Protocol[S_contra, P, F_co]):
    """A class method before it is one: by its name, since ``object`` and type variables could be the class, too."""

    def __call__(self, cls: type[S_contra], *args: P.args, **kwargs: P.kwargs) -> F_co: ...


class FlowFunction(Protocol[P, F_co]):
    """What ``@flow`` makes of a function: it sets the flow up, for a new run or for one that goes on."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> F_co: ...

    def resume(self, run_id: str) -> F_co:
        """Return the flow, set up to go on with the run of this id."""

    if not MYPY:

        @overload
        def __get__(
            self: "FlowFunction[Concatenate[type[S], Q], F]", instance: None, owner: type[S]
        ) -> Callable[Q, F]: ...

    @overload
    def __get__(self, instance: None, owner: object = None) -> "FlowFunction[P, F_co]": ...
    @overload
    def __get__(self: "FlowFunction[Concatenate[S, Q], F]", instance: S, owner: object = None) -> Callable[Q, F]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: object = None) -> "FlowFunction[P, F_co]": ...


class FlowDecorator(Protocol):
    """What ``@flow(…)`` returns."""

    if MYPY:

        @overload
        def __call__(self, target: TakesClass[S, P, R], /) -> ClassFlow[S, P, R]: ...

    @overload
    def __call__(self, target: Callable[P, Coroutine[Any, Any, R]], /) -> FlowFunction[P, Flow[R]]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> FlowFunction[P, Flow[R]]: ...


class ExecutingDecorator(Protocol):
    """What ``@flow(execute_on_call=True, …)`` returns."""

    def __call__(self, target: Callable[P, R], /) -> Callable[P, R]: ...
