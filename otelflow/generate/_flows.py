"""Which flows the named modules declare."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from otelflow._core.flows import declared
from otelflow._core.flows.declared import Declared
from otelflow._core.text.hints import nearest
from otelflow._importing import import_for_user
from otelflow.errors import TargetNotFound


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
    if not name.strip(".") or name.startswith("."):
        raise TargetNotFound(f"{name!r} is no module: --from wants a name as in 'import package.module'")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; an installed command does not
    import_for_user(
        lambda: importlib.import_module(name),
        name,
        lambda: (
            f"There is no module {name!r}{_near(name)}: --from wants a module as in 'import package.module', "
            f"importable from {Path.cwd()}"
        ),
    )


def _near(name: str) -> str:
    """Return what may have been meant: a module in the place of a file, or one beside that is not there."""
    if name.endswith(".py"):
        return f"; did you mean {name.removesuffix('.py').strip('./').replace('/', '.')!r}?"
    import pkgutil  # noqa: PLC0415 only for mistakes

    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent)
    return nearest(name, [f"{parent}.{one.name}" for one in pkgutil.iter_modules(getattr(package, "__path__", []))])
