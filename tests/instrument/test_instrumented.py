"""``OtelflowInstrumentor``: functions that know nothing of otelflow become flows and tasks, and plain ones again."""

import asyncio
import importlib
import inspect
import pickle
import sys
import traceback

import pytest

from otelflow import flow, task
from otelflow.errors import ConfigurationError
from otelflow.instrument import OtelflowInstrumentor

EVERYTHING = {"flows": ["shop.jobs:nightly_*"], "tasks": ["shop.billing:Client.*", "shop.billing:*"]}


def jobs():
    return importlib.import_module("shop.jobs")


def billing():
    return importlib.import_module("shop.billing")


def names(trace):
    return [span.name for span in trace.spans]


def test_a_module_that_is_imported_later_is_one_trace_and_returns_what_it_did(shop, spans):
    OtelflowInstrumentor().instrument(**EVERYTHING)

    assert jobs().nightly_bill(3) == 6
    assert asyncio.run(jobs().nightly_refund()) == -3
    assert str(spans).splitlines() == [
        "flow nightly_bill · success",
        "├── task make · success",
        "├── task charge · success",
        "├── task charge · success",
        "├── task charge · success",
        "└── task total · success",
        "flow nightly_refund · success",
        "└── task refund · success",
    ]


def test_a_module_that_was_imported_before_is_wrapped_with_the_names_that_others_took(shop, spans):
    total = jobs().total

    OtelflowInstrumentor().instrument(**EVERYTHING)

    assert jobs().total is billing().total is not total
    assert jobs().nightly_bill(2) == 2
    assert "task total" in names(spans)


def test_uninstrument_puts_everything_back(shop, spans):
    before = {name: vars(billing().Client)[name] for name in ("charge", "rate", "make", "refund")}
    OtelflowInstrumentor().instrument(**EVERYTHING)

    OtelflowInstrumentor().uninstrument()

    assert {name: vars(billing().Client)[name] for name in before} == before
    assert jobs().total is billing().total
    assert (jobs().nightly_bill(3), names(spans), OtelflowInstrumentor().functions) == (6, [], [])
    del sys.modules["shop.jobs"]
    assert (jobs().nightly_bill(1), names(spans)) == (0, [])


def test_names_that_were_taken_after_instrumenting_are_put_back_too(shop):
    OtelflowInstrumentor().instrument(**EVERYTHING)
    wrapped = jobs().total

    OtelflowInstrumentor().uninstrument()

    assert jobs().total is billing().total is wrapped.__wrapped__


def test_what_somebody_has_replaced_since_is_left_alone(shop):
    OtelflowInstrumentor().instrument(**EVERYTHING)
    jobs().weekly = jobs().nightly_bill = replacement = lambda: None

    OtelflowInstrumentor().uninstrument()

    assert jobs().nightly_bill is replacement


def test_twice_is_once(shop, spans):
    OtelflowInstrumentor().instrument(**EVERYTHING)
    OtelflowInstrumentor().instrument(**EVERYTHING)
    jobs()
    OtelflowInstrumentor().instrument(**EVERYTHING)

    assert billing().Client().charge(1) == 2
    assert names(spans) == ["task charge"]


def test_what_is_a_flow_or_task_already_stays_as_it_was_written(shop, spans):
    billing().price = own = task(task_name="own name")(billing().price)
    jobs().weekly = flow(jobs().weekly)

    OtelflowInstrumentor().instrument(tasks=["shop.billing:price", "shop.jobs:weekly"])

    assert billing().price is own
    assert OtelflowInstrumentor().functions == []


