"""Which flows the named modules declare."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from otelflow._core.flows import declared
from otelflow._core.flows.declared import Declared
from otelflow._core.process import process
from otelflow._core.text.hints import suggestion
from otelflow._importing import import_for_user
from otelflow.errors import TargetNotFound


class _Imports(process.State):
    """The names of the flows that the first import of each module declared: a second import declares nothing."""

    flows: dict[str, set[str]]

    def reset(self) -> None:
        """Have imported nothing."""
        self.flows = {}


_imports: Final = _Imports()


def flows_of(modules: Iterable[str]) -> tuple[Declared, ...]:
    """Import *modules* and return the flows that they and what they import declare, by name.

    Raises TargetNotFound or TargetNotImportable, which name the module and what is wrong with it.
    """
    flows: dict[str, Declared] = {}
    for module in modules:
        # By the object, not by the name: another module may have declared a flow of that name before.
        before = {id(flow): flow for flow in declared.declared_flows()}
        _import(module)
        now = declared.declared_flows()
        names = _imports.flows.setdefault(module, set())
        names.update(flow.name for flow in now if id(flow) not in before)
        flows |= {flow.name: flow for flow in now if flow.name in names or f"{flow.module}.".startswith(f"{module}.")}
    return tuple(flows[name] for name in sorted(flows))


def _import(name: str) -> None:
    if not name.strip(".") or name.startswith("."):
        raise TargetNotFound(f"{name!r} is no module: --from wants a name as in 'import package.module'")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; an installed command does not
    import_for_user(
        lambda: importlib.import_module(name),
        name,
        lambda: (
            f"There is no module {name!r}{_likely_name(name)}: --from wants a module as in 'import package.module', "
            f"importable from {Path.cwd()}"
        ),
    )


def _likely_name(name: str) -> str:
    """Return what may have been meant: a module in the place of a file, or one beside that is not there."""
    if name.endswith(".py"):
        return f"; did you mean {name.removesuffix('.py').strip('./').replace('/', '.')!r}?"
    import pkgutil  # noqa: PLC0415 only for mistakes

    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent)
    return suggestion(
        name, [f"{parent}.{module.name}" for module in pkgutil.iter_modules(getattr(package, "__path__", []))]
    )
