"""What may have been meant by a pattern that means nothing in the source that is there."""

from collections.abc import Iterator
from typing import Final

from otelflow._core.text.hints import question
from otelflow.instrument._modules import modules_of
from otelflow.instrument._plan import Rule
from otelflow.instrument._sources import Source

#: So many imports and base classes are followed to where a method was written
_MOST_STEPS: Final = 50


def guess(rule: Rule, modules: dict[str, str]) -> str:
    """Return the end of a sentence: what *rule*, which names nothing in *modules*, may have meant; or nothing."""
    own = {name: file for name, file in modules.items() if rule.is_of_module(name)}
    if not own:
        return pattern_of_class(rule, modules)
    if rule.is_exact and not rule.is_of_many_modules and (origin := origin_of(rule.modules, rule.names)):
        return f": name it where it is written, {origin}"
    inner = rule._replace(pattern=f"{rule.modules}.*:{rule.names}")
    functions = [] if rule.is_of_many_modules else list(_functions_of(inner, modules))
    if functions:
        return f"; did you mean {functions[0] if rule.is_exact and len(functions) == 1 else inner.pattern!r}?"
    return question(rule.names, {name for file in own.values() for name in Source(file).functions})


def pattern_of_class(rule: Rule, modules: dict[str, str]) -> str:
    """Return what *rule* may have meant whose module is not there: a class that was taken for one, or a nearer name."""
    module, _, inner = rule.modules.rpartition(".")
    while module and module not in modules:
        module, _, outer = module.rpartition(".")
        inner = f"{outer}.{inner}"
    of_class = rule._replace(pattern=f"{module}:{inner}.{rule.names}")
    if module and any(_functions_of(of_class, modules)):
        return f"; did you mean {of_class.pattern!r}?"
    return question(rule.modules, modules)


def _functions_of(rule: Rule, modules: dict[str, str]) -> Iterator[str]:
    for module, file in modules.items():
        if rule.is_of_module(module):
            yield from (f"{module}:{name}" for name in sorted(Source(file).functions) if rule.is_of_function(name))


def origin_of(module: str, name: str) -> str:
    """Return as ``module:name`` where the method *name* was written, which a class of *module* only has; or nothing.

    The class was imported there, or has it from a class that it is made of.
    """
    waiting, done = [(module, name)], set[tuple[str, str]]()
    while waiting and len(done) < _MOST_STEPS:
        module, name = step = waiting.pop(0)
        modules = modules_of(module.partition(".")[0]) or {}
        if step in done or module not in modules:
            continue
        done.add(step)
        source = Source(modules[module])
        if name in source.functions:
            return f"{module}:{name}"
        first, _, rest = name.partition(".")
        if f"{module}.{first}" in modules:
            waiting.append((f"{module}.{first}", rest))
        if first in source.origins:
            level, origin, original = source.origins[first]
            package = module.split(".")[: -level + modules[module].endswith("__init__.py") or None] if level else []
            waiting.append((".".join(filter(None, [*package, origin])), ".".join(filter(None, [original, rest]))))
        holder, _, method = name.rpartition(".")
        waiting += [(module, f"{base}.{method}") for base in source.bases.get(holder, ())]
    return ""
