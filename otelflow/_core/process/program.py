"""What the program that runs is called: the same however it was started, and in the processes that work for it."""

import functools
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Final

#: In a process that works for another: what the program there is called
sender: Final[ContextVar[str | None]] = ContextVar("otelflow_sender", default=None)

_MAIN: Final = ("__main__", "__mp_main__")


def module_name(module: str) -> str:
    """Return what tells *module* from all others: its name in its package, or else the path of its file.

    A program that has no file, as one that is typed, stays ``__main__``.
    """
    is_main = module in _MAIN
    name = sender.get() if is_main else None
    if name is not None:
        return name
    loaded = sys.modules.get(module)
    spec = getattr(loaded, "__spec__", None) if is_main else None  # of python -m
    name = module if spec is None else spec.name
    if "." in name or hasattr(loaded, "__path__"):
        return name
    file = getattr(loaded, "__file__", None)
    return _real_path(file) if isinstance(file, str) else "__main__" if is_main else module


def program_name() -> str:
    """Return what the program is called."""
    return module_name("__main__")


def is_nameless(module: str) -> bool:
    """Tell whether *module* is a program without a file: what it defines has the names of any other's."""
    return module_name(module) in _MAIN


def imported_name(code_name: str) -> str:
    """Return *code_name*, which begins with that of a module, with what tells this module from all others."""
    parts = code_name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:count])
        if module in sys.modules:
            return ".".join((module_name(module), *parts[count:]))
    return code_name


def modules_called(name: str) -> Iterator[ModuleType]:
    """Yield the modules here that ``module_name`` calls *name*."""
    stem = os.path.splitext(os.path.basename(name))[0]  # noqa: PTH119, PTH122 it may be no path
    for module in (name, *_MAIN, stem, f"otelflow_run_{stem}"):
        loaded = sys.modules.get(module)
        if loaded is not None and (module == name or module_name(module) == name):
            yield loaded


@functools.cache
def _real_path(file: str) -> str:
    try:
        return os.path.realpath(file)
    except (OSError, ValueError):  # the working folder was removed; what a host has put there need be no path
        return file