def test_each_kind_of_function_stays_of_its_kind(shop, spans):
    OtelflowInstrumentor().instrument(tasks=["shop.billing:*", "shop.billing:Client.*"])
    module = billing()

    assert inspect.iscoroutinefunction(module.Client.refund)
    assert inspect.isgeneratorfunction(module.total)
    assert inspect.isasyncgenfunction(module.stream)
    assert list(module.total([1, 2])) == [1, 2]
    assert asyncio.run(collected(module.stream())) == [1, 2]
    assert (module.Client.rate(), module.Client().rate(), type(module.Client.make())) == (0.5, 0.5, module.Client)
    assert (module.price(3), module.price(3), module.price.cache_info().hits) == (3, 3, 1)
    assert str(inspect.signature(module.Client.charge)) == "(self, amount)"
    assert pickle.loads(pickle.dumps(module.total)) is module.total


async def collected(stream):
    return [each async for each in stream]


def test_each_kind_of_function_is_a_flow_that_runs_when_it_is_called(shop, spans):
    OtelflowInstrumentor().instrument(flows=["shop.billing:*", "shop.billing:Client.*"])
    module = billing()

    assert list(module.total([1, 2])) == [1, 2]
    assert asyncio.run(collected(module.stream())) == [1, 2]
    assert asyncio.run(module.Client().refund(2)) == -2
    assert module.Client.make().charge(2) == 4
    with pytest.raises(KeyError, match="no such customer"):
        module.fail()
    assert [(span.name, span.attributes["otelflow.run.result"]) for span in spans.spans] == [
        ("flow total", "success"),
        ("flow stream", "success"),
        ("flow refund", "success"),
        ("flow make", "success"),
        ("flow charge", "success"),
        ("flow fail", "failure"),
    ]


def test_an_exception_has_one_frame_of_ours_for_each_function(shop):
    OtelflowInstrumentor().instrument(flows=["shop.billing:fail"])

    with pytest.raises(KeyError) as raised:
        billing().fail()

    own = [frame for frame in traceback.extract_tb(raised.value.__traceback__) if "/otelflow/" in frame.filename]
    assert len(own) <= 2


def test_settings_that_keep_errors_inside_do_not_change_such_a_function(shop, spans, monkeypatch):
    monkeypatch.setenv("OTELFLOW_RAISE_FLOW_ERROR", "false")
    OtelflowInstrumentor().instrument(flows=["shop.billing:fail"])

    with pytest.raises(KeyError):
        billing().fail()


def test_a_flow_config_that_says_something_else_keeps_no_error_inside(shop, spans, monkeypatch):
    monkeypatch.setenv("OTELFLOW_RAISE_FLOW_ERROR", "false")
    entry = {"pattern": "shop.billing:fail", "flow_config": {"log_to_console": False}}
    OtelflowInstrumentor().instrument(flows=[entry])

    with pytest.raises(KeyError):
        billing().fail()


def test_only_what_a_module_has_written_is_meant_by_a_wildcard(shop):
    OtelflowInstrumentor().instrument(tasks=["shop.jobs:*"])
    jobs()

    assert OtelflowInstrumentor().functions == [
        "shop.jobs:nightly_bill",
        "shop.jobs:nightly_refund",
        "shop.jobs:weekly",
    ]


def test_the_first_pattern_that_names_a_function_wins(shop, spans):
    OtelflowInstrumentor().instrument(
        tasks=[{"pattern": "shop.jobs:weekly", "task_name": "chosen"}, {"pattern": "shop.jobs:*", "task_name": "rest"}]
    )

    jobs().weekly()

    assert names(spans) == ["task rest", "task chosen"] or names(spans) == ["task chosen", "task rest"]


def test_keywords_say_what_is_captured_and_how_it_is_called(shop, spans):
    OtelflowInstrumentor().instrument(
        flows=[{"pattern": "shop.jobs:nightly_bill", "flow_name": "billing", "capture_parameters": ["number"]}]
    )

    jobs().nightly_bill(2)

    assert spans.one("flow billing").attributes["otelflow.run.parameter.number"] == "2"


