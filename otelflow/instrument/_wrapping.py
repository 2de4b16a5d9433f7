"""Put flows and tasks in the place of functions and methods of a module, and take them away again."""

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from otelflow._core.text.hints import suggestion
from otelflow.errors import ConfigurationError
from otelflow.instrument._holders import Place, function_of, is_a, other_holders, places
from otelflow.instrument._plan import Plan, Rule

_MARK: Final = "__otelflow__"
_OF_C: Final = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
)


class Wrapped(NamedTuple):
    """A function of *module* that was replaced; *place* holds what was there before, and *others* hold it, too."""

    module: str
    place: Place
    replacement: Any
    others: int

    @property
    def name(self) -> str:
        """The name by which a pattern means it."""
        return f"{self.module}:{self.place.qualname}"

    def undo(self) -> None:
        """Put back what was there, unless somebody has replaced it since."""
        if self.is_in_place:
            setattr(self.place.holder, self.place.name, self.place.value)

    @property
    def is_in_place(self) -> bool:
        """Whether nobody has replaced it since."""
        return vars(self.place.holder).get(self.place.name) is self.replacement


def wrap_module(
    module: types.ModuleType, plan: Plan, refuse: Callable[[ConfigurationError], None]
) -> Iterator[Wrapped]:
    """Replace what *plan* names in *module*, and yield what was replaced; *refuse* is told of a rule that cannot be."""
    name = module.__name__
    standing = list(places(module, name))
    others = {id(place): count for place, count in zip(standing, other_holders(standing), strict=True)}
    keys = set[tuple[int, str]]()
    for rule in plan.rules_of(name):
        matches = [place for place in standing if rule.is_of_function(place.qualname)]
        if rule.is_exact and not any(_is_wrappable(place.value) or _role(place.value) for place in matches):
            # A rule for many modules need not match in each: _survey.py has checked that it does in one.
            if not rule.is_of_many_modules:
                refuse(_why_not(rule, module, matches, standing))
            continue
        for place in filter(lambda place: _is_wrappable(place.value), matches):
            # An imported function is wrapped only by a rule without wildcards.
            is_own = getattr(function_of(place.value), "__module__", None) == name
            if (rule.is_exact or is_own) and (id(place.holder), place.name) not in keys:
                try:
                    replacement = rule.decorate(place.value, place.qualname.rpartition(".")[2])
                    setattr(place.holder, place.name, replacement)
                except (TypeError, ValueError, AttributeError) as error:
                    reason = f"{name}:{place.qualname} cannot be wrapped: {error}"
                    refuse(ConfigurationError(f"{rule.pattern}: {reason}"))
                    continue
                keys.add((id(place.holder), place.name))
                yield Wrapped(name, place, replacement, others[id(place)] if is_own else 0)


def _role(value: Any) -> str:
    """Return ``flow`` or ``task`` for what is one already, else nothing."""
    role = inspect.getattr_static(function_of(value), _MARK, "")
    return role if isinstance(role, str) else ""


def _is_wrappable(value: Any) -> bool:
    function = function_of(value)
    is_cached = hasattr(type(function), "cache_info")  # functools.lru_cache() around a function
    return (is_a(function, types.FunctionType) or is_cached) and not _role(value)


def _why_not(rule: Rule, module: types.ModuleType, matches: list[Place], standing: list[Place]) -> ConfigurationError:
    """Return what to say when *rule* names something else than a function."""
    if not matches:
        names = [place.qualname for place in standing if _is_wrappable(place.value)]
        return ConfigurationError(
            f"{rule.pattern}: {module.__name__} has no {rule.names!r}{suggestion(rule.names, names)}"
        )
    value = matches[0].value
    if is_a(value, type):
        cure = f"is a class: name its methods, such as {rule.pattern}.*"
    elif is_a(value, *_OF_C):
        cure = "is written in C, and cannot be wrapped: name the Python function that calls it"
    elif type(value).__module__.partition(".")[0] == "celery":
        cure = "is a task of Celery, which has kept the function: otelflow.integrations.celery makes flows of its tasks"
    else:
        cure = f"is no function but {type(value).__name__}: name a function or method"
    return ConfigurationError(f"{rule.pattern} {cure}")
