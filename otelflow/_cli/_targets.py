"""Find the flow that ``file.py:name`` or ``package.module:name`` means, as ``python file.py`` would find its code."""

import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import otelflow
from otelflow._cli._console import text_of
from otelflow._core.text import hints
from otelflow._core.text.hints import nearest
from otelflow.errors import TargetNotFound, TargetNotImportable

_MARK: Final = "__otelflow__"


def find(target: str) -> Any:
    """Return the decorated function, ``Flow`` subclass or ``Flow`` instance that *target* names.

    Raises TargetNotFound, TargetNotImportable.
    """
    place, name = _split(target)
    module = _from_file(Path(place)) if _is_file(place) else _from_module(place)
    if not name:
        return _only_flow(module, place)
    found: Any = module
    for part in name.split("."):
        holder = found
        try:
            found = getattr(holder, part)
        except AttributeError:
            raise TargetNotFound(f"{place} has no {name!r}{_suggestion(name, module)}") from None
        if isinstance(holder, type) and inspect.isfunction(inspect.getattr_static(holder, part)):
            raise TargetNotFound(
                f"{place}:{name} is a method: make a {holder.__name__} in {place}, and name its method"
            )
    if not is_flow(found):
        raise TargetNotFound(f"{place}:{name} is {_kind(found)}, not a flow{_cure(found, name, module)}")
    return found


def place_of(target: str) -> str:
    """Return the file or module that *target* names. Raises TargetNotFound when it names none."""
    return _split(target)[0]


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    # A Windows path has a colon of its own.
    is_whole = not colon or "/" in name or "\\" in name or name.endswith(".py")
    place, name = (target, "") if is_whole else (place, name)
    if not place:
        raise TargetNotFound(f"{target!r} names no file or module: give path/to/file.py:flow or package.module:flow")
    return place, name


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or os.sep in place or Path(place).is_file()


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        there = "is a folder" if path.is_dir() else "does not exist"
        files = [str(file) for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise TargetNotFound(f"The file {path} {there}{_close(str(path), files)}")
    file = path.resolve()
    sys.path.insert(0, str(file.parent))
    sys.argv = [str(path)]
    name = _module_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TargetNotFound(f"The file {path} is no Python program: its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look a class's module up by its name.
    sys.modules[name] = module
    _import(lambda: spec.loader.exec_module(module), str(path))
    return module


def _module_name(file: Path) -> str:
    """Return the file's own name, by which other processes can import it; another one if that is taken."""
    if file.stem.isidentifier() and file.stem not in sys.modules and file.stem not in sys.stdlib_module_names:
        return file.stem
    return f"otelflow_run_{file.stem}"


def _from_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetNotFound(f"{name!r} is no name of a module, and no such file exists")
    sys.path.insert(0, str(Path.cwd()))
    sys.argv = [name]
    try:
        is_there = importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        is_there = False
    if not is_there:
        raise TargetNotFound(_no_module(name))
    _import(lambda: importlib.import_module(name), name)
    return sys.modules[name]


def _no_module(name: str) -> str:
    file = Path(name.replace(".", os.sep) + ".py")
    cure = (
        f"did you mean {file}?" if file.is_file() else "run this in the folder that holds it, or give a path to a file"
    )
    return f"There is no module {name!r}; {cure}"


def _import(call: Any, place: str) -> None:
    try:
        call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and place.startswith(error.name):
            raise TargetNotFound(_no_module(place)) from None
        raise TargetNotImportable(f"{place} does not import: {_described(error)}{_import_cure(error)}") from error


def _described(error: BaseException) -> str:
    text = text_of(error)
    words = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        line = f" ({error.filename}:{error.lineno})" if error.filename else ""
        return f"{type(error).__name__}: {error.msg}{line or _place(error)}"
    return words + _place(error)


def _place(error: BaseException) -> str:
    place = hints.place_of(error)
    return f" ({place})" if place else ""


def _import_cure(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"; install it where otelflow is installed: {sys.executable} -m pip install …"
    if isinstance(error, ImportError) and "relative import" in str(error):
        return "; name it as package.module:flow in the folder that holds the package"
    if isinstance(error, SystemExit):
        return "; it ends itself when imported: put that under if __name__ == '__main__':"
    return ""


def is_flow(found: Any) -> bool:
    """Tell whether *found* can be run: a decorated function, a subclass of ``Flow``, or a ``Flow``."""
    if isinstance(found, type):
        return issubclass(found, otelflow.Flow) and found is not otelflow.Flow
    return isinstance(found, otelflow.Flow) or getattr(found, _MARK, "") == "flow"


def _is_method(holder: Any, name: str) -> bool:
    """Tell whether *name* in *holder* needs an instance to be called."""
    return isinstance(holder, type) and inspect.isfunction(inspect.getattr_static(holder, name))


_MOST_NAMED: Final = 20


def _flows(module: ModuleType) -> list[str]:
    """Return the names of the flows in *module*, those of its classes included."""
    found = [name for name, value in vars(module).items() if is_flow(value)]
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__ and not is_flow(value):
            found += [
                f"{name}.{inner}"
                for inner in vars(value)
                if is_flow(getattr(value, inner, None)) and not _is_method(value, inner)
            ]
    return found[:_MOST_NAMED]


def _only_flow(module: ModuleType, place: str) -> Any:
    flows = [name for name in _flows(module) if "." not in name]
    if len(flows) == 1:
        return getattr(module, flows[0])
    if not flows:
        raise TargetNotFound(f"{place} has no flow: decorate a function with @flow, then run {place}:its_name")
    raise TargetNotFound(f"{place} has {len(flows)} flows; say which: {', '.join(f'{place}:{one}' for one in flows)}")


def _suggestion(name: str, module: ModuleType) -> str:
    flows = _flows(module)
    if not flows:
        return ", and no flow at all: decorate a function with @flow"
    return _close(name, flows) or f"; its flows: {', '.join(flows)}"


def _close(name: str, known: list[str]) -> str:
    meant = nearest(name, known)
    return f"; did you mean {meant!r}?" if meant else ""


def _kind(found: Any) -> str:
    if getattr(found, _MARK, "") == "task":
        return "a task"
    if found is otelflow.Flow:
        return "the class of all flows"
    if inspect.isclass(found):
        return "a class"
    if inspect.isroutine(found):
        return "a plain function"
    return "a module" if inspect.ismodule(found) else f"{type(found).__name__} {found!r:.40}"


def _cure(found: Any, name: str, module: ModuleType) -> str:
    flows = _flows(module)
    if flows:
        return _suggestion(name, module)
    if getattr(found, _MARK, "") == "task":
        return "; call it in a function that is decorated with @flow, and run that"
    return "; decorate it with @flow" if inspect.isroutine(found) else ""