def test_an_entry_for_many_functions_names_each_by_a_piece_of_its_own(shop, spans):
    OtelflowInstrumentor().instrument(
        flows=[{"pattern": "shop.jobs:nightly_*", "flow_name": "{module}/{name}"}],
        tasks=[{"pattern": "shop.billing:Client.*", "task_name": "{qualname}"}],
    )

    jobs().nightly_bill(2)
    billing().Client().charge(2)

    assert {"flow shop.jobs/nightly_bill", "task Client.charge"} <= set(names(spans))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("shop.billing:Client", "is a class: name its methods, such as shop.billing:Client.*"),
        ("math:sqrt", "is written in C, and cannot be wrapped: name the Python function that calls it"),
        ("shop.billing:functools", "is no function but module: name a function or method"),
    ],
)
def test_what_is_no_python_function_is_an_error_at_once_with_nothing_changed(shop, pattern, message):
    charge = billing().Client.charge

    with pytest.raises(ConfigurationError) as refused:
        OtelflowInstrumentor().instrument(tasks=["shop.billing:Client.charge", pattern])

    assert str(refused.value).startswith("instrument(): " + pattern)
    assert message in str(refused.value)
    assert billing().Client.charge is charge
    assert OtelflowInstrumentor().functions == []


def test_a_lenient_instrumentor_wraps_the_rest_and_warns(shop, caplog):
    billing()
    OtelflowInstrumentor().instrument(tasks=["shop.billing:Client", "math:sqrt", "shop.billing:fail"], strict=False)

    assert OtelflowInstrumentor().functions == ["shop.billing:fail"]
    said = [record for record in caplog.records if "instrument()" in record.getMessage()]
    assert {record.levelname for record in said} == {"WARNING"}
    assert all(name in caplog.text for name in ("shop.billing:Client", "math:sqrt"))


def test_a_module_that_cannot_be_imported_fails_as_it_did(shop):
    (shop / "shop" / "broken.py").write_text("def charge():\n    pass\nraise RuntimeError('at import')\n")
    OtelflowInstrumentor().instrument(tasks=["shop.broken:charge"])

    with pytest.raises(RuntimeError, match="at import"):
        importlib.import_module("shop.broken")

    assert OtelflowInstrumentor().functions == []


def test_a_file_or_patterns_but_not_both(tmp_path):
    with pytest.raises(ConfigurationError, match="a file, or flows and tasks, not both"):
        OtelflowInstrumentor().instrument(tmp_path / "otelflow.toml", flows=["shop:run"])


@pytest.mark.parametrize(("name", "meant"), [("task", "tasks"), ("flow", "flows"), ("stict", "strict")])
def test_a_misspelt_keyword_is_an_error_and_what_opentelemetry_hands_over_is_none(shop, name, meant):
    instrumentor = OtelflowInstrumentor()
    of_opentelemetry = {"tracer_provider": None, "meter_provider": None, "skip_dep_check": True, "profiler": None}

    with pytest.raises(
        ConfigurationError, match=rf"^instrument\(\) has no keyword '{name}'; did you mean '{meant}'\?$"
    ):
        instrumentor.instrument(**{name: ["shop.billing:total"]})
    assert instrumentor.instrument(**of_opentelemetry) is instrumentor


@pytest.mark.parametrize(("options", "warnings"), [({}, 1), ({"skip_dep_check": True}, 0)])
def test_who_names_no_function_hears_of_it_unless_all_that_is_installed_is_asked(
    shop, monkeypatch, caplog, options, warnings
):
    monkeypatch.delenv("OTELFLOW_INSTRUMENT", raising=False)
    OtelflowInstrumentor().instrument(**options)

    assert [record.getMessage() for record in caplog.records].count(
        "OtelflowInstrumentor().instrument() names no function: give a file, flows=[...] or tasks=[...], "
        "or set OTELFLOW_INSTRUMENT; it has wrapped nothing"
    ) == warnings


def test_without_a_file_nothing_is_wrapped_and_calls_can_still_be_chained(shop, monkeypatch):
    monkeypatch.delenv("OTELFLOW_INSTRUMENT", raising=False)
    instrumentor = OtelflowInstrumentor()

    assert instrumentor.instrument() is instrumentor
    assert instrumentor.functions == []
    assert instrumentor.instrument(tasks=["shop.billing:total"]) is instrumentor


