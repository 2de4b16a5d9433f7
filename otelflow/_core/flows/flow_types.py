"""What type checkers see of a flow; imported for types only, since to make protocols takes a good part of an import."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, overload

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)

# How a class method is bound to its class: mypy binds plain functions only, others ask __get__. For mypy, MYPY is
# always true.
MYPY = False
ClassMethod = Callable[Concatenate[type[S], P], F]


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
