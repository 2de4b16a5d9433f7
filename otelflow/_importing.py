"""Import a module or a file for the user, and say in one sentence why it does not import."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from otelflow._core.text.hints import place_of, question
from otelflow._core.text.redaction import redact
from otelflow._core.text.safe_str import comes_from_outside, error_text
from otelflow.errors import TargetNotFound, TargetNotImportable

T = TypeVar("T")


def import_for_user(load: Callable[[], T], place: str, absence: Callable[[], str] | None = None) -> T:
    """Return what *load* returns, which imports *place*, a file or a module; *absence* says that there is no module.

    Raises TargetNotFound with that sentence, or TargetNotImportable with the error, its line and what to do about it.
    """
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        is_absent = isinstance(error, ModuleNotFoundError) and f"{place}.".startswith(f"{error.name}.")
        if is_absent and absence is not None:
            raise TargetNotFound(absence()) from None
        text, line = redact(text_of(error)), place_of(error)
        if isinstance(error, SyntaxError):
            text, line = error.msg, f"{error.filename}:{error.lineno}" if error.filename else line
        words = error_text(type(error).__name__, text) + (f" ({line})" if line else "")
        raise TargetNotImportable(f"{place} does not import: {words}{_cure(error)}") from error


def is_file(place: str) -> bool:
    """Tell whether *place* means a file, not a module by its name."""
    return place.endswith(".py") or "/" in place or os.sep in place or Path(place).is_file()


def load_file(path: Path) -> ModuleType:
    """Import the file *path* as ``python file.py`` would find what it imports; its module can be imported by its name.

    Raises TargetNotFound, TargetNotImportable.
    """
    if not path.is_file():
        if path.is_dir():
            inner = [file for file in path.glob("*.py") if file.name != "__init__.py"]
            first = min(inner, key=lambda file: (file.name.startswith("__"), str(file)), default=path)
            in_package = module_of(first)
            kind, example = ("module", in_package) if in_package else ("file", str(first))
            raise TargetNotFound(f"{path} is a folder: name a {kind} in it" + (f", such as {example}" if inner else ""))
        files = [str(file) for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise TargetNotFound(f"The file {path} does not exist{question(str(path), files)}")
    file = path.resolve()
    sys.path.insert(0, str(file.parent))
    # Other processes can import it by the name of its file, if that is free.
    is_free = file.stem.isidentifier() and file.stem not in sys.modules and file.stem not in sys.stdlib_module_names
    name = file.stem if is_free else f"otelflow_run_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        cure = "; patterns in it are for --instrument" if path.suffix == ".toml" else ""
        raise TargetNotFound(f"The file {path} is no Python program: its name must end with .py{cure}")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look a class's module up by its name.
    sys.modules[name] = module
    loader = spec.loader
    import_for_user(lambda: loader.exec_module(module), str(path))
    return module


def text_of(error: BaseException) -> str:
    """Return the message of *error*; to make it is the user's own code, which may raise."""
    try:
        return str(error)
    except BaseException as trouble:  # the code of any exception's author, which may raise anything
        if comes_from_outside(trouble):
            raise
        return "(its text cannot be made)"


def module_of(file: Path) -> str:
    """Return the name under which the package around *file* has it: that in which relative imports work; or nothing."""
    names = [file.stem] if file.stem != "__init__" else []
    for folder in file.resolve().parents:
        if not (folder / "__init__.py").is_file():
            break
        names.insert(0, folder.name)
    return ".".join(names) if len(names) > 1 else ""


def _cure(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"; install it where otelflow is installed: {sys.executable} -m pip install …"
    if isinstance(error, ImportError) and "relative import" in text_of(error):
        module = module_of(Path(place_of(error).rpartition(":")[0])) or "package.module"
        return f"; name it as {module}, not by its path, in the folder that holds the package"
    if isinstance(error, SystemExit):
        return "; it ends itself when imported: put that under if __name__ == '__main__':"
    return ""
