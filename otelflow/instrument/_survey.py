"""What the source of a program has that patterns could mean, found without importing it."""

import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from otelflow._core.process import losses
from otelflow._core.text.hints import nearest, question
from otelflow.errors import ConfigurationError
from otelflow.instrument._guesses import guess
from otelflow.instrument._mistakes import LENIENT
from otelflow.instrument._modules import modules_of
from otelflow.instrument._plan import Plan, Rule
from otelflow.instrument._sources import Source

_OF_PROGRAM: Final = (
    "{name} is the program that is run, which is not imported: move its functions into a module that it imports"
)


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
        match = match_of(rule, is_program, plan.place)
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
    patterns: dict[str, list[str]] = {}  # by their fault: of a module that is not there, many may speak
    for match in wrong:
        patterns.setdefault(match.fault, []).append(match.rule.pattern)
    faults = [*plan.faults, *(f"{', '.join(names)}: {fault}" for fault, names in patterns.items())]
    faults += [f"the listener {name}: {fault}" for name, fault in listener_faults(plan).items()]
    if not faults:
        return plan
    message = f"{plan.place}: " + "; ".join(faults)
    if plan.is_strict:
        raise ConfigurationError(f"{message} {LENIENT}")
    losses.warn_once(f"instrument {message}", "%s", message, kind=f"instrument {plan.place}")
    return plan._replace(told=frozenset(match.rule.pattern for match in wrong))


def listener_faults(plan: Plan) -> dict[str, str]:
    """Return why listeners of *plan* cannot be used, by their names, as far as that is certain without an import."""
    faults = {}
    for name in plan.listeners:
        module, _, path = name.partition(":")
        root = module.partition(".")[0]
        if root in sys.modules:
            continue
        modules = modules_of(root) or {}
        if module not in modules:
            faults[name] = f"there is no module {module!r}{question(module, modules)}"
            continue
        source = Source(modules[module])
        if path in source.functions:
            faults[name] = "it is a function: name a subclass of otelflow.Listener, or an object of one"
        elif source.lacks(path.partition(".")[0]):
            faults[name] = f"nothing in {module} is called {path!r}{question(path, source.classes | source.names)}"
    return faults


def match_of(rule: Rule, is_program: IsProgram, place: str = "") -> Match:
    """Return what *rule*, which was written in the file *place*, means in the modules that are there."""
    root = rule.modules.partition(".")[0]
    if root == "__main__":
        return Match(rule, (), _OF_PROGRAM.format(name=root))
    modules = modules_of(root)
    if modules is None and root in sys.modules:  # somebody has made it by hand
        return Match(rule, (rule.pattern,))
    if modules is None:
        return Match(rule, (), f"there is no module {root!r}{_where_it_is(root, Path(place).parent)}")
    matches = {name: file for name, file in modules.items() if rule.is_of_module(name)}
    if not matches:
        return Match(rule, (), f"there is no module {rule.modules!r}{guess(rule, modules)}")
    programs = {name: file for name, file in matches.items() if is_program(name, file)}
    match = _match_among(rule, {name: file for name, file in matches.items() if name not in programs}, modules)
    if programs and match.fault and (len(programs) == len(matches) or _match_among(rule, programs, modules).functions):
        return Match(rule, (), _OF_PROGRAM.format(name=" or ".join(programs)))
    return match


def _where_it_is(root: str, folder: Path) -> str:
    """Return the end of a sentence for a module that is not there: it lies beside the file, or is called otherwise."""
    if folder.is_absolute() and ((folder / root).is_dir() or (folder / f"{root}.py").is_file()):
        return f"; it lies in {folder}: start the program there, or set PYTHONPATH={folder}"
    # There are many, and short ones: one of them is a little like any name.
    similar = nearest(root, {module.name for module in pkgutil.iter_modules()}, alike=0.75)
    return f"; did you mean {similar!r}?" if similar else ""


def _match_among(rule: Rule, modules: dict[str, str], others: dict[str, str]) -> Match:
    """Return what *rule* means in *modules*, each of which has its file; *others* are all that are there."""
    functions, untold, faults = [], [], []
    for module, file in modules.items():
        source = Source(file)
        if rule.is_exact and (fault := source.fault_of(rule.names, rule.pattern)):
            faults.append(fault)  # of many modules, another may have a function of that name
            continue
        if not source.is_readable or (rule.is_exact and source.has_star_import):
            untold.append(f"{module}:{rule.names}")  # only its import tells
        names = source.functions | (source.names if rule.is_exact else set())
        functions += [f"{module}:{name}" for name in sorted(names) if rule.is_of_function(name)]
    if functions or untold:
        return Match(rule, tuple(functions or untold))
    fault = f"no function of {rule.modules} is called {rule.names!r}"
    return Match(rule, (), faults[0] if faults else fault + guess(rule, others))
