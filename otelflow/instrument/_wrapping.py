"""Put flows and tasks in the place of functions and methods of a module, and take them away again."""

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from otelflow._core.text.hints import suggestion
from otelflow.errors import ConfigurationError
from otelflow.instrument._plan import Plan, Rule

_MARK: Final = "__otelflow__"
_OF_C: Final = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
)


class Place(NamedTuple):
    """Where a function stands: the attribute *name* of a module or class, which holds *value* there."""

    holder: Any
    name: str
    qualname: str
    value: Any


class Wrapped(NamedTuple):
    """A function of *module* that was replaced; *place* holds what was there before."""

    module: str
    place: Place
    replacement: Any

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
    places = list(_places(module, name))
    keys = set[tuple[int, str]]()
    for rule in plan.rules_of(name):
        meant = [place for place in places if rule.is_of_function(place.qualname)]
        if not meant and rule.is_of_many_modules:
            # A rule for many modules need not match in each: _survey.py has checked that it does in one.
            continue
        if rule.is_exact and not any(_is_wrappable(place.value) or _role(place.value) for place in meant):
            refuse(_why_not(rule, module, meant, places))
            continue
        for place in filter(lambda place: _is_wrappable(place.value), meant):
            # An imported function is wrapped only by a rule without wildcards.
            is_own = rule.is_exact or getattr(_function(place.value), "__module__", None) == name
            if is_own and (id(place.holder), place.name) not in keys:
                try:
                    replacement = rule.decorate(place.value, place.name)
                    setattr(place.holder, place.name, replacement)
                except (TypeError, ValueError, AttributeError) as error:
                    reason = f"{name}:{place.qualname} cannot be wrapped: {error}"
                    refuse(ConfigurationError(f"{rule.pattern}: {reason}"))
                    continue
                keys.add((id(place.holder), place.name))
                yield Wrapped(name, place, replacement)


def rebind(values: Mapping[int, Any]) -> None:
    """Give each global name of any module, whose value has its id in *values*, the value there instead.

    Modules that were imported before have taken functions from one another by name.
    """
    for module in list(sys.modules.values()):
        if _is_a(module, types.ModuleType):
            for name, value in list(vars(module).items()):
                if id(value) in values:
                    setattr(module, name, values[id(value)])


def _places(holder: Any, module: str, path: str = "") -> Iterator[Place]:
    """Yield what stands in a module and in the classes that were written there, each with its qualified name."""
    for name, value in list(vars(holder).items()):
        qualname = f"{path}{name}"
        yield Place(holder, name, qualname, value)
        if _is_a(value, type) and value.__module__ == module and value.__qualname__ == qualname:
            yield from _places(value, module, f"{qualname}.")


def _is_a(value: Any, *kinds: type) -> bool:
    """Tell of what type *value* is, not what it says: a lazy proxy (of Celery, say), when it is asked, is made."""
    return issubclass(type(value), kinds)


def _function(value: Any) -> Any:
    return value.__func__ if _is_a(value, staticmethod, classmethod) else value


def _role(value: Any) -> str:
    """Return ``flow`` or ``task`` for what is one already, else nothing."""
    role = inspect.getattr_static(_function(value), _MARK, "")
    return role if isinstance(role, str) else ""


def _is_wrappable(value: Any) -> bool:
    function = _function(value)
    is_cached = hasattr(type(function), "cache_info")  # functools.lru_cache() around a function
    return (_is_a(function, types.FunctionType) or is_cached) and not _role(value)


def _why_not(rule: Rule, module: types.ModuleType, meant: list[Place], places: list[Place]) -> ConfigurationError:
    """Return what to say when *rule* names something else than a function."""
    if not meant:
        names = [place.qualname for place in places if _is_wrappable(place.value)]
        return ConfigurationError(
            f"{rule.pattern}: {module.__name__} has no {rule.names!r}{suggestion(rule.names, names)}"
        )
    value = meant[0].value
    if _is_a(value, type):
        cure = f"is a class: name its methods, such as {rule.pattern}.*"
    elif _is_a(value, *_OF_C):
        cure = "is written in C, and cannot be wrapped: name the Python function that calls it"
    else:
        cure = f"is no function but {type(value).__name__}: name a function or method"
    return ConfigurationError(f"{rule.pattern} {cure}")
