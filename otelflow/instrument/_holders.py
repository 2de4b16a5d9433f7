"""Who took a function before it was wrapped, and would go on calling it unwrapped: other names, frameworks."""

import contextlib
import functools
import gc
import sys
import types
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple


class Place(NamedTuple):
    """Where a function stands: the attribute *name* of a module, class or command, which holds *value* there."""

    holder: Any
    name: str
    qualname: str
    value: Any


def is_a(value: Any, *kinds: type) -> bool:
    """Tell of what type *value* is, not what it says: a lazy proxy (of Celery, say), when it is asked, is made."""
    return issubclass(type(value), kinds)


def function_of(value: Any) -> Any:
    """Return what *value* is, or what it holds: a staticmethod or classmethod."""
    return value.__func__ if is_a(value, staticmethod, classmethod) else value


def places(holder: Any, module: str, path: str = "") -> Iterator[Place]:
    """Yield what stands in a module and in the classes that were written there, each with its qualified name.

    In the place of a command of click stands its function, which nothing else has.
    """
    commands = _loaded("click:Command")
    private = f"_{holder.__name__.lstrip('_')}" if path else ""
    for name, value in list(vars(holder).items()):
        # A class keeps its __name as _Class__name; a person knows it as it is written.
        qualname = f"{path}{name.removeprefix(private) if name.startswith(f'{private}__') else name}"
        if is_a(value, *commands) and value.callback is not None:
            yield Place(value, "callback", qualname, value.callback)
        else:
            yield Place(holder, name, qualname, value)
        if is_a(value, type) and value.__module__ == module and value.__qualname__ == qualname:
            yield from places(value, module, f"{qualname}.")


def other_holders(standing: Sequence[Place]) -> list[int]:
    """Return for each of the places how many others hold its function, as the interpreter counts."""
    probes = list(places(_Probe, ""))
    usual = {type(place.value): count for place, count in zip(probes, _references(probes), strict=True)}
    names = Counter(id(place.value) for place in standing)
    return [
        max(0, count - usual[type(place.value)] - 2 * (names[id(place.value)] - 1) - _is_of_copied_class(place))
        if type(place.value) in _KINDS
        else 0
        for place, count in zip(standing, _references(standing), strict=True)
    ]


def _is_of_copied_class(place: Place) -> bool:
    """Tell whether a first edition of its class has it, too: dataclasses and attrs make another one for its slots."""
    names = vars(place.holder)
    return "__slots__" in names and ("__dataclass_fields__" in names or "__attrs_attrs__" in names)


def _references(standing: Sequence[Place]) -> list[int]:
    count = getattr(sys, "getrefcount", lambda _: 0)  # PyPy has none
    functions = (function_of(place.value) for place in standing)
    # Signals (of Django, of blinker) hold their receivers weakly.
    return [weakref.getweakrefcount(function) + count(function) for function in functions]


_KINDS: Final = (types.FunctionType, staticmethod, classmethod)


class _Probe:
    """What nobody else holds, one of each of the kinds."""

    def function(self) -> None:
        """Do nothing."""

    @staticmethod
    def static() -> None:
        """Do nothing."""

    @classmethod
    def of_class(cls) -> None:
        """Do nothing."""


#: Gives a holder other values than those with their ids, and yields the ids of those that it had
Replace = Callable[[Any, Mapping[int, Any]], Iterator[int]]


class HandOver(NamedTuple):
    """What became of functions that others hold: how many names of other modules, and which were told to frameworks."""

    names: Mapping[int, int]
    taken: set[int]


def modules_that_may_hold(module: types.ModuleType) -> list[types.ModuleType]:
    """Return the modules that can hold what *module* has written, which was imported just now.

    These are itself, what was imported since its import began, and the modules that it names: one may have an ``app``.
    """
    modules = list(sys.modules.values())
    since = next((index for index, neighbour in enumerate(modules) if neighbour is module), 0)
    return [*modules[since:], *(value for value in vars(module).values() if is_a(value, types.ModuleType))]


def hand_over(values: Mapping[int, Any], modules: Iterable[types.ModuleType] | None = None) -> HandOver:
    """Give who holds a value with its id in *values* the value there instead: names of modules, known frameworks.

    Looks into *modules*, or into all. Modules that were imported before have taken functions from one another by name,
    and a framework keeps what it is given where that is written, by ``@app.get("/")``.
    """
    names: Counter[int] = Counter()
    frameworks: dict[int, tuple[Any, Replace]] = {}
    replacers = [(kind, replace) for path, replace in _FRAMEWORKS.items() for kind in _loaded(path)]
    for module in list(sys.modules.values()) if modules is None else modules:
        if is_a(module, types.ModuleType):
            for name, value in list(vars(module).items()):
                if id(value) in values:
                    names[id(value)] += 1
                    setattr(module, name, values[id(value)])
                frameworks.update({id(value): (value, replace) for kind, replace in replacers if is_a(value, kind)})
    taken = {number for holder, replace in frameworks.values() for number in replace(holder, values)}
    taken.update(_in_dependencies({number: value for number, value in values.items() if number not in taken}))
    return HandOver(names, taken)


