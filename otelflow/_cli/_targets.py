"""Find the flow that ``file.py:name`` or ``package.module:name`` means, as ``python file.py`` would find its code."""

import importlib
import inspect
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import otelflow
from otelflow import Flow_Run__Event
from otelflow._cli._console import say
from otelflow._core.text.hints import nearest, question
from otelflow._core.text.safe_str import brief_repr, type_name
from otelflow._importing import import_for_user, is_file, load_file
from otelflow.errors import TargetNotFound

_MARK: Final = "__otelflow__"
_MOST_NAMES: Final = 20
_ROUTINES: Final = (FunctionType, BuiltinFunctionType, MethodType)


class _RunsAtImport(otelflow.Listener):
    """Notes the flow that a module runs while it is imported."""

    first = ""

    def on_flow_start(self, event: Flow_Run__Event) -> None:
        """Note its name, if it is the first."""
        self.first = self.first or str(event.event_data.flow_name)


def find(target: str) -> Any:
    """Return the decorated function, ``Flow`` subclass or ``Flow`` instance that *target* names.

    Raises TargetNotFound, TargetNotImportable.
    """
    place, name = _split(target)
    sys.argv = [place]
    runs = _RunsAtImport()
    otelflow.add_listener(runs)
    try:
        module = load_file(Path(place)) if is_file(place) else _load_module(place)
    finally:
        otelflow.remove_listener(runs)
    if runs.first:
        cure = "put that under if __name__ == '__main__':"
        say(
            f"{place} has run flow {runs.first!r} itself when it was imported, which is no part of what follows; {cure}"
        )
    if not name:
        names = [name for name in _flow_names(module) if "." not in name]
        folder = Path(*place.split("."))
        if not names and module.__spec__ is not None and module.__spec__.origin is None and folder.is_dir():
            load_file(folder)  # which says that it is one
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
    try:
        if isinstance(value, type):
            return issubclass(value, otelflow.Flow) and value is not otelflow.Flow
        return isinstance(value, otelflow.Flow) or _is_marked(value, "flow")
    except Exception:  # noqa: BLE001 a proxy, such as a web framework's request outside of one
        return False


def _is_marked(value: Any, mark: str) -> bool:
    """Tell whether our decorator called *mark* has made *value*; some objects have every attribute."""
    try:
        own_mark = getattr(value, _MARK, "")
    except Exception:  # noqa: BLE001 as above
        return False
    return isinstance(own_mark, str) and own_mark == mark


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    # A Windows path has a colon of its own.
    is_whole = not colon or "/" in name or "\\" in name or name.endswith(".py")
    place, name = (target, "") if is_whole else (place, name)
    if place.endswith(":"):  # as pytest has it
        raise TargetNotFound(f"{target!r} has a colon too many: write {place.rstrip(':')}:{name}")
    if not place:
        raise TargetNotFound(f"{target!r} names no file or module: give path/to/file.py:flow or package.module:flow")
    return place, name


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        cure = f"; did you mean {name}.py?" if Path(f"{name}.py").is_file() else ""
        raise TargetNotFound(f"{name!r} is no name of a module, and no such file exists{cure}")
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
    similar = nearest(name.partition(".")[0], modules)
    rest = name.partition(".")[1] + name.partition(".")[2]
    if similar:
        return f"did you mean {similar + rest!r}?"
    return "run this in the folder that holds it, or give a path to a file"


def _is_method(holder: Any, name: str) -> bool:
    """Tell whether *name* in *holder* needs an instance to be called."""
    return isinstance(holder, type) and inspect.isfunction(inspect.getattr_static(holder, name))


def _flow_names(module: ModuleType) -> list[str]:
    """Return the names of the flows in *module*, those of its classes included."""
    names = [name for name, value in vars(module).items() if is_flow(value)]
    for name, value in vars(module).items():
        if issubclass(type(value), type) and value.__module__ == module.__name__ and not is_flow(value):
            names += [
                f"{name}.{inner}"
                for inner, member in vars(value).items()
                if is_flow(member.__func__ if isinstance(member, staticmethod | classmethod) else member)
                and not _is_method(value, inner)
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
    own_kind = type(value)  # what a proxy says that it is may raise
    if _is_marked(value, "task"):
        kind, cure = "a task", "; call it in a function that is decorated with @flow, and run that"
    elif value is otelflow.Flow:
        kind = "the class of all flows"
    elif issubclass(own_kind, type):
        kind = "a class"
    elif issubclass(own_kind, _ROUTINES):
        kind, cure = "a plain function", "; decorate it with @flow"
    else:
        kind = "a module" if issubclass(own_kind, ModuleType) else f"{type_name(value)} {brief_repr(value, 40)}"
    return f"{kind}, not a flow{_suggestion(name, module) if _flow_names(module) else cure}"
