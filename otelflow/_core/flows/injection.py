"""Give a function the parameters that it asks for by name or by annotation."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from otelflow._core.process.process import State
from otelflow._core.text import classes
from otelflow._core.text.functions import plain_function, written_function
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError, UnfillableParameter

#: The names that every flow and task may ask for
NAMES: Final = ("this_flow", "this_task", "flow_data", "task_data")

_NOTHING: Final = object()


class _Injected:
    """The default of a parameter that otelflow fills when a flow or task is called.

    By its name: ``this_flow``, ``this_task``, ``flow_data``, ``task_data`` and what the flow's ``task_dependencies()``
    returns; by its annotation: what is of that class among them. Where nothing fits, the call raises
    UnfillableParameter.

    >>> from otelflow import INJECTED, flow
    >>> @flow(data={"region": "eu"})
    ... def report(flow_data: dict = INJECTED):
    ...     return flow_data["region"]
    >>> report().execute().flow_return_value
    'eu'
    """

    def __repr__(self) -> str:
        return "INJECTED"

    def __reduce__(self) -> str:
        return "INJECTED"


#: The default of a parameter that otelflow fills: ``def load(flow_data: dict = INJECTED)``
INJECTED: Final[Any] = _Injected()


#: What a test gives the functions of a flow in the place of its dependencies, by name; it is told the real ones, and
#: what else could be injected. See ``otelflow.testing``
StandIns = Callable[[Any, Mapping[str, Any], "Injection"], Mapping[str, Any]]


class _StandIns(State):
    """What the test that runs now has put in the place of dependencies."""

    of_test: StandIns | None

    def reset(self) -> None:
        """Have no test."""
        self.of_test = None


stand_ins: Final = _StandIns()


def use_stand_ins(of_test: StandIns | None) -> StandIns | None:
    """Let *of_test* decide last on dependencies (None: nothing does); return its predecessor."""
    previous, stand_ins.of_test = stand_ins.of_test, of_test
    return previous


class _Parameter:
    __slots__ = ("annotation", "default", "name", "position")

    def __init__(self, name: str, position: int, annotation: Any, default: Any) -> None:
        self.name = name
        self.position = position  # past every argument for a keyword-only one
        self.annotation = annotation
        self.default = default

    @property
    def is_open(self) -> bool:
        """Tell whether it may be filled by its annotation: it has no value of its own."""
        return self.default is inspect.Parameter.empty or self.default is None or self.default is INJECTED


class Injection:
    """What can be injected into one function; names are analysed at decoration, annotations on the first call.

    Nothing, unless *is_wanted*.
    """

    __slots__ = ("_annotated", "_function", "_named", "_parameters", "_required", "is_needless")

    is_checked: ClassVar[bool] = False

    def __init__(self, function: Callable[..., Any], *, is_wanted: bool = True) -> None:
        self._function = function
        self._parameters = _parameters(function) if is_wanted else ()
        self._named = tuple(p for p in self._parameters if p.name in NAMES)
        self._required = tuple(p for p in self._parameters if p.default is INJECTED and p.name not in NAMES)
        self._annotated: tuple[tuple[_Parameter, type], ...] | None = None
        #: Whether it is known that nothing is to be done before a call; before the first it is not, for annotations
        self.is_needless = not (self._parameters or self.is_checked)

    def fill(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        named: Mapping[str, Any],
        dependencies: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return *kwargs* with everything added that the function asks for and the caller has not passed."""
        if not self._parameters:
            return kwargs
        positional = len(args)
        filled = {p.name: named[p.name] for p in self._named if p.position >= positional and p.name not in kwargs}

        def is_missing(parameter: _Parameter) -> bool:
            name = parameter.name
            return parameter.position >= positional and name not in kwargs and name not in filled

        if dependencies:
            by_name = {
                p.name: dependencies[p.name] for p in self._parameters if p.name in dependencies and is_missing(p)
            }
            filled.update(by_name)
        for parameter, kind in self._by_annotation():
            if is_missing(parameter) and (value := _of_type(kind, named, dependencies)) is not _NOTHING:
                filled[parameter.name] = value
        unfilled = next((parameter for parameter in self._required if is_missing(parameter)), None)
        if unfilled is not None:
            from otelflow._core.text.hints import question  # noqa: PLC0415 only for mistakes

            reason = f"nothing can be injected for its parameter {unfilled.name!r}"
            plain = plain_function(self._function)
            name = str(getattr(plain, "__qualname__", type(plain).__qualname__))
            raise UnfillableParameter("function", name, reason, question(unfilled.name, [*NAMES, *dependencies]))
        return {**kwargs, **filled} if filled else kwargs

    def names(self) -> dict[str, bool]:
        """Return the names of the parameters, and whether only a dependency of that name fills each."""
        by_annotation = [parameter for parameter, _ in self._by_annotation()]
        return {
            p.name: (p.default is None or p.default is INJECTED) and p not in by_annotation for p in self._parameters
        }

    def filled_by(self, dependencies: Mapping[str, Any]) -> list[str]:
        """Return the names of the parameters that *dependencies* would fill, if nobody passes them."""
        named = dict.fromkeys(NAMES)
        by_type = [
            parameter.name
            for parameter, kind in self._by_annotation()
            if _of_type(kind, named, dependencies) is not _NOTHING
        ]
        return [*(parameter.name for parameter in self._parameters if parameter.name in dependencies), *by_type]

    def _by_annotation(self) -> tuple[tuple[_Parameter, type], ...]:
        if self._annotated is None:
            self._annotated = tuple(
                (parameter, kind)
                for parameter in self._parameters
                if parameter.is_open and parameter.annotation is not inspect.Parameter.empty
                if (kind := _class_of(parameter.annotation, self._function)) is not None
            )
            self.is_needless = not (self._named or self._required or self._annotated or self.is_checked)
        return self._annotated