def test_lazy_proxies_and_objects_that_lie_are_not_asked(shop, spans):
    (shop / "shop" / "odd.py").write_text(
        "class Proxy:\n"
        "    @property\n"
        "    def __class__(self):\n"
        "        raise RuntimeError('made too early')\n"
        "    def __eq__(self, other):\n"
        "        raise RuntimeError('compared')\n"
        "    __hash__ = None\n\n"
        "proxy = Proxy()\n\n"
        "def work():\n    return 1\n"
    )
    OtelflowInstrumentor().instrument(tasks=["shop.odd:*"])

    assert importlib.import_module("shop.odd").work() == 1
    OtelflowInstrumentor().uninstrument()
    with pytest.raises(ConfigurationError, match=r"shop\.odd:proxy: it is no function but Proxy: name a function"):
        OtelflowInstrumentor().instrument(tasks=["shop.odd:proxy"])


def test_what_stands_in_the_place_of_a_module_is_left_alone(shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "shop.lazy", object())
    monkeypatch.setitem(sys.modules, "shop.none", None)

    assert OtelflowInstrumentor().instrument(tasks=["shop.*:work*", "shop.jobs:weekly"], strict=False).functions == []


def test_a_property_is_no_function(shop):
    (shop / "shop" / "odd.py").write_text("class Client:\n    @property\n    def name(self):\n        return 'n'\n")

    with pytest.raises(ConfigurationError, match="is no function but a property: name a function or method"):
        OtelflowInstrumentor().instrument(tasks=["shop.odd:Client.name"]) and importlib.import_module("shop.odd")


def test_a_module_that_is_loaded_again_is_wrapped_again(shop, spans):
    patterns = ["shop.billing:total", "shop.billing:fail", "shop.billing:Client.charge"]
    instrumentor = OtelflowInstrumentor().instrument(tasks=patterns)
    loader = billing().__spec__.loader
    importlib.reload(billing())
    list(billing().total([1]))

    assert instrumentor.functions == sorted(patterns)
    assert [type(billing().__loader__), type(billing().__spec__.loader)] == [type(loader)] * 2
    instrumentor.uninstrument()
    importlib.reload(billing())
    list(billing().total([1]))
    assert names(spans) == ["task total"]


def test_what_somebody_has_replaced_is_no_flow_any_more(shop):
    instrumentor = OtelflowInstrumentor().instrument(tasks=["shop.billing:total"])
    billing().total = len

    assert instrumentor.functions == []


def test_listeners_are_added_once_and_removed(shop):
    (shop / "watch.py").write_text(
        "from otelflow import Listener\n\nheard = []\n\n"
        "class Watcher(Listener):\n    def on_task_stop(self, event):\n"
        "        heard.append(event.event_data.task_name)\n"
    )
    (shop / "otelflow.toml").write_text('tasks = ["shop.*:fail", "shop.*:weekly"]\nlisteners = ["watch:Watcher"]\n')
    instrumentor = OtelflowInstrumentor().instrument(shop / "otelflow.toml")
    jobs()
    with pytest.raises(KeyError):
        billing().fail()
    watch = sys.modules.pop("watch")
    heard = list(watch.heard)
    fail = billing().fail
    instrumentor.uninstrument()
    with pytest.raises(KeyError):
        fail()

    assert watch.heard == heard == ["fail"]


def test_a_listener_whose_module_imports_what_is_instrumented_is_added_with_the_first_run(shop):
    (shop / "shop" / "watch.py").write_text(
        "from otelflow import Listener\n"
        "from shop.jobs import weekly\n\n"
        "heard = []\n\n"
        "class Watcher(Listener):\n"
        "    def on_task_stop(self, event):\n"
        "        heard.append(event.event_data.task_name)\n"
    )
    (shop / "otelflow.toml").write_text('tasks = ["shop.jobs:weekly"]\nlisteners = ["shop.watch:Watcher"]\n')
    instrumentor = OtelflowInstrumentor().instrument(shop / "otelflow.toml")
    watch = importlib.import_module("shop.watch")  # before anything else has imported what is wrapped

    watch.weekly()
    jobs().weekly()
    instrumentor.uninstrument()
    jobs().weekly()

    assert watch.heard == ["weekly", "weekly"]


