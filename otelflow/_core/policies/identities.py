"""What tells apart functions that have one name: those made inside of another, lambdas, partials, methods."""

import functools
import uuid
import weakref
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from otelflow._core.process import losses
from otelflow._core.process.process import State
from otelflow._core.process.program import imported_name, is_nameless, module_name
from otelflow._core.results.plain_values import canonical
from otelflow._core.text import classes
from otelflow.errors import ResultNotStorable

_AROUND: Final = "the variable "


class _Memory(State):
    """What has been said of functions: the variables around one change, so that of its first call counts."""

    def reset(self) -> None:
        """Know of none."""
        self.tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self.texts: weakref.WeakKeyDictionary[FunctionType, str] = weakref.WeakKeyDictionary()


_memory: Final = _Memory()


def identity_of(target: Any) -> str | None:
    """Return what tells *target* from all others of its name; None when its name does.

    What another process cannot tell is good in this one only. Raises ResultNotStorable if it cannot be remembered.
    """
    if _has_own_name(target):
        return None
    try:
        token = _memory.tokens.get(target)
    except TypeError:  # an object in C, or one without a hash
        return _text(target, ())
    if token is not None:
        return token
    try:
        return _text(target, ())
    except ResultNotStorable as error:
        name = getattr(target, "__qualname__", type(target).__qualname__)
        losses.warn_once(
            f"identity {name}",
            "%s: what is kept of it is used in this process only, since %s; hand that over as an argument (said once)",
            name,
            error,
        )
        return _memory.tokens.setdefault(target, uuid.uuid4().hex)


def _has_own_name(target: Any) -> bool:
    name = getattr(target, "__qualname__", None)
    owner = getattr(target, "__self__", None)
    return (
        isinstance(name, str)
        and "<" not in name
        and (owner is None or isinstance(owner, ModuleType))
        and not is_nameless(getattr(target, "__module__", None) or "")
    )


def _text(target: Any, around: tuple[FunctionType, ...]) -> str:
    """Return what stands for *target*, a part of the functions *around*."""
    if not isinstance(target, FunctionType):
        return canonical(_description(target, around))
    if target in around:
        return f"around {around.index(target)}"
    text = _memory.texts.get(target)
    if text is None:
        text = canonical(_function(target, (*around, target)))
        if not around:  # as a part, it may say less
            _memory.texts[target] = text
    return text


def _description(value: Any, around: tuple[FunctionType, ...]) -> object:
    """Return plain data that stands for *value*."""
    if isinstance(value, functools.partial):
        keywords = {name: _text(item, around) for name, item in value.keywords.items()}
        return ["partial", _text(value.func, around), [_text(item, around) for item in value.args], keywords]
    if isinstance(value, ModuleType):
        return ["module", module_name(value.__name__)]
    if _has_own_name(value):  # a class, or a function in C
        return ["name", module_name(value.__module__ or ""), value.__qualname__]
    owner, function = getattr(value, "__self__", None), getattr(value, "__func__", None)
    if owner is not None:
        name = value.__qualname__ if function is None else _text(function, around)
        return ["method", _text(owner, around), name]
    wrapped = getattr(value, "__wrapped__", None)
    if wrapped is not None and not isinstance(value, type):
        return ["wrapper", type(value).__name__, _text(wrapped, around)]
    if _is_callable_data(value):
        return ["object", _text(type(value), around), plain_code(type(value).__call__.__code__), vars(value)]
    return value


def _function(function: FunctionType, around: tuple[FunctionType, ...]) -> object:
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None and "__otelflow__" in vars(function):  # a task or flow
        return _text(wrapped, around)
    name = imported_name(f"{function.__module__}.{function.__qualname__}")
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    parts: dict[str, object] = {}
    for variable, cell in cells.items():
        try:
            content = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
        parts[variable] = _variable(function, variable, content, around)
    defaults = [_variable(function, "of a default", item, around) for item in function.__defaults__ or ()]
    keywords = {key: _variable(function, key, item, around) for key, item in (function.__kwdefaults__ or {}).items()}
    return [name, plain_code(function.__code__), parts, defaults, keywords]


def _variable(function: FunctionType, name: str, value: object, around: tuple[FunctionType, ...]) -> str:
    try:
        return _text(value, around)
    except ResultNotStorable as error:
        if error.place.startswith(_AROUND):
            raise
        raise ResultNotStorable(f"{_AROUND}{name} of {function.__qualname__}{error.place}", error.reason) from None


def _is_callable_data(value: Any) -> bool:
    """Tell whether *value* is called by a method in Python, and its attributes are all that it is."""
    kinds = type(value).__mro__[:-1]
    is_plain = all(map(classes.is_made_here, kinds))
    return (
        is_plain
        and not any(vars(kind).get("__slots__") for kind in kinds)
        and isinstance(getattr(type(value), "__call__", None), FunctionType)  # noqa: B004 its code is asked for
    )


def plain_code(code: CodeType) -> list[object]:
    """Return what stands for *code*: comments and places make no difference."""
    constants: list[object] = []
    for item in code.co_consts:
        if isinstance(item, CodeType):
            constants.append(plain_code(item))
        else:
            constants.append(repr(item) if item is Ellipsis or isinstance(item, slice) else item)
    return [code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars]