class CheckedInjection(Injection):
    """An injection that finds out before the body is called whether the arguments fit: a policy would try it again."""

    __slots__ = ("_bind", "_name")

    is_checked: ClassVar[bool] = True

    def __init__(self, function: Callable[..., Any], name: str, *, is_wanted: bool = True) -> None:
        super().__init__(function, is_wanted=is_wanted)
        self._name = name
        self._bind: Callable[..., object] | None
        try:
            self._bind = inspect.signature(function).bind  # kept, because a signature takes long to make
        except (TypeError, ValueError):  # some callables written in C have none
            self._bind = None

    def fill(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        named: Mapping[str, Any],
        dependencies: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Do as ``fill`` of any injection. Raises UnfillableParameter when the arguments do not fit."""
        kwargs = super().fill(args, kwargs, named, dependencies)
        if self._bind is not None:
            try:
                self._bind(*args, **kwargs)
            except TypeError as error:
                reason = why_uncallable(self._function, args, kwargs) or str(error)
                kind = "flow" if named["this_task"] is None else "task"
                raise UnfillableParameter(kind, self._name, reason) from None
        return kwargs


def _parameters(function: Callable[..., Any]) -> tuple[_Parameter, ...]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C have none
        return ()
    fillable = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters: list[_Parameter] = []
    for position, parameter in enumerate(signature.parameters.values()):
        if parameter.kind in fillable:
            keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
            place = 1_000_000 if keyword_only else position
            parameters.append(_Parameter(parameter.name, place, parameter.annotation, parameter.default))
    return tuple(parameters)


_UNIONS: Final = (typing.Union, types.UnionType)

# Asking for a text or a number by its type would inject by accident.
_TOO_COMMON: Final = (Any, object, str, bytes, int, float, bool, list, dict, tuple, set, frozenset, type(None))


def _class_of(annotation: Any, function: Callable[..., Any]) -> type | None:
    """Return the class that *annotation* names (``Flow``, ``"Flow"``, ``Flow | None``), if it names one."""
    holder = type("holder", (), {"__annotations__": {"it": annotation}})
    try:
        # Whose annotations they are: what a decorator, or functools.partial, makes of it has other names around it.
        plain = written_function(function)
        resolved = typing.get_type_hints(holder, getattr(plain, "__globals__", {}))["it"]
    except Exception:  # noqa: BLE001 an annotation may be any expression, also one that is never defined
        return None
    members = typing.get_args(resolved) if typing.get_origin(resolved) in _UNIONS else (resolved,)
    classes = [typing.get_origin(member) or member for member in members]
    classes = [member for member in classes if isinstance(member, type) and member not in _TOO_COMMON]
    return classes[0] if len(classes) == 1 else None


def _of_type(kind: type, named: Mapping[str, Any], dependencies: Mapping[str, Any]) -> Any:
    for name in ("this_flow", "this_task"):
        if _is_of(kind, named[name]):
            return named[name]
    fitting = [value for value in dependencies.values() if _is_of(kind, value)]
    return fitting[0] if len(fitting) == 1 else _NOTHING


def _is_of(kind: type, value: object) -> bool:
    # By real base classes: a flow is also "Hashable", and what a Protocol makes of isinstance() is an exception. And by
    # identity: a metaclass, which is foreign code, would be asked whether two are equal.
    return any(base is kind for base in classes.bases(type(value)))


def check_dependencies(flow_class: type) -> None:
    """Raise ConfigurationError if the ``task_dependencies`` of *flow_class* would not be asked, or not answer."""
    dependencies = inspect.getattr_static(flow_class, "task_dependencies")
    function = plain_function(dependencies)
    kind = getattr(dependencies, "__otelflow__", "")  # a task would ask for what it is to return
    if inspect.iscoroutinefunction(function) or not callable(function) or kind:
        wrong = f"a {kind}" if kind else "an async method" if callable(function) else brief_repr(function)
        raise ConfigurationError(
            f"{flow_class.__name__}.task_dependencies must be a plain method that returns a mapping, not {wrong}"
        )


def checked_dependencies(flow: object, dependencies: object) -> Mapping[str, Any]:
    """Return what the ``task_dependencies()`` of *flow* has returned. Raises ConfigurationError if it is no mapping."""
    if dependencies is None:  # a function without a return
        return {}
    if not isinstance(dependencies, Mapping):
        raise ConfigurationError(
            f"{type(flow).__name__}.task_dependencies must return a dict, not {brief_repr(dependencies)}"
        )
    return dependencies


def why_uncallable(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Return why *function* cannot be called with these arguments, or None when it can."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C have none
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        too_many = f": it takes {_shape(signature)}" if str(error).startswith("too many") else ""
        # What bind() says of a misspelt keyword is that the right one is missing.
        return _unexpected(signature, kwargs) or f"{error}{too_many}"
    return None


def _unexpected(signature: inspect.Signature, kwargs: Mapping[str, Any]) -> str | None:
    """Return what is to be said of a keyword that *signature* does not have, or None."""
    parameters = signature.parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    nameless = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    names = [parameter.name for parameter in parameters if parameter.kind not in nameless]
    unexpected = next((name for name in kwargs if name not in names), None)
    if unexpected is None:
        return None
    from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

    others = [name for name in names if name not in ("self", "cls")]
    return f"it has no parameter {unexpected!r}{suggestion(str(unexpected), others)}"


class _AnyDefault:
    def __repr__(self) -> str:
        return "…"


def _shape(signature: inspect.Signature) -> str:
    """Return *signature* without annotations, and without the text of defaults, which foreign code would make."""
    empty = inspect.Parameter.empty
    bare = [
        parameter.replace(annotation=empty, default=empty if parameter.default is empty else _AnyDefault())
        for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(bare))


def is_call_error(error: BaseException) -> bool:
    """Tell whether *error* comes from the call itself and not from inside the function."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None
