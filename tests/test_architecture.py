"""The shape of the product: who may import whom, what is public, how big things are, and that importing does nothing.

``python tests/test_architecture.py`` writes public_api.txt anew, after a change of the public names that is meant.
"""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

import otelflow
import otelflow_exporters
from otelflow import semconv
from support.sources import changes_in, is_vague, locks_in, names_in

ROOT = Path(__file__).parent.parent
# Where they are imported from: the checkout, or the installed wheel
PACKAGES = (Path(otelflow.__file__).parent, Path(otelflow_exporters.__file__).parent)
SNAPSHOT = Path(__file__).parent / "public_api.txt"

# What the distribution opentelemetry-api holds
API = {"_logs", "attributes", "baggage", "context", "environment_variables", "metrics", "propagate", "propagators"}
API |= {"trace", "util", "version"}

# Who may import what of ours; the longest prefix that fits counts. Everything else of ours is refused.
LEAVES = ("otelflow.errors", "otelflow.semconv", "otelflow._core.text")
DOWN_TO_RUNS = ("otelflow._core.runs", "otelflow._core.process", "otelflow._version", *LEAVES)
RULES = {
    "otelflow": (
        "otelflow._core",
        "otelflow._version",
        "otelflow.errors",
        "otelflow._listeners",
        "otelflow._telemetry",
    ),
    "otelflow._version": (),
    "otelflow.errors": ("otelflow._core.text.hints", "otelflow._core.text.safe_str"),
    "otelflow.semconv": (),
    # The five floors of the core, and the side rooms of the third
    "otelflow._core.text": ("otelflow._core.text",),
    "otelflow._core.process": ("otelflow._core.process", "otelflow._version", *LEAVES),
    "otelflow._core.runs": DOWN_TO_RUNS,
    "otelflow._core.results": ("otelflow._core.results", "otelflow._core.process", *LEAVES),
    "otelflow._core.policies": ("otelflow._core.policies", "otelflow._core.results", *DOWN_TO_RUNS),
    "otelflow._core.inside": ("otelflow._core.inside", *DOWN_TO_RUNS),
    "otelflow._core.flows": (
        *(f"otelflow._core.{room}" for room in ("flows", "policies", "inside", "results")),
        *DOWN_TO_RUNS,
    ),
    "otelflow._core.flows.notebook": ("otelflow_exporters._tree.html", "otelflow._core.inside", *DOWN_TO_RUNS),
    "otelflow._listeners": ("otelflow._core.inside", "otelflow._listeners", *LEAVES),
    "otelflow.metrics": (
        "otelflow._core.flows.declared",
        "otelflow._core.flows.objective",
        "otelflow._core.inside.listeners",
        *DOWN_TO_RUNS,
        "otelflow._version",
        "otelflow.metrics",
        "otelflow_exporters._otlp.answer_times",
        "otelflow_exporters._otlp.proxies",
        "otelflow_exporters._otlp.endpoint",
        "otelflow_exporters._otlp.resource",
        "otelflow_exporters._spool",
        "otelflow_exporters._store.ownership",
    ),
    "otelflow._telemetry": ("otelflow._core", "otelflow._telemetry", "otelflow.metrics", "otelflow_exporters", *LEAVES),
    "otelflow.generate": (
        "otelflow._core.flows.declared",
        "otelflow._core.flows.objective",
        "otelflow._core.runs.endings",
        "otelflow._core.process.process",
        "otelflow._importing",
        "otelflow.generate",
        *LEAVES,
    ),
    "otelflow.instrument": (
        *(f"otelflow.{name}" for name in otelflow.__all__),
        "otelflow._core.process.forks",
        "otelflow._core.process.losses",
        "otelflow._core.process.once",
        "otelflow._core.process.process",
        "otelflow._core.process.provider",
        "otelflow._core.process.settings",
        "otelflow._core.process.shutdown",
        "otelflow._core.runs.observers",
        "otelflow._core.runs.run",
        "otelflow.instrument",
        "otelflow.metrics",
        "otelflow.settings",
        *LEAVES,
    ),
    "otelflow.serve": (
        *(f"otelflow.{name}" for name in otelflow.__all__),
        "otelflow._core.flows.future_owners",
        "otelflow._core.process.forks",
        "otelflow._core.process.shutdown",
        "otelflow._core.process.signals",
        "otelflow._core.process.tallies",
        "otelflow.serve",
        *LEAVES,
    ),
    "otelflow.runners": (
        "otelflow._core.flows",
        "otelflow._core.inside.messages",
        "otelflow._core.policies",
        *DOWN_TO_RUNS,
        "otelflow._telemetry.id_generator",
        "otelflow.runners",
    ),
    "otelflow.settings": ("otelflow._core.process",),
    "otelflow.results": ("otelflow._core.results", "otelflow._core.process", *LEAVES),
    "otelflow.cache_policies": ("otelflow._core.policies",),
    "otelflow.testing": ("otelflow._core", "otelflow._testing", *LEAVES),
    "otelflow._testing": ("otelflow._core", "otelflow.metrics", *LEAVES),
    "otelflow.pytest_plugin": ("otelflow.testing",),
    "otelflow_exporters": (
        "otelflow._core.process.clock",
        "otelflow._core.process.files",
        "otelflow._core.process.directories",
        "otelflow._core.process.entry_points",
        "otelflow._core.process.forks",
        "otelflow._core.process.instance",
        "otelflow._core.process.ledger",
        "otelflow._core.process.once",
        "otelflow._core.process.process",
        "otelflow._core.process.worker",
        "otelflow._core.process.shutdown",
        "otelflow._core.process.environment",
        "otelflow._version",
        "otelflow_exporters",
        *LEAVES,
    ),
    "otelflow._configurator": ("otelflow._core.process.losses",),
    "otelflow._importing": LEAVES,
    "otelflow.__main__": ("otelflow._cli",),
    "otelflow._cli": (
        *(f"otelflow.{name}" for name in ("__version__", *otelflow.__all__)),
        "otelflow._core.process.clock",
        "otelflow._core.process.project_files",
        "otelflow._core.process.shutdown",
        "otelflow._core.process.signals",
        "otelflow._core.runs.endings",
        "otelflow._core.runs.observers",
        "otelflow._core.runs.run",
        "otelflow.generate",
        "otelflow.instrument",
        "otelflow.metrics",
        "otelflow.results",
        "otelflow.serve",
        "otelflow.settings",
        "otelflow._cli",
        "otelflow._importing",
        "otelflow._telemetry",
        "otelflow_exporters",
        *LEAVES,
    ),
}
# These are written on what a user could import, and on themselves.
# What the core imports when it is asked for
OPTIONAL = {"otelflow._core.policies.validation": "pydantic"}
ON_PUBLIC_NAMES = ("otelflow.integrations", "otelflow.prefect", "examples")

