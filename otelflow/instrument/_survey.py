"""What the source of a program has that patterns could mean, found without importing it."""

import ast
import itertools
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.machinery import EXTENSION_SUFFIXES, BuiltinImporter, ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Final, NamedTuple

from otelflow._core.process import losses
from otelflow._core.text.hints import question
from otelflow.errors import ConfigurationError
from otelflow.instrument._mistakes import IS_CLASS, LENIENT, NO_FUNCTION, WRITTEN_IN_C
from otelflow.instrument._plan import Plan, Rule

_MOST_MODULES: Final = 5_000
_OF_PROGRAM: Final = (
    "{name} is the program that is run, which is not imported: move its functions into a module that it imports"
)
_NESTED: Final = "it is written inside of a function, which makes it anew in each call: name the function around it"
#: How the origin of a module ends whose functions cannot be wrapped
_OF_C: Final = ("built-in", *EXTENSION_SUFFIXES)


class Match(NamedTuple):
    """What one rule means: functions as ``module:name``, or the *fault* that says why there is none."""

    rule: Rule
    functions: tuple[str, ...]
    fault: str = ""


#: Tells whether a module, by its name and file, is the program that runs, which is not imported
IsProgram = Callable[[str, str], bool]


def survey(plan: Plan, is_program: IsProgram = lambda _name, _file: False) -> list[Match]:
    """Return what each rule of *plan* means in the source that could be imported now; the first rule that fits wins."""
    earlier_names: set[str] = set()
    matches = []
    for rule in plan.rules:
        match = match_of(rule, is_program)
        names = tuple(name for name in match.functions if name not in earlier_names)
        earlier_names.update(names)
        if match.functions and not names:
            match = match._replace(fault="all that it names is named by patterns before it")
        matches.append(match._replace(functions=names))
    return matches


def check(plan: Plan, is_program: IsProgram = lambda _name, _file: False) -> Plan:
    """Raise ConfigurationError, or warn, of every pattern that means nothing in the source that is there.

    Returns the plan, which knows of what it was warned.
    """
    wrong = [match for match in survey(plan, is_program) if match.fault]
    faults = [*plan.faults, *(f"{match.rule.pattern}: {match.fault}" for match in wrong)]
    faults += [f"the listener {name}: {fault}" for name, fault in listener_faults(plan).items()]
    if not faults:
        return plan
    message = f"{plan.place}: " + "; ".join(faults)
    if plan.is_strict:
        raise ConfigurationError(f"{message} {LENIENT}")
    losses.warn_once(f"instrument {message}", "%s", message, kind=f"instrument {plan.place}")
    return plan._replace(told=frozenset(match.rule.pattern for match in wrong))


def listener_faults(plan: Plan) -> dict[str, str]:
    """Return why listeners of *plan* cannot be imported, by their names, as far as that is certain."""
    faults = {}
    for name in plan.listeners:
        module = name.partition(":")[0]
        root = module.partition(".")[0]
        spec = None if root in sys.modules else _spec_of(root)
        modules = {} if spec is None else dict(_modules(root, spec.origin, list(spec.submodule_search_locations or ())))
        if root not in sys.modules and module not in modules:
            faults[name] = f"there is no module {module!r}{question(module, modules)}"
    return faults


def match_of(rule: Rule, is_program: IsProgram) -> Match:
    root = rule.modules.partition(".")[0]
    if root == "__main__":
        return Match(rule, (), _OF_PROGRAM.format(name=root))
    loaded = sys.modules.get(root)
    spec = _spec_of(root) if loaded is None else getattr(loaded, "__spec__", None)
    if spec is None and loaded is not None:  # somebody has made it by hand
        return Match(rule, (rule.pattern,))
    if spec is None:
        names = {module.name for module in pkgutil.iter_modules()}
        return Match(rule, (), f"there is no module {root!r}{question(root, names)}")
    modules = dict(_modules(root, spec.origin, list(spec.submodule_search_locations or ())))
    matches = {name: file for name, file in modules.items() if rule.is_of_module(name)}
    if not matches:
        return Match(rule, (), f"there is no module {rule.modules!r}{question(rule.modules, modules)}")
    imported = {name: file for name, file in matches.items() if not is_program(name, file)}
    if not imported:
        return Match(rule, (), _OF_PROGRAM.format(name=rule.modules))
    return _match_among(rule, imported)


