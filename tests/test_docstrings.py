"""The documentation of public names: what ``help()`` shows, and an example each that is run here."""

import doctest
import functools
import importlib
import inspect
import pydoc
import sys
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

import otelflow
import otelflow_exporters
from otelflow._core.flows.flow_attributes import state_value
from otelflow._core.flows.keywords import PolicyOptions
from otelflow.errors import OtelflowError
from otelflow_exporters import StoreSpanExporter

# What it is, and why it has no example of its own
WITHOUT_EXAMPLE = {
    "otelflow.pytest_plugin.*": "pytest gives them to tests; those of otelflow.testing have one",
    "otelflow_exporters.StoredTrace": "made by StoredTraces.load, which has one",
    "otelflow_exporters.Forgotten": "made by StoredTraces.forget, which has one",
    "otelflow_exporters.TraceSummary": "made by StoredTraces.summaries, which has one",
}
# Modules whose examples need a package that may be missing
NEEDED = {
    f"otelflow.integrations.{name}": name for name in ("apscheduler", "celery", "flask", "grpc", "rq", "starlette")
}
# Methods that the engine, the SDK or the metrics call, and users at most override
CALLED_BY_OTHERS = {
    "Artifact": ("take", "attributes", "payload"),
    "CachePolicy": ("check", "key"),
    "Flow": ("send", "throw", "close"),
    "FlowJobMixin": ("create", "perform", "to_dict"),
    "FlowMiddleware": ("route", "error", "process_exception"),
    "Flow_Events": ("notify", "wants", "on__*"),
    "DaskTaskRunner": ("new_runner",),
    "InlineTaskRunner": ("new_runner",),
    "Listener": ("notify", "wants", "on_*", "force_flush"),
    "ProcessPoolTaskRunner": ("new_runner",),
    "Result": ("attributes", "payload"),
    "RayTaskRunner": ("new_runner",),
    "ThreadPoolTaskRunner": ("new_runner",),
    "Trace": ("on_start", "on_end"),
    "StoreSpanExporter": ("force_flush", "shutdown"),
    "TreeSpanExporter": ("force_flush", "shutdown"),
}
TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736


def public_modules():
    roots = {otelflow: Path(otelflow.__file__).parent, otelflow_exporters: Path(otelflow_exporters.__file__).parent}
    for package, folder in roots.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if not any(part.startswith("_") for part in parts if part != "__init__"):
                yield importlib.import_module(".".join([package.__name__, *(p for p in parts if p != "__init__")]))


def public_names():
    """Return every public function, class and object with a documentation of its own, by its shortest name."""
    names = {"otelflow.INJECTED": otelflow.INJECTED}
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            target = getattr(module, name)
            if (inspect.isroutine(target) or inspect.isclass(target)) and target not in names.values():
                names[f"{module.__name__}.{name}"] = target
    return names


NAMES = public_names()


def examples():
    """Return what is to be run, by name: the examples of each public name, and those of each public method."""
    for name, target in NAMES.items():
        for test in doctest.DocTestFinder(recurse=inspect.isclass(target)).find(target, name):
            is_public = not any(part.startswith("_") for part in test.name.removeprefix(name).split("."))
            if test.examples and is_public:
                yield test.name, test


EXAMPLES = dict(examples())


def methods_of(kind):
    """Return the public methods of *kind* that are ours, by name."""
    return {
        name: method
        for name, method in inspect.getmembers(kind, inspect.isroutine)
        if not isinstance(method, state_value | functools.cached_property)
        and not name.startswith("_")
        and (getattr(method, "__module__", None) or "").startswith("otelflow")
    }


@pytest.fixture
def stored_trace(tmp_path, monkeypatch):
    """A store with one trace, where the examples look for it."""
    monkeypatch.setenv("OTELFLOW_STORE", str(tmp_path / "traces"))

    class Ids(RandomIdGenerator):
        def generate_trace_id(self):
            return TRACE_ID

    provider = TracerProvider(id_generator=Ids(), resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(StoreSpanExporter()))
    span = provider.get_tracer("otelflow").start_span("flow nightly", attributes={"otelflow.run.result": "success"})
    span.end(span.start_time + 1_250_000_000)
    provider.shutdown()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A package with a flow, which the examples name."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/flows.py").write_text("from otelflow import flow\n\n\n@flow\ndef sell(): ...\n")
    for module in ("shop.flows", "shop"):  # of a test before, perhaps
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)  # last: what Python has seen in a folder it remembers for a moment
    yield
    for module in ("shop.flows", "shop"):
        sys.modules.pop(module, None)


