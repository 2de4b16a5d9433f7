"""What the source of a module tells: the locks it makes, what its functions change, the names it gives."""

import ast

# Locks

_PRIMITIVES = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "allocate_lock", "register_at_fork"}
_THEIR_MODULES = {"threading", "_thread", "os", "multiprocessing"}


def locks_in(tree):
    """Return (line, name) of each lock of ``threading`` and each fork hook; a type's name is none."""
    harmless = {node for part in ast.walk(tree) for node in _harmless_in(part)}
    uses = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _PRIMITIVES and node not in harmless:
            if ast.unparse(node.value) in _THEIR_MODULES:
                uses.append((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.ImportFrom) and node.module in _THEIR_MODULES and node not in harmless:
            uses += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names if alias.name in _PRIMITIVES]
    return uses


def _harmless_in(node):
    for field in ("annotation", "returns"):
        if isinstance(getattr(node, field, None), ast.AST):
            yield from ast.walk(getattr(node, field))
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        yield from ast.walk(node)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "threading.Condition" and node.args:
        yield node.func  # around a lock, which is looked at where it is made


# State

_CONTAINERS = {"dict", "list", "set", "deque", "Counter", "defaultdict", "OrderedDict"}
_CONTAINERS |= {"WeakSet", "WeakKeyDictionary", "WeakValueDictionary"}
_LITERALS = ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp
_CHANGES = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft"}
_CHANGES |= {"remove", "setdefault", "subtract", "update"}
# What a piece of state is made of; what is a thread's own is its thread's
_STATE = {"State", "local"}


def changes_in(tree):
    """Return (line, name, what is done) for each thing of a module that one of its functions changes.

    That is: a ``global`` name, a container, an attribute of a class or of its only instance (a drawer).
    """
    containers, drawers = _things_of(tree)
    changes = {}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
        own = _own_names(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                changes.update({(node.lineno, name): f"global {name}" for name in node.names})
            changed = _changed_by(node)
            name, dot, _ = changed.partition(".")
            if name in (drawers if dot else containers) - own:
                changes.setdefault((node.lineno, name), f"{function.name}() changes {changed}")
    return [(line, name, text) for (line, name), text in sorted(changes.items())]


def _things_of(tree):
    """Return the names of the containers of a module, and those of its classes and their instances."""
    kinds = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    drawers = {name for name in kinds if not _is_state(name, kinds)}
    containers = set()
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        call = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
        maker = call.split("[")[0].split(".")[-1]
        if maker in _CONTAINERS or isinstance(node.value, _LITERALS):
            containers |= names
        if maker in drawers:
            drawers |= names
    return containers, drawers


def _is_state(name, kinds):
    bases = {ast.unparse(base).split(".")[-1] for base in kinds[name].bases}
    return bool(bases & _STATE) or any(_is_state(base, kinds) for base in bases & kinds.keys() - {name})


def _own_names(function):
    """Return the parameters and variables of *function*, which may be called as things of the module are."""
    declared = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    variables = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and not _is_read(node)}
    return (variables - declared) | {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}


def _is_read(node):
    return isinstance(node.ctx, ast.Load)


def _changed_by(node):
    """Return what *node* changes: ``name[…] = …``, ``name.append(…)``, ``name.attribute = …``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
        return ast.unparse(node.func.value)
    if isinstance(node, ast.Subscript) and not _is_read(node):
        return ast.unparse(node.value)
    if isinstance(node, ast.Attribute) and not _is_read(node):
        return ast.unparse(node)
    return ""


# Names

# Pronouns and participles: the noun says more.
VAGUE = {"found", "known", "said", "given", "wanted", "one", "shown", "other", "made", "kept", "here", "there", "it"}
VAGUE |= {"what", "who", "whoever", "more", "each", "nobody", "somebody", "everyone", "something", "nothing"}
VAGUE |= {"anybody", "all_", "ours", "theirs", "mine", "asked", "used", "held", "meant"}


def is_vague(name):
    return name in VAGUE or name.strip("_") in VAGUE


def names_in(tree):
    """Yield (line, name) of every variable, attribute, parameter, function and class that is made."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
