"""Put flows and tasks in the place of functions and methods of a module, and take them away again."""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import wrapt

from otelflow._core.text.hints import question
from otelflow.instrument import _celery_tasks
from otelflow.instrument._holders import Place, function_of, is_a, other_holders, places
from otelflow.instrument._mistakes import IS_CLASS, NO_FUNCTION, WRITTEN_IN_C, kind_of
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


def wrap_module(module: types.ModuleType, plan: Plan, refuse: Callable[[str, str], None]) -> Iterator[Wrapped]:
    """Replace what *plan* names in *module*, and yield what was replaced; *refuse* is told of a rule that cannot be."""
    name = module.__name__
    standing = list(places(module, name))
    others = {id(place): count for place, count in zip(standing, other_holders(standing), strict=True)}
    standing += _celery_tasks.places(module)
    keys = set[tuple[int, str]]()
    for rule in plan.rules_of(name):
        matches = [place for place in standing if rule.is_of_function(place.qualname)]
        # Each is wrapped now, is a flow or task already, or will be wrapped when Celery has made it.
        usable = (
            _is_wrappable(place.value) or _role(place.value) or _celery_tasks.is_task(place.value) for place in matches
        )
        if rule.is_exact and not any(usable):
            # A rule for many modules need not match in each: _survey.py has checked that it does in one.
            if not rule.is_of_many_modules:
                refuse(_why_not(rule, module, matches, standing), rule.pattern)
            continue
        for place in filter(lambda place: _is_wrappable(place.value), matches):
            # An imported function is wrapped only by a rule without wildcards.
            is_own = _is_written(place, name)
            if (rule.is_exact or is_own) and (id(place.holder), place.name) not in keys:
                try:
                    value = _with_owner(place.value, place.holder) if is_a(place.holder, type) else place.value
                    replacement = rule.decorate(value, rule.name_of(name, place.qualname))
                    if is_a(place.value, functools.partial):
                        replacement = _Partial(place.value, replacement)
                    setattr(place.holder, place.name, replacement)
                except (TypeError, ValueError, AttributeError) as error:
                    refuse(f"{name}:{place.qualname} cannot be wrapped: {error}", rule.pattern)
                    continue
                keys.add((id(place.holder), place.name))
                yield Wrapped(name, place, replacement, others.get(id(place), 0) if is_own else 0)


def _is_written(place: Place, module: str) -> bool:
    """Tell whether a function was written in *module*: none that a class has taken from another, as it stands there."""
    function = function_of(place.value)
    home = getattr(function, "__module__", None)
    if home == module or "." not in place.qualname:
        return bool(home == module)
    # What a decorator of another module has made of a method was made in a function there, and stands nowhere there.
    origin = sys.modules.get(str(home))
    names = vars(origin) if is_a(origin, types.ModuleType) else {}
    is_of_there = any(value is function for value in list(names.values()))
    return not is_of_there and "<locals>" in getattr(function, "__qualname__", "<locals>")


if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy  # before wrapt 2 it takes no type


class _Calling(_Proxy):
    """What *value* is, and when it is called, *call* is."""

    def __init__(self, value: Any, call: Callable[..., Any]) -> None:
        super().__init__(value)
        self._self_call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._self_call(*args, **kwargs)


def _with_owner(value: Any, holder: type) -> Any:
    """Return *value*, of the class *holder*, so that a decorator of wrapt's is told the object or class within a task.

    It asks what it stands in, and a task calls its function with that.
    """
    outer = function_of(value)
    if not is_a(outer, wrapt.FunctionWrapper):
        return value
    inner: Any = outer
    while is_a(inner, wrapt.FunctionWrapper):
        inner = inner.__wrapped__
    if outer is not value:  # it was decorated before it became a class method; a static one is told nothing
        return classmethod(_of_object(outer)) if is_a(value, classmethod) else value
    if is_a(inner, classmethod):
        return classmethod(_Calling(inner.__func__, lambda owner, /, *a, **k: outer.__get__(None, owner)(*a, **k)))
    if is_a(inner, staticmethod):
        return staticmethod(_Calling(inner.__func__, outer.__get__(None, holder)))
    return _of_object(outer) if inspect.isfunction(inner) else value


def _of_object(method: Any) -> Any:
    return _Calling(method, lambda owner, /, *a, **k: method.__get__(owner, type(owner))(*a, **k))


class _Partial(_Calling):
    """A ``functools.partial`` that is what it was, also in another process, and a flow or task when it is called."""

    __otelflow__ = "partial"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)


def _role(value: Any) -> str:
    """Return ``flow`` or ``task`` for what is one already, else nothing."""
    role = inspect.getattr_static(function_of(value), _MARK, "")
    return role if isinstance(role, str) else ""


def _is_wrappable(value: Any) -> bool:
    return _is_function(function_of(value)) and not _role(value)


def _is_function(value: Any) -> bool:
    """Tell whether *value* is a function, or what a cache, a decorator of wrapt's or a partial has made of one."""
    if is_a(value, wrapt.FunctionWrapper):  # another proxy may be a lazy one, and is not asked
        return _is_function(function_of(value.__wrapped__))
    return is_a(value, types.FunctionType, functools.partial) or hasattr(type(value), "cache_info")


def _why_not(rule: Rule, module: types.ModuleType, matches: list[Place], standing: list[Place]) -> str:
    """Return what is wrong when *rule* names something else than a function."""
    if not matches:
        names = [place.qualname for place in standing if _is_wrappable(place.value)]
        return f"{module.__name__} has no {rule.names!r}{question(rule.names, names)}"
    value = matches[0].value
    if is_a(value, type):
        return IS_CLASS.format(pattern=rule.pattern)
    if is_a(value, *_OF_C):
        return WRITTEN_IN_C
    return NO_FUNCTION.format(kind=kind_of(value))
