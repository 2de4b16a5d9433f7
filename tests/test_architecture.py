"""The shape of the product: who may import whom, what is public, how big things are, and that importing does nothing.

``python tests/test_architecture.py`` writes public_api.txt anew, after a change of the public names that is meant.
"""

import ast
import importlib
import inspect
import os
import pkgutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import otelflow
import otelflow_exporters

ROOT = Path(__file__).parent.parent
# Where they are imported from: the checkout, or the installed wheel
PACKAGES = (Path(otelflow.__file__).parent, Path(otelflow_exporters.__file__).parent)
SNAPSHOT = Path(__file__).parent / "public_api.txt"

# What the distribution opentelemetry-api holds
API = {"_logs", "attributes", "baggage", "context", "environment_variables", "metrics", "propagate", "propagators"}
API |= {"trace", "util", "version"}

PUBLIC_MODULES = ("otelflow", "otelflow.errors", "otelflow.generate", "otelflow.settings", "otelflow.testing")

# Who may import what of ours; the longest prefix that fits counts. Everything else of ours is refused.
LEAVES = ("otelflow.errors", "otelflow.semconv", "otelflow._core.text")
RULES = {
    "otelflow": ("otelflow._core", "otelflow.errors", "otelflow.listeners", "otelflow._telemetry"),
    "otelflow.errors": ("otelflow._core.text.hints",),
    "otelflow.semconv": (),
    "otelflow._core.text": ("otelflow._core.text", "otelflow.errors", "otelflow._core.process.forks"),
    "otelflow._core.process": ("otelflow._core.process", *LEAVES),
    "otelflow._core.runs": ("otelflow._core.runs", "otelflow._core.process", *LEAVES),
    "otelflow._core.inside": ("otelflow._core.inside", "otelflow._core.runs", "otelflow._core.process", *LEAVES),
    "otelflow._core.flows": ("otelflow._core", *LEAVES),
    "otelflow.listeners": ("otelflow._core", "otelflow.listeners", *LEAVES),
    "otelflow.metrics": (
        "otelflow._core",
        "otelflow.metrics",
        "otelflow_exporters._otlp.endpoint",
        "otelflow.__version__",
        *LEAVES,
    ),
    "otelflow._telemetry": ("otelflow._core", "otelflow._telemetry", "otelflow.metrics", "otelflow_exporters", *LEAVES),
    "otelflow.generate": ("otelflow._core", "otelflow._importing", "otelflow.generate", *LEAVES),
    "otelflow.settings": ("otelflow._core",),
    "otelflow.testing": ("otelflow._core", *LEAVES),
    "otelflow.pytest_plugin": ("otelflow.testing",),
    "otelflow_exporters": (
        "otelflow._core.process.forks",
        "otelflow._core.process.worker",
        "otelflow._core.process.entry_points",
        "otelflow_exporters",
        *LEAVES,
    ),
    "otelflow._importing": ("otelflow._core.text.hints", "otelflow.errors"),
    "otelflow.__main__": ("otelflow._cli",),
    "otelflow._cli": (
        *(f"otelflow.{name}" for name in ("__version__", *otelflow.__all__)),
        "otelflow.generate",
        "otelflow.settings",
        "otelflow._cli",
        "otelflow._importing",
        "otelflow._telemetry",
        "otelflow_exporters",
        *LEAVES,
    ),
}
# These are written on what a user could import, and on themselves.
ON_PUBLIC_NAMES = ("otelflow.integrations", "otelflow.prefect", "examples")

# A module that is longer than a rule of thumb needs a reason.
LONG_MODULES = {"otelflow._core.flows.flow": 600}  # Flow is one class with the whole surface that OSBot-Utils has


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
IMPORTS = {name: imports_of(name, path) for name, path in MODULES.items()}
EXAMPLES = dict(sources(ROOT / "examples"))


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
            if not (is_ours(one) or is_api or top in sys.stdlib_module_names):
                wrong.append(f"{module}:{one.line} imports {one.full_name}")

    assert wrong == []


def test_listeners_import_the_sdk_and_nothing_heavier():
    tops = {
        one.module.split(".")[0]
        for module, imports in IMPORTS.items()
        if is_within(module, "otelflow.listeners")
        for one in imports
        if not one.is_late
    }

    assert tops <= {"otelflow", "opentelemetry", *sys.stdlib_module_names}


def test_no_import_goes_round_in_a_ring():
    graph = {}
    for module, imports in IMPORTS.items():
        at_top = [one for one in imports if is_ours(one) and not one.is_late and not one.is_for_types]
        names = {one.full_name if one.full_name in MODULES else one.module for one in at_top}
        graph[module] = {name for name in names if name in MODULES and name != module}

    while free := {module for module, needed in graph.items() if not needed & graph.keys()}:
        for module in free:
            del graph[module]
    assert graph == {}, "these import each other"


def test_a_module_starts_with_one_sentence_about_itself():
    wrong = []
    for module, path in MODULES.items():
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        if not first.endswith((".", ":")):
            wrong.append(module)

    assert wrong == []


def functions():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}.{node.name}", node.end_lineno - node.lineno + 1


def test_functions_fit_on_half_a_screen_and_modules_in_a_sitting():
    lengths = dict(functions())
    long_modules = {
        module: lines
        for module, path in MODULES.items()
        if (lines := len(path.read_text().splitlines())) > LONG_MODULES.get(module, 400)
    }

    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}
    assert statistics.quantiles(lengths.values(), n=10)[8] <= 30
    assert long_modules == {}


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_all_is_what_there_is(name):
    module = importlib.import_module(name)

    assert len(module.__all__) == len(set(module.__all__))
    for public in module.__all__:
        assert getattr(module, public) is not None
    assert set(module.__all__) <= set(dir(module))


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
    for name, value in sorted(vars(kind).items()):
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
        for name in sorted(module.__all__):
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, BaseException):
                lines.append(f"{module_name}.{name}({', '.join(base.__name__ for base in value.__bases__)})")
            elif inspect.isclass(value):
                bases = ", ".join(base.__name__ for base in value.__bases__)
                lines += [f"{module_name}.{name}({bases})", *members(value)]
            else:
                lines.append(f"{module_name}.{name}{parameters(value) if callable(value) else ''}")
    return "\n".join(lines) + "\n"


def test_the_public_names_are_those_that_were_agreed():
    assert public_api() == SNAPSHOT.read_text(), f"if this is meant: python {Path(__file__).relative_to(ROOT)}"


if __name__ == "__main__":
    SNAPSHOT.write_text(public_api())
