"""What type checkers see of a task; imported for types only, since to make protocols takes a good part of an import."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, final, overload

from otelflow._core.flows.future import Future, FutureList

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
V_co = TypeVar("V_co", covariant=True)

WaitFor = Future[Any] | Sequence[Future[Any]]
# How a class method is bound to its class: mypy binds plain functions only, others ask __get__, and take the first
# overload that fits. For mypy, MYPY is always true.
MYPY = False


class _TakesClass(Protocol):
    """A class method before it is one: by its name, since ``object`` and type variables could be the class, too."""

    def __call__(self, cls: Any, *args: Any, **kwargs: Any) -> Any: ...


ClassMethod = TypeVar("ClassMethod", bound=_TakesClass)


@final
class Other:
    """Beside it in a union: so mypy says Any of a function without annotations, which could be either."""


class TaskFunction(Protocol[P, V_co]):
    """What ``@task`` makes of a function: the function, with what a task can do besides."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> V_co: ...
    # With the task's own arguments, by which a generic one tells what it returns; else with futures in their places
    @overload
    def submit(self: "TaskFunction[P, Coroutine[Any, Any, R]]", *args: P.args, **kwargs: P.kwargs) -> Future[R]: ...
    @overload
    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[V_co]: ...
    @overload
    def submit(
        self: "TaskFunction[P, Coroutine[Any, Any, R]]", *args: Any, wait_for: WaitFor = (), **kwargs: Any
    ) -> Future[R]: ...
    @overload
    def submit(self, *args: Any, wait_for: WaitFor = (), **kwargs: Any) -> Future[V_co]: ...
    @overload
    def map(
        self: "TaskFunction[P, Coroutine[Any, Any, R]]", *args: Any, wait_for: WaitFor = (), **kwargs: Any
    ) -> FutureList[R]: ...
    @overload
    def map(self, *args: Any, wait_for: WaitFor = (), **kwargs: Any) -> FutureList[V_co]: ...

    if not MYPY:

        @overload
        def __get__(
            self: "TaskFunction[Concatenate[type[S], Q], R]", instance: None, owner: type[S]
        ) -> Callable[Q, R]: ...

    @overload
    def __get__(self, instance: None, owner: object = None) -> "TaskFunction[P, V_co]": ...
    @overload
    def __get__(self: "TaskFunction[Concatenate[S, Q], R]", instance: S, owner: object = None) -> Callable[Q, R]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: object = None) -> "TaskFunction[P, V_co]": ...


class Decorator(Protocol):
    """What ``@task(…)`` returns."""

    if MYPY:

        @overload
        def __call__(self, target: ClassMethod | Other, /) -> ClassMethod: ...
        @overload
        def __call__(self, target: Callable[P, R], /) -> TaskFunction[P, R]: ...
    else:

        def __call__(self, target: Callable[P, R], /) -> TaskFunction[P, R]: ...


class LenientDecorator(Protocol):
    """What ``@task(raise_on_error=False, …)`` returns."""

    @overload
    def __call__(
        self, target: Callable[P, Coroutine[Any, Any, R]], /
    ) -> TaskFunction[P, Coroutine[Any, Any, R | None]]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> TaskFunction[P, R | None]: ...