# A module that is longer than a rule of thumb needs a reason.
LONG_MODULES = {
    "otelflow._core.flows.flow": 520,  # Flow is one class, and half of it are the examples of its methods
}


class Import(NamedTuple):
    module: str
    name: str
    is_late: bool
    is_for_types: bool
    line: int

    @property
    def full_name(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def sources(*folders):
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(name, path):
    """Return every import in a file: at the top, late in a function, or for type checkers only."""
    found = []

    def visit(node, *, is_late, is_for_types):
        if isinstance(node, ast.Import):
            found.extend(Import(one.name, "", is_late, is_for_types, node.lineno) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")[: -node.level or None] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.extend(Import(module, one.name, is_late, is_for_types, node.lineno) for one in node.names)
        is_late = is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        is_checked = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            visit(child, is_late=is_late, is_for_types=is_for_types or is_checked)

    visit(ast.parse(path.read_text()), is_late=False, is_for_types=False)
    return found


MODULES = dict(sources(*PACKAGES))
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
IMPORTS = {name: imports_of(name, path) for name, path in MODULES.items()}
EXAMPLES = dict(sources(ROOT / "examples"))

# Every path without an underscore is public for good.
PUBLIC_MODULES = tuple(name for name in MODULES if not any(part.startswith("_") for part in name.split(".")))


def place_of(module, line):
    path = MODULES[module]
    return f"{path.relative_to(next(package.parent for package in PACKAGES if package in path.parents))}:{line}"


def listed(reason, culprits):
    """Return a message that shows every culprit, however many there are."""
    return "\n".join([f"{len(culprits)}: {reason}", *culprits])


def is_within(name, prefix):
    return name == prefix or name.startswith(prefix + ".")


def is_ours(one):
    return one.module.split(".")[0] in ("otelflow", "otelflow_exporters")


def allowed_for(module):
    return RULES[max((prefix for prefix in RULES if is_within(module, prefix)), key=len)]


def is_allowed(name, allowed):
    if name == "otelflow":  # for its version; everything else there is the core's
        return "otelflow.__version__" in allowed
    return any(is_within(name, prefix) for prefix in allowed)


def test_features_know_the_core_and_not_each_other():
    wrong = [
        f"{module}:{one.line} imports {one.full_name}"
        for module, imports in IMPORTS.items()
        if not any(is_within(module, prefix) for prefix in ON_PUBLIC_NAMES)
        for one in imports
        if is_ours(one) and not is_allowed(one.full_name, allowed_for(module))
    ]

    assert wrong == []


def is_public(one, own):
    if own is not None and is_within(one.full_name, own):
        return True
    if one.module == "otelflow" and one.name:
        return one.name in {*otelflow.__all__, "__version__"} or one.full_name in PUBLIC_MODULES
    return not any(part.startswith("_") for part in one.full_name.split("."))


def test_command_line_integrations_and_examples_use_public_names_only():
    checked = {**IMPORTS, **{name: imports_of(name, path) for name, path in EXAMPLES.items()}}
    wrong = [
        f"{module}:{one.line} imports {one.full_name}"
        for module, imports in checked.items()
        for own in ON_PUBLIC_NAMES
        if is_within(module, own)
        for one in imports
        if is_ours(one) and not is_public(one, own)
    ]

    assert wrong == []


def test_the_core_imports_the_standard_library_and_the_opentelemetry_api():
    wrong = []
    for module, imports in IMPORTS.items():
        for one in imports if is_within(module, "otelflow._core") else ():
            top, _, rest = one.full_name.partition(".")
            is_api = top == "opentelemetry" and rest.split(".")[0] in API
            is_typing = one.is_for_types and top == "typing_extensions"  # which every type checker has
            is_optional = (one.is_late or one.is_for_types) and top == OPTIONAL.get(module)
            if not (is_ours(one) or is_api or is_typing or is_optional or top in sys.stdlib_module_names):
                wrong.append(f"{module}:{one.line} imports {one.full_name}")

    assert wrong == []


def test_listeners_import_the_sdk_and_nothing_heavier():
    tops = {
        one.module.split(".")[0]
        for module, imports in IMPORTS.items()
        if is_within(module, "otelflow._listeners")
        for one in imports
        if not one.is_late
    }

    assert tops <= {"otelflow", "opentelemetry", *sys.stdlib_module_names}


def test_no_import_goes_round_in_a_ring():
    """Imports in functions and for type checkers count, too: a module that needs another one knows it."""
    edges = {}
    for module, imports in IMPORTS.items():
        for one in imports:
            target = one.full_name if one.full_name in MODULES else one.module
            if is_ours(one) and target in MODULES and target != module:
                edges.setdefault((module, target), one)

    wrong = [
        f"{place_of(module, one.line)} imports {target}{' late' * one.is_late}{' for types' * one.is_for_types}"
        for (module, target), one in edges.items()
        if module in reached_from(target, edges)
    ]
    assert wrong == [], listed("these import each other", wrong)


def reached_from(module, edges):
    reached, waiting = {module}, [module]
    while waiting:
        importer = waiting.pop()
        targets = {target for start, target in edges if start == importer} - reached
        reached |= targets
        waiting += targets
    return reached


def test_a_module_starts_with_one_sentence_about_itself():
    wrong = []
    for module, path in MODULES.items():
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        if not first.endswith((".", ":")):
            wrong.append(module)

    assert wrong == []


def functions():
    """Yield every function of ours: its module and its node."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def test_functions_fit_on_a_screen_and_modules_in_a_sitting():
    long_functions = [
        f"{place_of(module, node.lineno)} {node.name}: {lines} lines"
        for module, node in functions()
        if (lines := node.end_lineno - node.lineno + 1) > 50
    ]
    long_modules = {
        module: lines
        for module, path in MODULES.items()
        if (lines := len(path.read_text().splitlines())) > LONG_MODULES.get(module, 400)
    }

    assert long_functions == [], listed("longer than 50 lines", long_functions)
    assert long_modules == {}


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_all_is_what_there_is(name):
    module = importlib.import_module(name)
    made_here = {
        target.id if isinstance(target, ast.Name) else target.name
        for node in TREES[name].body
        for target in (node.targets if isinstance(node, ast.Assign) else (getattr(node, "target", node),))
        if isinstance(target, ast.Name | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    public = {one for one in made_here if not one.startswith("_") and not isinstance(getattr(module, one), TypeVar)}
    names = names_of(module)

    assert len(names) == len(set(names))
    assert [one for one in names if getattr(module, one, None) is None] == []
    assert set(names) <= set(dir(module))
    assert public - set(names) == set(), "say it in __all__, or give it an underscore"


def names_of(module: Any) -> list[str]:
    """Return the public names of *module*: those of its ``__all__``, or each constant where there is nothing else."""
    if module is semconv:
        return [name for name in vars(module) if name.isupper()]
    assert hasattr(module, "__all__"), "which names are public?"
    return module.__all__


def test_the_package_shows_its_public_names_and_no_others():
    submodules = {one.name for one in pkgutil.iter_modules(otelflow.__path__)}
    # pytest leaves names that begin with "@" in the modules of a plugin.
    plain = {name for name in vars(otelflow) if not name.startswith(("_", "@"))} - submodules

    assert {name for name in dir(otelflow) if not name.startswith("__")} == set(otelflow.__all__)
    assert plain - {"TYPE_CHECKING", "Any", "Final"} <= set(otelflow.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = otelflow.nothing


def test_every_error_is_public():
    from otelflow import errors

    kinds = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert kinds <= set(errors.__all__)
    assert all(issubclass(getattr(errors, name), otelflow.OtelflowError) for name in kinds)


def test_the_types_are_shipped():
    assert [(package / "py.typed").is_file() for package in PACKAGES] == [True, True]


# What importing does


def run_python(code, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(package.parent) for package in PACKAGES),
        "OTELFLOW_VALUE_LIMT": "typo",
    }
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        for blocked in ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google", "grpc",
                        "asyncio", "prometheus_client", "rich", "typer", "requests", "tomllib", "pydantic"):
            if name == blocked or name.startswith(blocked + "."):
                raise ModuleNotFoundError(f"{name} is not here", name=name)

# What the installation's own start-up files have loaded does not count.
for name in [name for name in sys.modules if name.startswith(("opentelemetry", "asyncio", "google"))]:
    del sys.modules[name]
sys.meta_path.insert(0, Blocked())
"""


def test_an_import_and_a_run_load_nothing_that_only_few_programs_need(tmp_path):
    code = """
import sys
import otelflow

LATE = {"flows.notebook", "inside.events", "inside.listeners", "inside.artifacts", "policies.policy", "text.portable"}
LATE |= {"runs.propagation", "text.durations"}
LATE_TOO = LATE | {"process.project_files"}
at_import = sorted(name for name in LATE_TOO if "otelflow._core." + name in sys.modules)
otelflow.flow(lambda: print("runs"))().execute()
print(at_import, sorted(name for name in LATE if "otelflow._core." + name in sys.modules))
"""
    assert run_python(code, tmp_path) == "runs\n[] []\n"


def test_it_runs_with_the_opentelemetry_api_alone(tmp_path):
    code = """
import os
import otelflow
from otelflow import flow, task

os.environ.pop("OTELFLOW_VALUE_LIMT")

@task
def half(number):
    print("halving")
    return number / 2

@flow
def halves(number):
    return half(number)

run = halves(4).execute()
print(run.flow_return_value, run.status, run.captured_logs()[-2:])
assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "asyncio"))]
"""
    output = run_python(BLOCKED + code, tmp_path)

    assert output == "halving\n2.0 success ['Task return value: 2.0', 'Flow return value: 2.0']\n"


def test_importing_it_has_no_side_effect(tmp_path):
    code = """
import atexit, builtins, gc, logging, os, signal, sys, threading, warnings
import opentelemetry.context, opentelemetry.trace  # reads a variable of its own

opentelemetry.context.get_current()
seen = []

class Environment(type(os.environ)):
    def __getitem__(self, key):
        seen.append(("environment", key))
        return super().__getitem__(key)
    def __iter__(self):
        seen.append(("environment", "all"))
        return super().__iter__()

def state():
    return {
        "print": builtins.print, "threads": threading.active_count(), "exit": atexit._ncallbacks(),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook, sys.stdout, sys.stderr, sys.gettrace()),
        "signals": [signal.getsignal(one) for one in signal.valid_signals()],
        "root": (list(logging.getLogger().handlers), logging.getLogger().level),
        "handlers": list(logging.getLogger("otelflow").handlers), "filters": list(warnings.filters),
        "gc": list(gc.callbacks), "provider": opentelemetry.trace._TRACER_PROVIDER,
        "path": (list(sys.path), list(sys.meta_path)), "files": os.listdir("."),
    }

def hear(event, args):
    is_written = event == "open" and (args[1] or "r") not in ("r", "rb")
    if is_written or event.split(".")[0] in ("socket", "subprocess", "shutil"):
        seen.append((event, str(args)))

os.environ.__class__ = Environment
before = state()
sys.dont_write_bytecode = True
sys.addaudithook(hear)
import otelflow
after = state()
print(seen, [name for name in before if before[name] != after[name]])
"""
    assert run_python(code, tmp_path) == "[] []\n"


# What is public


def members(kind: type) -> list[str]:
    found = []
    own = {}
    for base in reversed(kind.__mro__):  # what a base of ours has that is not public itself is a member, too
        if base is kind or (base.__module__.startswith("otelflow._core.") and base.__name__ not in otelflow.__all__):
            own |= vars(base)
    for name, value in sorted(own.items()):
        if name.startswith("_") and name != "__init__":
            continue
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if inspect.isfunction(plain):
            found.append(f"  {name}{parameters(plain)}")
        elif isinstance(value, property):
            found.append(f"  {name} (property)")
        elif name != "__init__":
            found.append(f"  {name}")
    return found


def parameters(function: Any) -> str:
    """Return names, kinds and defaults; annotations are the type checkers' to watch, and are spelt by each Python."""
    signature = inspect.signature(function)
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def public_api() -> str:
    lines = []
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        lines.append(f"{module_name} (module)")
        for name in sorted(names_of(module)):
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, BaseException):
                lines.append(f"{module_name}.{name}({', '.join(base.__name__ for base in value.__bases__)})")
            elif inspect.isclass(value):
                bases = ", ".join(base.__name__ for base in value.__bases__)
                lines += [f"{module_name}.{name}({bases})", *members(value)]
            else:
                shown = parameters(value) if callable(value) else f" = {value!r}" if module is semconv else ""
                lines.append(f"{module_name}.{name}{shown}")
    return "\n".join(lines) + "\n"


def test_the_public_names_are_those_that_were_agreed():
    assert public_api() == SNAPSHOT.read_text(), f"if this is meant: python {Path(__file__).relative_to(ROOT)}"


def test_everything_public_is_there():
    names = {"Flow", "Task", "flow", "task", "Flow_Run__Config", "Flow_Run__Event", "Flow_Run__Event_Data"}
    names |= {"Flow_Run__Event_Type", "Flow_Events", "flow_events", "Listener", "INJECTED", "add_listener"}

    assert names <= set(otelflow.__all__)


# State and locks

FORKS = "otelflow._core.process.forks"
# What State and forks are made of
OF_STATE = ("otelflow._core.process.process", FORKS)
# A module, and why it makes a lock of its own
OWN_LOCKS = {
    "otelflow._core.process.signals": "it holds signals back while a fork is under way",
    "otelflow._core.flows.future_condition": "each future has one, as the standard library's own have",
    "otelflow._telemetry.span": "what the SDK's own spans are made of has one",
    "otelflow._telemetry.span_maker": "each span has one, as the SDK's own spans have",
}


def test_every_lock_is_one_that_a_forked_child_finds_free():
    wrong = [
        f"{place_of(module, line)} has {what}"
        for module, tree in TREES.items()
        if module != FORKS and module not in OWN_LOCKS
        for line, what in locks_in(tree)
    ]

    assert wrong == [], listed("take forks.new_lock() or forks.begin_anew()", wrong)
    assert [module for module in OWN_LOCKS if not locks_in(TREES[module])] == [], "no exception is needed any more"


THREADS = {"threading.Thread", "Thread", "threading.Timer", "Timer"}
# A module, and why it starts threads that are no Worker's
OWN_THREADS = {
    "otelflow._cli._live": "it draws while a flow runs",
    "otelflow._core.flows.future_runners": "its threads are those of the user's tasks",
    "otelflow._core.flows.future_session": "a task that another one waits for runs beside it",
    "otelflow._core.policies.resources": "it looks at the memory a hundred times a second while that is measured",
    "otelflow._core.process.signals": "it sends a signal again that came while a fork was under way",
    "otelflow._core.runs.own_loop": "the loop of an async flow that is executed where another loop runs",
    "otelflow._telemetry.batches": "a foreign exporter is asked with a time limit",
    "otelflow.instrument._servers": "a server's event loop goes on while it delivers",
    "otelflow.metrics._outputs.pull": "a server is ended with a time limit",
    "otelflow.runners._processes": "a pool of processes is ended beside the program",
    "otelflow.runners._reaching": "a library that connects waits for ever where nothing answers",
    "otelflow.runners._sender": "a cluster is asked what it has begun, for which who cancels does not wait",
    "otelflow.serve._job": "each run of a schedule has one, which can be told to end",
}


def test_what_works_in_the_background_is_a_worker():
    starts = [
        (module, f"{place_of(module, node.lineno)} {ast.unparse(node.func)}()")
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in THREADS
    ]

    modules = {module for module, _ in starts} - {"otelflow._core.process.worker"}
    wrong = [text for module, text in starts if module in modules - set(OWN_THREADS)]
    assert wrong == [], listed("take process.worker.Worker", wrong)
    assert modules == set(OWN_THREADS), "no exception is needed any more"


CLOCKS = {f"time.{name}" for name in ("monotonic", "perf_counter", "sleep", "time", "time_ns")} | {"datetime.now"}
# A module, and why it looks at a clock of Python's
OWN_CLOCKS = {
    "otelflow._cli.show": "it shows a person what is today",
    "otelflow.serve._job": "what is served is a program, and goes by the program's clocks",
    "otelflow.serve._server": "as above",
    "otelflow.serve._times": "as above",
}


def test_what_time_it_is_says_a_clock_that_no_program_can_stop():
    readings = [
        (module, f"{place_of(module, node.lineno)} {ast.unparse(node)}()")
        for module, tree in TREES.items()
        for node in (call.func for call in ast.walk(tree) if isinstance(call, ast.Call))
        if ast.unparse(node) in CLOCKS
    ]

    wrong = [text for module, text in readings if module not in OWN_CLOCKS]
    assert wrong == [], listed("take process.clock", wrong)
    assert {module for module, _ in readings} == set(OWN_CLOCKS), "no exception is needed any more"


# ``module.name``: why it may change though it is no piece of State
MUTABLE = {
    "otelflow._core.inside.listeners.flow_events": "OSBot's hub is the user's to append to",
    "otelflow._core.text.redaction._additions": "text imports nothing of ours; process.settings empties it",
}


def test_what_outlives_a_run_is_a_piece_of_state():
    """So that one call gives a test, and one gives a forked child, a process that knows nothing yet."""
    changes = [
        (f"{module}.{name}", f"{place_of(module, line)} {how}")
        for module, tree in TREES.items()
        if module not in OF_STATE
        for line, name, how in changes_in(tree)
    ]

    wrong = [text for name, text in changes if name not in MUTABLE]
    assert wrong == [], listed("make it a subclass of process.State", wrong)
    assert set(MUTABLE) - {name for name, _ in changes} == set(), "no exception is needed any more"


# Words


AGREED_NAMES = {
    ("otelflow._core.flows.objective", "other"),  # Python's own word in __eq__
    ("otelflow._core.flows.config", "other"),
    ("otelflow.testing", "one"),  # flow_trace.one("task divide") is public, and reads well
}


def test_a_name_is_a_noun_or_a_verb():
    wrong = [
        f"{place_of(module, line)} {name}"
        for module, tree in TREES.items()
        for line, name in names_in(tree)
        if is_vague(name) and (module, name) not in AGREED_NAMES
    ]

    assert wrong == [], listed("say what it is", wrong)


def test_few_functions_are_private_and_called_once():
    """Lines that are called once stay where they are, unless the name says more than they do."""
    references = {}
    for module, tree in TREES.items():
        uses = references[module] = Counter()
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute):
                uses[node.id if isinstance(node, ast.Name) else node.attr] += 1
    every = list(functions())
    once = [
        f"{place_of(module, node.lineno)} {node.name}"
        for module, node in every
        if node.name.startswith("_") and not node.name.startswith("__") and references[module][node.name] == 1
    ]

    share = len(once) / len(every)
    assert share <= 0.11, listed(f"{share:.1%} of all, at most 11 %", once)


