"""Fit ``--param name=value`` to the parameters of a flow."""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import otelflow
from otelflow._cli._conversion import UNIONS, ConversionError, convert, name_of
from otelflow._core.text.functions import written_function
from otelflow._core.text.hints import suggestion
from otelflow._core.text.safe_str import error_text
from otelflow._importing import text_of
from otelflow.errors import InvalidParameter

_INJECTED_NAMES: Final = ("this_flow", "this_task", "flow_data", "task_data")
_GATHERING: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# A default tells the type of a parameter without annotation, unless it is None or an object of any other kind.
_TELLING: Final = (bool, int, float)


class Arguments(NamedTuple):
    """The arguments to call a function with."""

    positional: tuple[Any, ...]
    named: dict[str, Any]


class _Unresolved(NamedTuple):
    """An annotation that names what is not there at run time."""

    text: str
    reason: str

    def __str__(self) -> str:
        return self.text


def parse(texts: Iterable[str]) -> dict[str, str]:
    """Return the names and values of ``name=value`` texts. Raises InvalidParameter."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            owner, _, field = name.partition(".")
            if equals and owner.isidentifier() and field:
                cure = f"give the whole value as JSON: --param {owner}='{{\"{field}\": …}}'"
                raise InvalidParameter(f"--param {name}: a part of a parameter cannot be given alone; {cure}")
            raise InvalidParameter(f"--param {text!r} is not name=value, such as --param count=3")
        if name in values:
            raise InvalidParameter(f"--param {name} is given twice")
        values[name] = value
    return values


def fit(
    function: Callable[..., Any],
    values: Mapping[str, str],
    *,
    injected: Iterable[str] = (),
    preset: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {}),
) -> Arguments:
    """Return the arguments for *function*: the *preset* ones, and the texts in *values* converted by its annotations.

    *injected* names what the flow fills by itself. Raises InvalidParameter for a parameter that is unknown, missing, or
    does not convert.
    """
    signature = inspect.signature(function)
    annotations = _annotations(function)
    fillable = {
        name: parameter.replace(annotation=annotations.get(name, parameter.annotation))
        for name, parameter in signature.parameters.items()
        if parameter.kind not in _GATHERING and not _is_injected(parameter, annotations.get(name))
    }
    gathers_names = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    bound = signature.bind_partial(*preset[0], **preset[1])
    gathered: dict[str, Any] = {}
    for name, text in values.items():
        if name in fillable:
            bound.arguments[name] = _converted(fillable[name], text)
        elif gathers_names and name not in signature.parameters:
            gathered[name] = text
        else:
            raise InvalidParameter(f"--param {name}: {_why_not_fillable(name, signature, fillable)}")
    _fill_up(bound)
    missing = [
        parameter
        for name, parameter in fillable.items()
        if parameter.default is inspect.Parameter.empty and name not in {*bound.arguments, *injected}
    ]
    if missing:
        names = ", ".join(parameter.name for parameter in missing)
        cure = " ".join(
            f"--param {parameter.name}="
            + ("…" if parameter.annotation is inspect.Parameter.empty else f"<{name_of(parameter.annotation)}>")
            for parameter in missing
        )
        raise InvalidParameter(f"The flow needs {names}: give {cure}")
    return Arguments(bound.args, {**bound.kwargs, **gathered})


def _fill_up(bound: inspect.BoundArguments) -> None:
    """Give the parameters that only a place can fill their defaults, if one that comes after them is given."""
    by_place = [
        parameter
        for parameter in bound.signature.parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    while by_place and by_place[-1].name not in bound.arguments:
        by_place.pop()
    for parameter in by_place:
        if parameter.default is not inspect.Parameter.empty:
            bound.arguments.setdefault(parameter.name, parameter.default)


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of *function*, evaluated; one that cannot be resolved leaves the others as they are."""
    plain: Any = written_function(function)
    plain = plain if inspect.isroutine(plain) else getattr(plain, "__call__", plain)  # noqa: B004 an object with it
    try:
        return typing.get_type_hints(plain, include_extras=True)
    except Exception:  # noqa: BLE001 an annotation may be any expression, also one that is never defined
        annotations: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(plain).items():
        holder = type("holder", (), {"__annotations__": {name: annotation}})
        try:
            annotations |= typing.get_type_hints(holder, getattr(plain, "__globals__", {}), include_extras=True)
        except Exception as error:  # noqa: BLE001 as above
            text = annotation if isinstance(annotation, str) else name_of(annotation)
            annotations[name] = _Unresolved(text, error_text(type(error).__name__, text_of(error)))
    return annotations


def _is_injected(parameter: inspect.Parameter, annotation: Any) -> bool:
    if parameter.name in _INJECTED_NAMES or parameter.default is otelflow.INJECTED:
        return True
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    members = typing.get_args(annotation) if typing.get_origin(annotation) in UNIONS else (annotation,)
    classes = [typing.get_origin(member) or member for member in members]
    return any(isinstance(kind, type) and issubclass(kind, otelflow.Flow | otelflow.Task) for kind in classes)


def _converted(parameter: inspect.Parameter, text: str) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, _Unresolved):
        raise InvalidParameter(
            f"--param {parameter.name}: its annotation {annotation.text!r} cannot be resolved ({annotation.reason}); "
            "define or import what it names at run time, not under TYPE_CHECKING only"
        )
    if annotation is inspect.Parameter.empty and isinstance(parameter.default, _TELLING):
        annotation = type(parameter.default)
    try:
        return convert(text, annotation)
    except ConversionError as error:
        reason = f" ({error})" if str(error) else ""
        raise InvalidParameter(f"--param {parameter.name}={text!r:.80} must be {name_of(annotation)}{reason}") from None


def _why_not_fillable(name: str, signature: inspect.Signature, fillable: Mapping[str, inspect.Parameter]) -> str:
    if name in signature.parameters:
        if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            return "the flow gathers arguments without a name in it, which --param cannot give"
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            return "the flow gathers any other names in it: give each as --param its_name=value"
        return "otelflow fills this parameter by itself"
    return f"the flow has no such parameter{suggestion(name, fillable)}" if fillable else "the flow has no parameters"