def _loaded(path: str) -> list[type]:
    module, _, name = path.partition(":")
    kind = getattr(sys.modules.get(module), name, None)
    return [kind] if isinstance(kind, type) else []


def _in_flask(app: Any, values: Mapping[int, Any]) -> Iterator[int]:
    for endpoint, view in list(app.view_functions.items()):
        if id(view) in values:
            app.view_functions[endpoint] = values[id(view)]
            yield id(view)


class _Registration:
    """Replaces views when an application takes them over from a blueprint: until then they wait in closures."""

    def __init__(self, values: Mapping[int, Any]) -> None:
        self.values = dict(values)

    def __call__(self, state: Any) -> None:
        for _ in _in_flask(state.app, self.values):
            pass


def _in_blueprint(blueprint: Any, values: Mapping[int, Any]) -> Iterator[int]:
    for function in blueprint.deferred_functions:
        if is_a(function, _Registration):  # what is put back now is not to be replaced any more
            function.values = {key: value for key, value in function.values.items() if id(value) not in values}
    cells = [cell for function in blueprint.deferred_functions for cell in getattr(function, "__closure__", None) or ()]
    keys = {id(cell.cell_contents) for cell in cells} & set(values)
    if keys:
        with contextlib.suppress(AssertionError):  # an application has it already, and is a name of its own
            blueprint.record(_Registration(values))
            yield from keys


def _in_router(router: Any, values: Mapping[int, Any]) -> Iterator[int]:
    from starlette import routing  # noqa: PLC0415 it is loaded

    overrides = getattr(router, "dependency_overrides", {})  # of FastAPI: what stands in the place of which function
    for function in list(overrides):
        if id(function) in values:
            overrides[values[id(function)]] = overrides.pop(function)
    for route in list(getattr(router, "routes", None) or ()):
        endpoint = getattr(route, "endpoint", None)
        dependant = getattr(route, "dependant", None)  # of FastAPI, whose handler calls what stands there
        if id(endpoint) not in values:
            yield from _in_router(route, values)
        elif dependant is not None:
            dependant.call = route.endpoint = values[id(endpoint)]
            yield id(endpoint)
        elif is_a(route.app, types.FunctionType):  # no middleware of the route's own around it
            is_websocket = is_a(route, routing.WebSocketRoute)
            route.endpoint = values[id(endpoint)]
            route.app = (routing.websocket_session if is_websocket else routing.request_response)(route.endpoint)
            yield id(endpoint)


#: What of FastAPI's holds a function that others depend on, in which attribute
_DEPENDENCIES: Final = {
    "fastapi.params:Depends": "dependency",
    "fastapi.params:Security": "dependency",
    "fastapi.dependencies.models:Dependant": "call",
}


def _in_dependencies(values: Mapping[int, Any]) -> Iterator[int]:
    """Replace in each ``Depends(function)``: it may stand in a default, an annotation, or a list, of any module.

    A program names the function when it says what stands in its place: ``app.dependency_overrides[function]``.
    """
    attributes = {id(kind): name for path, name in _DEPENDENCIES.items() for kind in _loaded(path)}
    if not values or not attributes:
        return
    for holder in [thing for thing in gc.get_objects() if id(type(thing)) in attributes]:
        attribute = attributes[id(type(holder))]
        function = getattr(holder, attribute, None)
        if id(function) in values:
            object.__setattr__(holder, attribute, values[id(function)])  # newer ones are frozen
            if isinstance(vars(type(holder)).get("cache_key"), functools.cached_property):
                vars(holder).pop("cache_key", None)  # it holds the function, too
            yield id(function)


def _in_typer(app: Any, values: Mapping[int, Any]) -> Iterator[int]:
    for command in filter(None, [*app.registered_commands, app.registered_callback]):
        if id(command.callback) in values:
            yield id(command.callback)
            command.callback = values[id(command.callback)]


#: What keeps the functions that it is given, if it was imported
_FRAMEWORKS: Final[dict[str, Replace]] = {
    "flask:Flask": _in_flask,
    "flask:Blueprint": _in_blueprint,
    "starlette.applications:Starlette": _in_router,
    "starlette.routing:Router": _in_router,
    "typer:Typer": _in_typer,
}
