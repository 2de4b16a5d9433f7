"""What stands in a file of Python: functions, classes and other names, found without importing it."""

import ast
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES, BuiltinImporter, PathFinder
from pathlib import Path
from typing import Final

from otelflow.instrument._mistakes import ABSTRACT, IS_CLASS, NO_FUNCTION, WRITTEN_IN_C
from otelflow.instrument._modules import spec_of, text_of

_NESTED: Final = "it is written inside of a function, which makes it anew in each call: name the function around it"
#: How the origin of a module ends whose functions cannot be wrapped
_OF_C: Final = ("built-in", *EXTENSION_SUFFIXES)


#: What is certainly no function, as it stands in a source
_LITERALS: Final[dict[type[ast.expr], str]] = {
    ast.Dict: "a dict",
    ast.List: "a list",
    ast.Set: "a set",
    ast.Tuple: "a tuple",
    ast.Constant: "a value",
    ast.JoinedStr: "a text",
}


#: What is no function, as it is called where it is made, or by the decorator that makes it
_MAKERS: Final = {
    **dict.fromkeys(("property", "cached_property", "setter", "deleter"), "a property"),
    **dict.fromkeys(("partialmethod", "singledispatchmethod"), "a descriptor"),
}
#: What is called in the body of a class
_CLASS_MAKERS: Final = {**_MAKERS, "field": "a field", "Field": "a field", "auto": "a member of an Enum"}


#: What makes a method of a class abstract: its decorator, or what the class is
_ABSTRACT_MARKS: Final = {"abstractmethod", "Protocol", "typing.Protocol", "typing_extensions.Protocol"}


def is_empty(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function has no body but a docstring, ``...``, ``pass``, ``raise NotImplementedError``."""
    return all(
        isinstance(node, ast.Pass | ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in function.body
    )


def _is_of_c(module: str, level: int, file: str) -> bool:
    """Tell whether what *file* imports from *module*, *level* packages up, is written in C."""
    if not level and "." not in module:
        spec = BuiltinImporter.find_spec(module) or PathFinder.find_spec(module)
        return spec is not None and (spec.origin or "").endswith(_OF_C)
    root, _, inner = module.partition(".")
    spec = None if level else spec_of(root)
    places = [*Path(file).parents[level - 1 : level]] if level else (spec and spec.submodule_search_locations) or []
    path = Path(*(module if level else inner).split("."))
    return any(Path(place, path.parent, path.name + end).is_file() for place in places for end in EXTENSION_SUFFIXES)


def _made_by(maker: ast.expr, makers: Mapping[str, str] = _MAKERS) -> str:
    """Return what *maker*, a decorator or what is called, makes that is certainly no function; or nothing."""
    if isinstance(maker, ast.Call):
        maker = maker.func
    return makers.get(_last_name(maker), "")


def _last_name(node: ast.expr) -> str:
    """Return the ``name`` of ``name`` and ``module.name``; nothing of anything else."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


class Source:
    """The names in a file of Python: its functions and methods, and *names* that may be functions, too."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.functions: set[str] = set()
        self.values: dict[str, str] = {}  # what certainly cannot be wrapped, and why
        self.names: set[str] = set()
        self.classes: set[str] = set()  # without what is a function, too
        self.bodies: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.bases: dict[str, list[str]] = {}  # of a class, as they are written
        self.origins: dict[str, tuple[int, str, str]] = {}  # packages up, module, and the name that was imported
        self.is_of_c = file.endswith(_OF_C)
        self.has_star_import = False  # which may bring any name
        self.is_readable = file.endswith(".py")
        if not self.is_readable:
            return
        try:
            tree = ast.parse(text_of(Path(file)))
        except (OSError, ValueError, SyntaxError, RecursionError, LookupError):  # its import says it better
            self.is_readable = False
            return
        self._add(tree.body, "")
        self.classes -= self.functions
        self.values = {name: kind for name, kind in self.values.items() if name not in self.functions | self.names}

    def lacks(self, name: str) -> bool:
        """Tell whether the module certainly has nothing of that *name* once it is imported."""
        may_have_any = not self.is_readable or self.has_star_import or "__getattr__" in self.functions
        return not may_have_any and name not in self.functions | self.names | self.classes | self.values.keys()

    def fault_of(self, name: str, pattern: str) -> str:
        """Return why what is called *name* here cannot be wrapped, as far as that is certain, or nothing."""
        if self.is_of_c:
            return WRITTEN_IN_C
        if name in self.classes:
            return IS_CLASS.format(pattern=pattern)
        outer, _, inner = name.rpartition(".")
        body = self.bodies.get(name)
        if body is not None and is_empty(body):
            marks = {*map(_last_name, body.decorator_list), *self.bases.get(outer, ())}
            if marks & _ABSTRACT_MARKS:
                return ABSTRACT.format(pattern=f"{pattern.partition(':')[0]}:*.{inner}")
        nodes = ast.walk(self.bodies[outer]) if outer in self.bodies else ()
        if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == inner for node in nodes):
            return _NESTED
        return self.values.get(name, "")

    def _add(self, body: list[ast.stmt], path: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name, decorator_list=makers) if kind := max(
                    map(_made_by, makers), default=""
                ):
                    self.values[path + name] = NO_FUNCTION.format(kind=kind)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    self.functions.add(path + name)
                    self.bodies[path + name] = node
                case ast.ClassDef(name=name):
                    self.names.add(path + name)
                    self.classes.add(path + name)
                    self.bases[path + name] = [ast.unparse(base).partition("[")[0] for base in node.bases]
                    self._add(node.body, f"{path}{name}.")
                case ast.Import() | ast.ImportFrom():
                    self._add_imports(node, path)
                case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                    self._add_values(node, path)
                case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While() | ast.TryStar():
                    for block in (node, *getattr(node, "handlers", [])):
                        for field in ("body", "orelse", "finalbody"):
                            self._add(getattr(block, field, []), path)

    def _add_imports(self, node: ast.Import | ast.ImportFrom, path: str) -> None:
        names = [path + (alias.asname or alias.name.partition(".")[0]) for alias in node.names]
        if isinstance(node, ast.ImportFrom) and _is_of_c(node.module or "", node.level, self.file):
            self.values.update(dict.fromkeys(names, WRITTEN_IN_C))
        else:
            self.names.update(names)
        self.has_star_import = self.has_star_import or any(alias.name == "*" for alias in node.names)
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                self.origins[path + (alias.asname or alias.name)] = node.level, node.module or "", alias.name
            elif alias.asname:
                self.origins[path + alias.asname] = 0, alias.name, ""

    def _add_values(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, path: str) -> None:
        targets = [path + name.id for name in ast.walk(node) if isinstance(name, ast.Name)]
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()):
                self.functions.add(path + name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if type(value) in _LITERALS:
                self.values[path + name] = NO_FUNCTION.format(kind=_LITERALS[type(value)])
            case ast.AnnAssign(target=ast.Name(id=name), value=None):
                self.values[path + name] = NO_FUNCTION.format(kind="a field")
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Call() as call)
            ) if kind := _made_by(call, _CLASS_MAKERS if path else _MAKERS):
                self.values[path + name] = NO_FUNCTION.format(kind=kind)
            case _:
                self.names.update(targets)
