"""Fit ``--param name=value`` to the parameters of a flow."""

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import otelflow
from otelflow._cli._console import text_of
from otelflow._cli._conversion import UNIONS, Unconvertible, convert, name_of
from otelflow._core.text.hints import suggestion
from otelflow.errors import InvalidParameter

_INJECTED_NAMES: Final = ("this_flow", "this_task", "flow_data", "task_data")
_GATHERING: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# A default tells what a parameter without annotation wants, unless it is None or something made for the occasion.
_TELLING: Final = (bool, int, float)


class Arguments(NamedTuple):
    """What to call a function with."""

    positional: tuple[Any, ...]
    named: dict[str, Any]


def parse(texts: Iterable[str]) -> dict[str, str]:
    """Return the names and values of ``name=value`` texts. Raises InvalidParameter."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise InvalidParameter(f"--param {text!r} is not name=value, such as --param count=3")
        if name in given:
            raise InvalidParameter(f"--param {name} is given twice")
        given[name] = value
    return given


def fit(
    function: Callable[..., Any], given: Mapping[str, str], *, injected: Iterable[str] = (), already: Any = ((), {})
) -> Arguments:
    """Return the arguments for *function*: those *already* set, and the *given* texts converted by its annotations.

    *injected* names what the flow fills by itself. Raises InvalidParameter for one that is unknown, missing, or does
    not convert.
    """
    signature = inspect.signature(function)
    hints = _hints(function)
    fillable = {
        name: parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in signature.parameters.items()
        if parameter.kind not in _GATHERING and not _is_injected(parameter, hints.get(name))
    }
    bound = signature.bind_partial(*already[0], **already[1])
    takes_more = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in signature.parameters.values())
    more: dict[str, Any] = {}
    for name, text in given.items():
        if name in fillable:
            bound.arguments[name] = _converted(fillable[name], text)
        elif takes_more and name not in signature.parameters:
            more[name] = text
        else:
            raise InvalidParameter(f"--param {name}: {_unknown(name, signature, fillable)}")
    _refuse_missing(fillable, {*bound.arguments, *injected})
    return Arguments(bound.args, {**bound.kwargs, **more})


class _Unresolved(NamedTuple):
    """An annotation that names what is not there at run time."""

    text: str
    why: str


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what each annotation stands for; one that cannot be resolved leaves the others as they are."""
    plain: Any = inspect.unwrap(function)
    while isinstance(plain, functools.partial):
        plain = inspect.unwrap(plain.func)
    plain = plain if inspect.isroutine(plain) else getattr(plain, "__call__", plain)  # noqa: B004 an object with it
    try:
        return typing.get_type_hints(plain)
    except Exception:  # noqa: BLE001 an annotation may be any expression, also one that is never defined
        names = getattr(plain, "__globals__", {})
        return {name: _resolved(one, names) for name, one in inspect.get_annotations(plain).items()}


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    holder = type("holder", (), {"__annotations__": {"it": annotation}})
    try:
        return typing.get_type_hints(holder, names)["it"]
    except Exception as error:  # noqa: BLE001 as above
        text = annotation if isinstance(annotation, str) else name_of(annotation)
        return _Unresolved(text, f"{type(error).__name__}: {text_of(error)}")


def _is_injected(parameter: inspect.Parameter, hint: Any) -> bool:
    if parameter.name in _INJECTED_NAMES or parameter.default is otelflow.INJECTED:
        return True
    members = typing.get_args(hint) if typing.get_origin(hint) in UNIONS else (hint,)
    classes = [typing.get_origin(one) or one for one in members]
    return any(isinstance(one, type) and issubclass(one, otelflow.Flow | otelflow.Task) for one in classes)


def _converted(parameter: inspect.Parameter, text: str) -> Any:
    wanted = parameter.annotation
    if isinstance(wanted, _Unresolved):
        raise InvalidParameter(
            f"--param {parameter.name}: its annotation {wanted.text!r} cannot be resolved ({wanted.why}); "
            "define or import what it names at run time, not under TYPE_CHECKING only"
        )
    if wanted is inspect.Parameter.empty and isinstance(parameter.default, _TELLING):
        wanted = type(parameter.default)
    try:
        return convert(text, wanted)
    except Unconvertible as error:
        why = f" ({error})" if str(error) else ""
        raise InvalidParameter(f"--param {parameter.name}={text!r:.80} must be {name_of(wanted)}{why}") from None


def _unknown(name: str, signature: inspect.Signature, fillable: Mapping[str, inspect.Parameter]) -> str:
    if name in signature.parameters:
        if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            return "the flow gathers arguments without a name in it, which --param cannot give"
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            return "the flow gathers any other names in it: give each as --param its_name=value"
        return "otelflow fills this parameter by itself"
    if not fillable:
        return "the flow has no parameters"
    return f"the flow has no such parameter{suggestion(name, fillable)}"


def _refuse_missing(fillable: Mapping[str, inspect.Parameter], filled: set[str]) -> None:
    missing = [
        parameter
        for name, parameter in fillable.items()
        if parameter.default is inspect.Parameter.empty and name not in filled
    ]
    if missing:
        cure = " ".join(f"--param {one.name}={_placeholder(one)}" for one in missing)
        raise InvalidParameter(f"The flow needs {', '.join(one.name for one in missing)}: give {cure}")


def _placeholder(parameter: inspect.Parameter) -> str:
    wanted = parameter.annotation
    if isinstance(wanted, _Unresolved):
        return f"<{wanted.text}>"
    return "…" if wanted is inspect.Parameter.empty else f"<{name_of(wanted)}>"
