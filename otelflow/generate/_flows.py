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
from otelflow._core.text.labels import label
from otelflow._importing import import_for_user, is_file, load_file
from otelflow.errors import ConfigurationError, TargetNotFound


class _Imports(process.State):
    """The names of the flows that the first import of each module declared: a second import declares nothing."""

    flows: dict[str, set[str]]
    #: The modules of files, by their paths
    modules: dict[str, str]

    def reset(self) -> None:
        """Have imported nothing."""
        self.flows = {}
        self.modules = {}


_imports: Final = _Imports()


def flows_of(modules: Iterable[str]) -> tuple[Declared, ...]:
    """Import *modules*, names or paths of files, and return the flows that they and what they import declare, by name.

    Each has the name under which metrics count it. Raises TargetNotFound or TargetNotImportable, which name the module
    and what is wrong with it, and ConfigurationError where flows that are counted as one promise different things.
    """
    flows: dict[str, Declared] = {}
    for place in [modules] if isinstance(modules, str) else modules:
        # By the object, not by the name: another module may have declared a flow of that name before.
        before = {id(flow): flow for flow in declared.declared_flows()}
        module = _imports.modules.get(place) or _import(place)
        now = declared.declared_flows()
        names = _imports.flows.setdefault(place, set())
        names.update(flow.name for flow in now if id(flow) not in before)
        flows |= {flow.name: flow for flow in now if flow.name in names or f"{flow.module}.".startswith(f"{module}.")}
    return _as_counted(flows[name] for name in sorted(flows))


def _as_counted(flows: Iterable[Declared]) -> tuple[Declared, ...]:
    counted: dict[str, Declared] = {}
    for flow in flows:
        name = label(flow.name)
        first = counted.setdefault(name, flow)
        if first.objective != flow.objective:
            raise ConfigurationError(
                f"The flows {first.name!r} and {flow.name!r} are counted as one, {name!r}, and promise different "
                "things: give each a name without ids and dates, of at most 120 characters, or the same objective"
            )
    return tuple(
        flow if flow.name == name else Declared(name, flow.module, flow.buckets, flow.objective, flow.description)
        for name, flow in sorted(counted.items())
    )


def _import(place: str) -> str:
    """Import *place*, and return the name of its module."""
    head, colon, flow = place.rpartition(":")
    if colon and flow.isidentifier():
        raise TargetNotFound(f"{place!r} is one flow: --from wants what declares it, {head}")
    if is_file(place):
        # It is executed each time, unlike a module; once is enough.
        _imports.modules[place] = load_file(Path(place)).__name__
        return _imports.modules[place]
    if not place.strip(".") or place.startswith("."):
        raise TargetNotFound(f"{place!r} is no module: --from wants path/to/file.py, or package.module")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does; an installed command does not
    import_for_user(
        lambda: importlib.import_module(place),
        place,
        lambda: (
            f"There is no module {place!r}{_likely_name(place)}: --from wants path/to/file.py, or a module as in "
            f"'import package.module', importable from {Path.cwd()}"
        ),
    )
    return place


def _likely_name(name: str) -> str:
    """Return what may have been meant: a module beside that is not there."""
    import pkgutil  # noqa: PLC0415 only for mistakes

    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent)
    return suggestion(
        name, [f"{parent}.{module.name}" for module in pkgutil.iter_modules(getattr(package, "__path__", []))]
    )
