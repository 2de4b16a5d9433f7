"""What is known of a function that a flow or task runs: found out once, at decoration."""

import enum
import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from otelflow import semconv
from otelflow._core.flows.injection import Injection, is_call_error, why_uncallable
from otelflow._core.process.settings import settings
from otelflow._core.runs import engine
from otelflow._core.runs.run import Run
from otelflow._core.text.hints import suggestion
from otelflow._core.text.redaction import REDACTED, is_secret, recorded
from otelflow._core.text.safe_str import printable
from otelflow.errors import ConfigurationError, NotCallable, UnfillableParameter, UnknownKeyword

Capture = bool | Sequence[str]


class Kind(enum.Enum):
    """How a function is run."""

    FUNCTION = enum.auto()
    COROUTINE = enum.auto()
    GENERATOR = enum.auto()
    ASYNC_GENERATOR = enum.auto()


_RUNNERS: Final[Mapping[Kind, Callable[[engine.NewRun], Callable[..., Any]]]] = {
    Kind.FUNCTION: engine.function,
    Kind.COROUTINE: engine.coroutine,
    Kind.GENERATOR: engine.generator,
    Kind.ASYNC_GENERATOR: engine.async_generator,
}


class Spec:
    """One function: its name, its kind, what it asks for, and what the user wants recorded of its values."""

    __slots__ = (
        "capture_parameters",
        "capture_return_value",
        "code_name",
        "injection",
        "kind",
        "name",
        "runner",
        "target",
    )

    def __init__(
        self,
        what: str,
        target: Callable[..., Any],
        *,
        capture_parameters: Capture = False,
        capture_return_value: bool = False,
    ) -> None:
        if not callable(target):
            raise NotCallable(what, target)
        plain = _plain(target)
        self.target = target
        self.name = printable(_name(plain))
        module = getattr(plain, "__module__", None) or "?"
        self.code_name = printable(f"{module}.{getattr(plain, '__qualname__', self.name)}")
        self.kind = _kind(plain)
        self.runner = _RUNNERS[self.kind]
        self.injection = Injection(target)
        self.capture_parameters = _checked_capture(target, capture_parameters)
        self.capture_return_value = capture_return_value

    def call_injected(
        self,
        run: Run,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        named: Mapping[str, Any],
        dependencies: Mapping[str, Any],
    ) -> Any:
        """Inject what is missing and call the function.

        Raises UnfillableParameter when it cannot be called with what there is.
        """
        return self.call(run, args, self.injection.fill(args, kwargs, named, dependencies))

    def call(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function with just these arguments. Raises UnfillableParameter when they do not fit."""
        run.was_called = True
        try:
            return self.target(*args, **kwargs)
        except TypeError as error:
            reason = why_uncallable(self.target, args, kwargs) if is_call_error(error) else None
            if reason is None:
                raise
            run.was_called = False
            raise UnfillableParameter("task" if run.task is not None else "flow", self.name, reason) from None

    def captured_parameters(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """Return the attributes of the parameters that the user wants recorded, redacted and bounded."""
        try:
            bound = inspect.signature(self.target).bind_partial(*args, **kwargs).arguments
        except (TypeError, ValueError):
            return {}
        wanted = self.capture_parameters
        names = [name for name in bound if wanted is True or (not isinstance(wanted, bool) and name in wanted)]
        return {
            semconv.RUN_PARAMETER.format(name=name): REDACTED if is_secret(name) else shown_value(bound[name])
            for name in names
            if name not in ("self", "cls")
        }


def marked(decorated: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """Return *decorated*, which is a plain function, with a mark that tells others what calling it does."""
    vars(decorated)["__otelflow__"] = kind
    return decorated


def shown_value(value: object) -> str:
    """Return a value as attributes show it: redacted and bounded."""
    return recorded(value, settings().value_limit)


def _plain(target: Callable[..., Any]) -> Any:
    """Return the function inside partials and bound methods."""
    while isinstance(target, functools.partial):
        target = target.func
    return getattr(target, "__func__", target)


def _name(plain: Any) -> str:
    name = getattr(plain, "__name__", "")
    return "" if name == "<lambda>" else name


def _kind(plain: Any) -> Kind:
    call = plain if inspect.isroutine(plain) else getattr(type(plain), "__call__", plain)  # noqa: B004
    flags = getattr(getattr(call, "__code__", None), "co_flags", 0)
    if inspect.iscoroutinefunction(call) or flags & inspect.CO_ITERABLE_COROUTINE:
        return Kind.COROUTINE
    if inspect.isasyncgenfunction(call):
        return Kind.ASYNC_GENERATOR
    return Kind.GENERATOR if inspect.isgeneratorfunction(call) else Kind.FUNCTION


def check_keywords(what: str, given: Mapping[str, object], known: Mapping[str, type | types.UnionType]) -> None:
    """Raise UnknownKeyword or ConfigurationError for a keyword of *what* that it does not have or cannot use."""
    for name, value in given.items():
        if name not in known:
            raise UnknownKeyword(what, name, known)
        if not isinstance(value, known[name]):
            wanted = getattr(known[name], "__name__", str(known[name]))
            raise ConfigurationError(f"{what}: {name} must be {wanted}, not {value!r:.60}")


def _checked_capture(target: Callable[..., Any], wanted: Capture) -> Capture:
    if isinstance(wanted, bool):
        return wanted
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    known = inspect.signature(target).parameters
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise ConfigurationError(
            f"capture_parameters: {_name(target)!r} has no parameter {unknown[0]!r}{suggestion(unknown[0], known)}"
        )
    return names