def _match_among(rule: Rule, modules: dict[str, str]) -> Match:
    """Return what *rule* means in *modules*, each of which has its file."""
    functions, names, faults = [], set(), []
    for module, file in modules.items():
        source = _Source(file)
        if rule.is_exact and (fault := source.fault_of(rule.names, rule.pattern)):
            faults.append(fault)  # of many modules, another may have a function of that name
            continue
        if not source.is_readable:
            return Match(rule, (f"{module}:{rule.names}",))  # only its import tells
        others = source.functions | (source.names if rule.is_exact else set())
        functions += [f"{module}:{name}" for name in sorted(others) if rule.is_of_function(name)]
        names |= source.functions
    if not functions:
        if faults:
            return Match(rule, (), faults[0])
        return Match(rule, (), f"no function of {rule.modules} is called {rule.names!r}{question(rule.names, names)}")
    return Match(rule, tuple(functions))


def _spec_of(root: str) -> ModuleSpec | None:
    """Return where the module *root* lies, which has no package around it; a package that is edited has a finder."""
    finders: list[Any] = [PathFinder, BuiltinImporter, *sys.meta_path]
    specs = (finder.find_spec(root, None) for finder in finders if hasattr(finder, "find_spec"))
    return next(filter(None, specs), None)


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


def _is_of_c(module: str, level: int, file: str) -> bool:
    """Tell whether what *file* imports from *module*, *level* packages up, is written in C."""
    if not level and "." not in module:
        spec = BuiltinImporter.find_spec(module) or PathFinder.find_spec(module)
        return spec is not None and (spec.origin or "").endswith(_OF_C)
    root, _, inner = module.partition(".")
    spec = None if level else _spec_of(root)
    places = [*Path(file).parents[level - 1 : level]] if level else (spec and spec.submodule_search_locations) or []
    path = Path(*(module if level else inner).split("."))
    return any(Path(place, path.parent, path.name + end).is_file() for place in places for end in EXTENSION_SUFFIXES)


def _made_by(maker: ast.expr, makers: Mapping[str, str] = _MAKERS) -> str:
    """Return what *maker*, a decorator or what is called, makes that is certainly no function; or nothing."""
    if isinstance(maker, ast.Call):
        maker = maker.func
    return makers.get(maker.attr if isinstance(maker, ast.Attribute) else getattr(maker, "id", ""), "")


def _modules(root: str, origin: str | None, folders: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the module *root* and those inside of it, each with its file."""
    yield root, origin or ""
    for folder in map(Path, folders):
        for file in itertools.islice(sorted(_files_in(folder)), _MOST_MODULES):
            parts = [root, *file.relative_to(folder).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            if all(part.isidentifier() for part in parts):
                yield ".".join(parts), str(file)


def _files_in(folder: Path) -> Iterable[Path]:
    """Return the files of Python in *folder*, which may lie in an archive (a zipapp, say), or be one."""
    archive = _archive_of(folder / "file")
    if archive is None:
        return folder.rglob("*.py")
    import zipfile  # noqa: PLC0415 some milliseconds for each child of a program

    with zipfile.ZipFile(archive) as content:
        files = [archive / name for name in content.namelist() if name.endswith(".py")]
    return [file for file in files if file.is_relative_to(folder)]


def _text_of(file: Path) -> bytes:
    """Return what stands in *file*. Raises OSError, or LookupError for one that an archive does not have."""
    archive = _archive_of(file)
    if archive is None:
        return file.read_bytes()
    import zipfile  # noqa: PLC0415 as above

    with zipfile.ZipFile(archive) as content:
        return content.read(file.relative_to(archive).as_posix())


def _archive_of(path: Path) -> Path | None:
    return next((parent for parent in path.parents if parent.is_file()), None)


class _Source:
    """The names in a file of Python: its functions and methods, and *names* that may be functions, too."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.functions: set[str] = set()
        self.values: dict[str, str] = {}  # what certainly cannot be wrapped, and why
        self.names: set[str] = set()
        self.classes: set[str] = set()  # without what is a function, too
        self.bodies: dict[str, ast.stmt] = {}
        self.is_of_c = file.endswith(_OF_C)
        self.is_readable = file.endswith(".py")
        if not self.is_readable:
            return
        try:
            tree = ast.parse(_text_of(Path(file)))
        except (OSError, ValueError, SyntaxError, RecursionError, LookupError):  # its import says it better
            self.is_readable = False
            return
        self._add(tree.body, "")
        self.classes -= self.functions
        self.values = {name: kind for name, kind in self.values.items() if name not in self.functions | self.names}

    def fault_of(self, name: str, pattern: str) -> str:
        """Return why what is called *name* here cannot be wrapped, as far as that is certain, or nothing."""
        if self.is_of_c:
            return WRITTEN_IN_C
        if name in self.classes:
            return IS_CLASS.format(pattern=pattern)
        outer, _, inner = name.rpartition(".")
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
        self.is_readable = self.is_readable and all(alias.name != "*" for alias in node.names)

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