def test_a_listener_that_cannot_be_used_is_named(shop):
    (shop / "watch.py").write_text("Watcher = 3\n")
    (shop / "otelflow.toml").write_text('tasks = ["shop.*:fail"]\nlisteners = ["watch:Watcher"]\n')
    OtelflowInstrumentor().instrument(shop / "otelflow.toml")

    with pytest.raises(ConfigurationError, match=r"otelflow\.toml: the listener watch:Watcher cannot be used: "):
        billing()
    sys.modules.pop("watch")


def test_a_function_of_one_of_many_modules_is_no_mistake_in_the_others(shop, spans):
    OtelflowInstrumentor().instrument(flows=["shop.*:weekly"], tasks=["shop.*:Client.charge"])
    jobs().weekly()

    assert names(spans) == ["flow weekly", "task charge"]


def test_something_else_of_that_name_in_one_of_many_modules_is_no_mistake(shop, spans):
    (shop / "shop" / "nothing.py").write_text("weekly = None\n")
    (shop / "shop" / "a_class.py").write_text("class weekly:\n    pass\n")
    OtelflowInstrumentor().instrument(flows=["shop.*:weekly"])
    for name in ("nothing", "a_class"):
        importlib.import_module(f"shop.{name}")
    jobs().weekly()

    assert names(spans) == ["flow weekly"]


def test_a_child_of_multiprocessing_learns_later_where_its_modules_lie(shop, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", "pass", "--multiprocessing-fork"])
    OtelflowInstrumentor().instrument(tasks=["not_yet:charge"])
    (shop / "not_yet.py").write_text("def charge():\n    pass\n")
    importlib.import_module("not_yet")
    del sys.modules["not_yet"]

    assert OtelflowInstrumentor().functions == ["not_yet:charge"]


FOREIGN = """
def book(seat, flow_data=None, task_data=(), this_flow=5, this_task="t"):
    return seat, flow_data, task_data, this_flow, this_task

double = lambda number: 2 * number

def deco(function):
    def inner(number): return function(number)
    return inner

@deco
def odd(number): return number
"""


@pytest.fixture
def foreign(shop):
    (shop / "foreign.py").write_text(FOREIGN)
    yield
    sys.modules.pop("foreign", None)


def test_nothing_is_injected_into_a_function_that_knows_nothing_of_flows(foreign, spans):
    OtelflowInstrumentor().instrument(tasks=["foreign:book"])

    assert importlib.import_module("foreign").book(1) == (1, None, (), 5, "t")


def test_a_function_is_called_as_the_name_where_it_stands(foreign, spans):
    OtelflowInstrumentor().instrument(tasks=["foreign:*"])
    module = importlib.import_module("foreign")

    assert (module.double(2), module.odd(3)) == (4, 3)
    assert names(spans) == ["task double", "task odd"]


def test_an_entry_may_ask_for_injection(foreign, spans):
    OtelflowInstrumentor().instrument(tasks=[{"pattern": "foreign:book", "inject": True}])

    assert importlib.import_module("foreign").book(1, this_flow=1)[1:3] == ({}, {})


@pytest.mark.parametrize("file", [{"flows": ["shop.jobs:weekly"]}, ["shop.jobs:weekly"], 3])
def test_patterns_in_the_place_of_a_file_are_refused_with_the_keywords(shop, file):
    with pytest.raises(
        ConfigurationError, match=r"takes the path of a file, not .*: patterns are flows=\[…\] and tasks"
    ):
        OtelflowInstrumentor().instrument(file)