if __name__ == "__main__":
    SNAPSHOT.write_text(public_api())


# What is looked at where it is used, each with the file that does so.
TESTED_ELSEWHERE = {
    # Declarations: types, words, patterns
    "otelflow/_core/flows/flow_types.py": "tests/typing/api.py",
    "otelflow/_core/flows/task_types.py": "tests/typing/api.py",
    "otelflow/_core/text/secret_notations.py": "tests/core/text/test_redaction.py",
    "otelflow/_core/text/secret_patterns.py": "tests/core/text/test_redaction.py",
    "otelflow/_core/text/secret_places.py": "tests/core/text/test_redaction.py",
    "otelflow/integrations/_types.py": "tests/integrations/test_wsgi.py",
    "otelflow/semconv.py": "tests/test_architecture.py",
    # Only there in another process, or around other code
    "otelflow/_cli/_jobs.py": "tests/cli/test_serve.py",
    "otelflow/_cli/_options.py": "tests/cli/test_help.py",
    "otelflow/runners/_dask.py": "tests/stack/examples/test_clusters.py",
    "otelflow/runners/_ray.py": "tests/stack/examples/test_clusters.py",
    "otelflow/runners/_sender.py": "tests/stack/examples/test_clusters.py",
}


def test_each_module_has_a_test_file_at_the_same_path():
    missing = set()
    for package, room in zip(PACKAGES, (Path(), Path("exporters")), strict=True):
        name = package.relative_to(ROOT) if package.is_relative_to(ROOT) else Path(package.name)
        for path in package.rglob("*.py"):
            *folders, module = (part.lstrip("_") for part in path.relative_to(package).with_suffix("").parts)
            is_program = module in ("init__", "main__", "version") or "samples" in folders
            if not is_program and not (ROOT / "tests" / room / Path(*folders) / f"test_{module}.py").exists():
                missing.add((name / path.relative_to(package)).as_posix())

    assert sorted(missing) == sorted(TESTED_ELSEWHERE)
    assert [place for place in TESTED_ELSEWHERE.values() if not (ROOT / place).exists()] == []
