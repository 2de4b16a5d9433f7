"""Be told of modules when they have been imported, by the patterns of a plan."""

import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from typing import Any, Final

from otelflow.errors import MissingExtra

try:
    import wrapt
except ModuleNotFoundError:  # an application that leaves out the extra meets this once, when it instruments
    raise MissingExtra("instrument") from None


class _ReloadingLoader(Loader):
    """Loads a module as *loader* does, which is its loader afterwards, and tells of it."""

    def __init__(self, loader: Loader, on_import: Callable[[types.ModuleType], object]) -> None:
        self.loader: Final = loader
        self.on_import: Final = on_import

    def exec_module(self, module: types.ModuleType) -> None:
        """Load *module* again."""
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.on_import(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class ImportHook:
    """Calls *on_import* with each module that *is_wanted* and is imported from now on, once, before it is used.

    wrapt's hooks are for whole names; this one asks wrapt for one when a module that is wanted is looked for, and is
    the hook itself when such a module is loaded again by ``importlib.reload()``.
    """

    def __init__(self, is_wanted: Callable[[str], bool], on_import: Callable[[types.ModuleType], object]) -> None:
        self.is_wanted: Final = is_wanted
        self.on_import: Final = on_import
        self.is_active = True
        self._asked_for: Final = set[str]()
        # wrapt puts its finder before all others when it is first used: ours must come before that one.
        wrapt.register_post_import_hook(self._imported, __name__)
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Tell of no more modules."""
        self.is_active = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing, but ask wrapt to tell of the module *name* if it is wanted; find one that is loaded again."""
        if target is not None:
            return self._find_again(name, path, target) if self.is_active and self.is_wanted(name) else None
        if self.is_active and name not in self._asked_for and name not in sys.modules and self.is_wanted(name):
            self._asked_for.add(name)
            wrapt.register_post_import_hook(self._imported, name)
        return None

    def _find_again(self, name: str, path: Sequence[str] | None, target: types.ModuleType) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find_spec(name, path, target) if find_spec and finder is not self else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _ReloadingLoader(spec.loader, self._imported)
                return spec
        return None

    def _imported(self, module: types.ModuleType) -> None:
        if self.is_active and module.__name__ != __name__:
            self._asked_for.discard(module.__name__)  # it may be removed and imported anew
            self.on_import(module)
