"""Which flows the named modules declare."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from otelflow._core.flows import declared
from otelflow._core.flows.declared import Declared
from otelflow._core.text.hints import place_of, suggestion
from otelflow.errors import TargetNotFound, TargetNotImportable


def flows_of(modules: Iterable[str]) -> tuple[Declared, ...]:
    """Import *modules* and return the flows that they and what they import declare, by name.

    Raises TargetNotFound or TargetNotImportable, which name the module and what is wrong with it.
    """
    found = {flow.name: flow for name in modules for flow in _flows_of(name)}
    return tuple(found[name] for name in sorted(found))


# What the first import of a module declared: a second one declares nothing.
_declared_by: Final[dict[str, set[str]]] = {}


def _flows_of(module: str) -> list[Declared]:
    before = {flow.name for flow in declared.declared_flows()}
    _import(module)
    flows = declared.declared_flows()
    names = _declared_by.setdefault(module, set())
    names.update(flow.name for flow in flows if flow.name not in before)
    return [flow for flow in flows if flow.name in names or f"{flow.module}.".startswith(f"{module}.")]


def _import(name: str) -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; an installed command does not
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise TargetNotFound(
                f"There is no module {name!r}{_near(name)}: --from wants a module as in 'import package.module', "
                f"importable from {Path.cwd()}"
            ) from None
        raise TargetNotImportable(f"{name} does not import: {error}{_place(error)}; install what it needs") from error
    except (TypeError, ValueError) as error:
        if not name.strip(".") or name.startswith("."):
            raise TargetNotFound(f"{name!r} is no module: --from wants a name as in 'import package.module'") from None
        raise TargetNotImportable(f"{name} raises when it is imported: {_described(error)}") from error
    except (Exception, SystemExit) as error:
        raise TargetNotImportable(f"{name} raises when it is imported: {_described(error)}") from error


def _described(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        line = f" ({error.filename}:{error.lineno})" if error.filename else _place(error)
        return f"{type(error).__name__}: {error.msg}{line}"
    return f"{type(error).__name__}: {error}{_place(error)}"


def _place(error: BaseException) -> str:
    place = place_of(error)
    return f" ({place})" if place else ""


def _near(name: str) -> str:
    """Return what may have been meant: a module in the place of a file, or one beside that is not there."""
    if name.endswith(".py"):
        return f"; did you mean {name.removesuffix('.py').strip('./').replace('/', '.')!r}?"
    import pkgutil  # noqa: PLC0415 only for mistakes

    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent)
    return suggestion(name, [f"{parent}.{one.name}" for one in pkgutil.iter_modules(getattr(package, "__path__", []))])