class Application:
    """What an example mounts something in."""

    def mount(self, path, application):
        assert callable(application)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_a_public_name_does_what_it_says(name, tmp_path, monkeypatch, stored_trace, shop):
    if name.rpartition(".")[0] in NEEDED:
        pytest.importorskip(NEEDED[name.rpartition(".")[0]], reason="not installed: pip install 'otelflow[frameworks]'")
    monkeypatch.chdir(tmp_path)
    names = {"otelflow": otelflow, "my_provider": TracerProvider(), "app": Application()}
    for package in (otelflow, otelflow_exporters):
        names |= {public: getattr(package, public) for public in package.__all__}
    names |= {"TracesData": TracesData, "timedelta": timedelta}
    outputs = []

    EXAMPLES[name].globs = names
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(EXAMPLES[name], out=outputs.append)

    assert not outputs, "".join(outputs)


def test_every_public_name_has_an_example():
    wrong = [
        name
        for name, target in NAMES.items()
        if not (inspect.isclass(target) and issubclass(target, OtelflowError) and target is not OtelflowError)
        and not any(fnmatch(name, pattern) for pattern in WITHOUT_EXAMPLE)
        and name not in EXAMPLES
    ]

    assert wrong == []
    assert [pattern for pattern in WITHOUT_EXAMPLE if not any(fnmatch(name, pattern) for name in NAMES)] == []


def test_every_public_method_has_an_example_or_stands_in_that_of_its_class():
    wrong = [
        f"{name}.{method_name}"
        for name, target in NAMES.items()
        if inspect.isclass(target) and not any(fnmatch(name, pattern) for pattern in WITHOUT_EXAMPLE)
        for method_name, method in methods_of(target).items()
        if not any(fnmatch(method_name, pattern) for pattern in CALLED_BY_OTHERS.get(target.__name__, ()))
        and ">>>" not in (inspect.getdoc(method) or "")
        and f"{method_name}(" not in (inspect.getdoc(target) or "").partition(">>>")[2]
    ]

    assert wrong == []


def test_every_public_name_and_method_says_what_it_is():
    wrong = [
        name for name, target in NAMES.items() if not (target.__doc__ or "").partition("\n")[0].endswith((".", ":"))
    ]
    wrong += [
        f"{name}.{method_name}"
        for name, target in NAMES.items()
        if inspect.isclass(target)
        for method_name, method in methods_of(target).items()
        if not (method.__doc__ or "").partition("\n")[0].endswith((".", ":"))
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("decorator", "keywords"),
    [
        (
            otelflow.flow,
            (
                "capture_parameters capture_return_value "
                "flow_name flow_id flow_config objective buckets data flow_run_name inject task_runner execute_on_call"
            ),
        ),
        (
            otelflow.task,
            (
                "capture_parameters capture_return_value task_name task_id task_run_name inject "
                "cache_policy cache_key_fn cache_expiration refresh_cache raise_on_error"
            ),
        ),
    ],
)
def test_help_shows_the_keywords_of_a_decorator_with_their_defaults(decorator, keywords):
    text = pydoc.plain(pydoc.render_doc(decorator))

    parameters = inspect.signature(decorator).parameters
    policies = list(PolicyOptions.__annotations__)
    assert [name for name in parameters if name not in policies] == ["target", *keywords.split()]
    assert [name for name in parameters if name in policies] == policies
    assert all(parameter.kind is parameter.KEYWORD_ONLY for name, parameter in parameters.items() if name != "target")
    assert all(f"{name}: " in text for name in (*keywords.split(), *policies))
    assert "capture_return_value: bool = False" in text
    assert all(f"*{name}*" in inspect.getdoc(decorator) for name in (*keywords.split(), *policies))
