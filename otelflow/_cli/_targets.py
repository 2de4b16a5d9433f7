"""Find the flow that ``file.py:name`` or ``package.module:name`` means, as ``python file.py`` would find its code."""

import importlib
import inspect
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import otelflow
from otelflow._core.text.hints import nearest, question
from otelflow._importing import import_for_user, is_file, load_file
from otelflow.errors import TargetNotFound

_MARK: Final = "__otelflow__"
_MOST_NAMES: Final = 20


def find(target: str) -> Any:
    """Return the decorated function, ``Flow`` subclass or ``Flow`` instance that *target* names.

    Raises TargetNotFound, TargetNotImportable.
    """
    place, name = _split(target)
    sys.argv = [place]
    module = load_file(Path(place)) if is_file(place) else _load_module(place)
    if not name:
        names = [name for name in _flow_names(module) if "." not in name]
        if not names:
            raise TargetNotFound(f"{place} has no flow: decorate a function with @flow, then run {place}:its_name")
        if len(names) > 1:
            choices = ", ".join(f"{place}:{name}" for name in names)
            raise TargetNotFound(f"{place} has {len(names)} flows; say which: {choices}")
        return getattr(module, names[0])
    value: Any = module
    for part in name.split("."):
        holder = value
        try:
            value = getattr(holder, part)
        except AttributeError:
            raise TargetNotFound(f"{place} has no {name!r}{_suggestion(name, module)}") from None
        if _is_method(holder, part):
            raise TargetNotFound(
                f"{place}:{name} is a method: make a {holder.__name__} in {place}, and name its method"
            )
    if not is_flow(value):
        raise TargetNotFound(f"{place}:{name} is {_kind_and_cure(value, name, module)}")
    return value


def place_of(target: str) -> str:
    """Return the file or module that *target* names. Raises TargetNotFound when it names none."""
    return _split(target)[0]


def file_of(target: str) -> str:
    """Return the file that *target* names, or that of its package, without importing it; empty if there is none.

    Raises TargetNotFound when it names nothing.
    """
    place = place_of(target)
    if is_file(place):
        return str(Path(place).resolve())
    package = place.partition(".")[0]
    module = sys.modules.get(package)
    spec = module.__spec__ if module else PathFinder.find_spec(package, [str(Path.cwd()), *sys.path])
    if spec is None:
        return ""
    folder = next(iter(spec.submodule_search_locations or ()), "")
    return str(Path(folder, "__init__.py")) if folder else spec.origin or ""


def is_flow(value: Any) -> bool:
    """Tell whether *value* can be run: a decorated function, a subclass of ``Flow``, or a ``Flow``."""
    if isinstance(value, type):
        return issubclass(value, otelflow.Flow) and value is not otelflow.Flow
    return isinstance(value, otelflow.Flow) or getattr(value, _MARK, "") == "flow"


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    # A Windows path has a colon of its own.
    is_whole = not colon or "/" in name or "\\" in name or name.endswith(".py")
    place, name = (target, "") if is_whole else (place, name)
    if not place:
        raise TargetNotFound(f"{target!r} names no file or module: give path/to/file.py:flow or package.module:flow")
    return place, name


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetNotFound(f"{name!r} is no name of a module, and no such file exists")
    sys.path.insert(0, str(Path.cwd()))
    return import_for_user(
        lambda: importlib.import_module(name), name, lambda: f"There is no module {name!r}; {cure_for_module(name)}"
    )


def cure_for_module(name: str) -> str:
    """Return what may have been meant by a module that is not there."""
    file = Path(name.replace(".", os.sep) + ".py")
    if file.is_file():
        return f"did you mean {file}?"
    head, _, flow = name.rpartition(".")
    if head and (Path(head.replace(".", os.sep) + ".py").is_file() or Path(head, "__init__.py").is_file()):
        return f"did you mean {head}:{flow}?"
    modules = [path.stem for path in Path().glob("*.py")] + [path.parent.name for path in Path().glob("*/__init__.py")]
    meant = nearest(name.partition(".")[0], modules)
    rest = name.partition(".")[1] + name.partition(".")[2]
    return (
        f"did you mean {meant + rest!r}?" if meant else "run this in the folder that holds it, or give a path to a file"
    )


def _is_method(holder: Any, name: str) -> bool:
    """Tell whether *name* in *holder* needs an instance to be called."""
    return isinstance(holder, type) and inspect.isfunction(inspect.getattr_static(holder, name))


def _flow_names(module: ModuleType) -> list[str]:
    """Return the names of the flows in *module*, those of its classes included."""
    names = [name for name, value in vars(module).items() if is_flow(value)]
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__ and not is_flow(value):
            names += [
                f"{name}.{inner}"
                for inner in vars(value)
                if is_flow(getattr(value, inner, None)) and not _is_method(value, inner)
            ]
    return names[:_MOST_NAMES]


def _suggestion(name: str, module: ModuleType) -> str:
    names = _flow_names(module)
    if not names:
        return ", and no flow at all: decorate a function with @flow"
    return question(name, names) or f"; its flows: {', '.join(names)}"


def _kind_and_cure(value: Any, name: str, module: ModuleType) -> str:
    """Return ``a task, not a flow`` or the like, and what to name or do instead."""
    cure = ""
    if getattr(value, _MARK, "") == "task":
        kind, cure = "a task", "; call it in a function that is decorated with @flow, and run that"
    elif value is otelflow.Flow:
        kind = "the class of all flows"
    elif inspect.isclass(value):
        kind = "a class"
    elif inspect.isroutine(value):
        kind, cure = "a plain function", "; decorate it with @flow"
    else:
        kind = "a module" if inspect.ismodule(value) else f"{type(value).__name__} {value!r:.40}"
    return f"{kind}, not a flow{_suggestion(name, module) if _flow_names(module) else cure}"
