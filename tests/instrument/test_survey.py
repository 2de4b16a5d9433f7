"""What patterns mean in source that is not imported."""

import sys
import types
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import spec_from_file_location

import pytest

from otelflow.errors import ConfigurationError
from otelflow.instrument._plan import new_plan
from otelflow.instrument._survey import check, listener_faults, survey


def matches(**content):
    return [(match.functions, match.fault) for match in survey(new_plan(content, "here"))]


def test_functions_and_methods_are_found_and_nothing_is_imported(shop):
    found = matches(flows=["shop.jobs:nightly_*"], tasks=["shop.*:Client.*", "shop.billing:*"])

    assert found == [
        (("shop.jobs:nightly_bill", "shop.jobs:nightly_refund"), ""),
        (
            (
                "shop.billing:Client.charge",
                "shop.billing:Client.make",
                "shop.billing:Client.rate",
                "shop.billing:Client.refund",
            ),
            "",
        ),
        (("shop.billing:fail", "shop.billing:price", "shop.billing:stream", "shop.billing:total"), ""),
    ]
    assert "shop" not in sys.modules


def test_a_pattern_that_an_earlier_one_has_emptied_says_so(shop):
    found = matches(flows=["shop.jobs:*"], tasks=["shop.jobs:weekly"])

    assert found[1] == ((), "all that it names is named by patterns before it")


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("shpo.jobs:weekly", "there is no module 'shpo'; did you mean 'shop'?"),
        ("shop.job:weekly", "there is no module 'shop.job'; did you mean 'shop.jobs'?"),
        ("shop.jobs:wekly", "no function of shop.jobs is called 'wekly'; did you mean 'weekly'?"),
        ("shop.billing:Client.chrge", "no function of shop.billing is called 'Client.chrge'; did you mean"),
        ("shop.billing:xyz_*", "no function of shop.billing is called 'xyz_*'"),
        ("shop.billing:Client", "it is a class: name its methods, such as shop.billing:Client.*"),
        ("shop.billing:Client.Inner", "it is a class: name its methods, such as shop.billing:Client.Inner.*"),
        ("math:sqrt", "it is written in C, and cannot be wrapped: name the Python function that calls it"),
        ("_json:encode", "it is written in C, and cannot be wrapped: name the Python function that calls it"),
    ],
)
def test_a_misspelt_pattern_is_an_error_that_suggests_the_nearest_name(shop, pattern, fault):
    assert matches(flows=[pattern])[0][1].startswith(fault)
    with pytest.raises(ConfigurationError) as refused:
        check(new_plan({"flows": [pattern]}, "otelflow.toml"))
    assert str(refused.value).startswith(f"otelflow.toml: {pattern}: {fault}")
    assert str(refused.value).endswith("(strict = false starts without)")


def test_what_is_wrong_with_several_patterns_is_said_once():
    with pytest.raises(ConfigurationError) as refused:
        check(new_plan({"flows": ["qqqqq:work"], "tasks": ["qqqqq.jobs:*", "wwwww:work"]}, "here"))

    assert str(refused.value) == (
        "here: qqqqq:work, qqqqq.jobs:*: there is no module 'qqqqq'; wwwww:work: there is no module 'wwwww' "
        "(strict = false starts without)"
    )


def test_a_lenient_plan_starts_with_one_warning(shop, caplog):
    check(new_plan({"flows": ["shop.jobs:wekly", "shop.jobs:nightly_bill"], "strict": False}, "here"))

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "here: shop.jobs:wekly: no function of shop.jobs is called 'wekly'" in caplog.text


def test_what_only_an_import_can_tell_is_no_fault(shop):
    (shop / "shop" / "odd.py").write_text(
        "from shop.jobs import *\n"
        "try:\n    import fast\nexcept ImportError:\n    def slow(): pass\n"
        "if True:\n    def chosen(): pass\n"
        "made = max\n"
    )
    (shop / "shop" / "broken.py").write_text("def (")

    assert matches(tasks=["shop.odd:anything"])[0][1] == ""  # a star import may bring it
    assert matches(tasks=["shop.broken:anything"])[0][1] == ""
    assert matches(tasks=["math:*"])[0][1] == ""


def test_a_module_that_cannot_be_read_hides_no_other_and_has_not_what_it_is_asked_for(shop):
    (shop / "shop" / "a_broken.py").write_text("def (")
    (shop / "shop" / "a_star.py").write_text("from os.path import *\ndef weekly(): ...\n")

    assert matches(flows=["shop.*:weekly"]) == [(("shop.a_star:weekly", "shop.jobs:weekly"), "")]
    assert matches(flows=["shop.*:nightly_*"]) == [(("shop.jobs:nightly_bill", "shop.jobs:nightly_refund"), "")]
    assert matches(flows=["shop.a_star:xyz_*"])[0][1].startswith("no function of shop.a_star is called 'xyz_*'")


def test_functions_in_branches_and_names_that_may_be_functions_are_found(shop):
    (shop / "shop" / "odd.py").write_text(
        "try:\n    import fast\nexcept ImportError:\n    def slow(): pass\n"
        "if True:\n    def chosen(): pass\nelse:\n    def other(): pass\n"
        "made = max\n"
    )

    assert matches(tasks=["shop.odd:*"]) == [(("shop.odd:chosen", "shop.odd:other", "shop.odd:slow"), "")]
    assert matches(tasks=["shop.odd:made"]) == [(("shop.odd:made",), "")]


def test_what_of_a_lenient_plan_could_not_be_used_stands_in_the_same_warning(shop, caplog):
    check(new_plan({"flow": [], "flows": ["shop.jobs", "shop.jobs:wekly"], "strict": False}, "here"))

    (text,) = [record.getMessage() for record in caplog.records]
    assert text.startswith("here: has no key 'flow'; did you mean 'flows'?; flows: 'shop.jobs' is no pattern")
    assert "shop.jobs:wekly: no function of shop.jobs is called 'wekly'" in text


def test_the_program_itself_cannot_be_meant_and_is_said(shop):
    plan = new_plan({"flows": ["shop.jobs:weekly", "__main__:run"], "tasks": ["shop.*:fail"]}, "here")
    found = survey(plan, lambda name, file: name == "shop.jobs" and file.endswith("jobs.py"))

    assert found[0].fault.startswith("shop.jobs is the program that is run, which is not imported: move its functions")
    assert found[1].fault.startswith("__main__ is the program that is run")
    assert found[2].functions == ("shop.billing:fail",)


def test_of_many_modules_the_program_is_said_if_nothing_else_has_the_function(shop):
    plan = new_plan({"flows": ["shop.*:weekly", "shop.*:nobody"]}, "here")
    matches = survey(plan, lambda name, _file: name == "shop.jobs")

    assert matches[0].fault.startswith("shop.jobs is the program that is run, which is not imported")
    assert matches[1].fault.startswith("no function of shop.* is called 'nobody'")


def test_a_module_that_lies_beside_the_file_of_patterns_is_said_to_lie_there(tmp_path):
    (tmp_path / "elsewhere.py").touch()
    (match,) = survey(new_plan({"flows": ["elsewhere:work"]}, str(tmp_path / "otelflow.toml")))

    assert match.fault == (
        f"there is no module 'elsewhere'; it lies in {tmp_path}: start the program there, or set PYTHONPATH={tmp_path}"
    )


def test_no_short_module_is_taken_for_a_name_that_is_a_little_like_it(shop):
    assert matches(flows=["orders:work"])[0][1] == "there is no module 'orders'"


def test_a_listener_that_is_a_function_is_said(shop):
    plan = new_plan({"tasks": ["shop.billing:*"], "listeners": ["shop.jobs:weekly"]}, "here")

    with pytest.raises(ConfigurationError, match=r"shop\.jobs:weekly: it is a function: name a subclass of otelflow"):
        check(plan)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("", "nothing in shop.watch is called 'Watchr'; did you mean 'Watcher'?"),
        ("from shop.jobs import *\n", None),
        ("def __getattr__(name): ...\n", None),
        ("Watchr = Watcher()\n", None),
    ],
)
def test_a_listener_that_its_module_certainly_lacks_is_said(shop, more, fault):
    (shop / "shop" / "watch.py").write_text(f"class Watcher: ...\n{more}")
    plan = new_plan({"tasks": ["shop.billing:*"], "listeners": ["shop.watch:Watchr"]}, "here")

    assert listener_faults(plan).get("shop.watch:Watchr") == fault


def test_a_listener_whose_module_is_not_there_is_said(shop):
    plan = new_plan({"flows": ["shop.jobs:weekly"], "listeners": ["shpo.watch:Watcher"]}, "here")

    with pytest.raises(ConfigurationError, match=r"here: the listener shpo\.watch:Watcher: there is no module 'shpo"):
        check(plan)


def test_a_class_that_is_a_function_elsewhere_may_be_meant(shop):
    (shop / "shop" / "odd.py").write_text("try:\n    class made: pass\nexcept OSError:\n    def made(): pass\n")

    assert matches(tasks=["shop.odd:made"]) == [(("shop.odd:made",), "")]


PLACES = """
import functools
from math import floor
from dataclasses import dataclass, field
import enum
from ._fast import speed

TABLE = {"apple": 1}
double = lambda number: 2 * number

class Color(enum.Enum):
    RED = enum.auto()

@dataclass
class Order:
    fruit: str
    price: int = field(default=1)
    half = functools.partialmethod(print, 2)
    name = property(str)
    @functools.singledispatchmethod
    def add(self, item): return 1
    @property
    def total(self): return 1
    @functools.cached_property
    def slow(self): return 1
    def charge(self): return 1
    def __settle(self): return 1

def outer():
    if True:
        async def inner(): return 1
    return inner
"""


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("places:floor", "it is written in C"),
        ("places:TABLE", "it is no function but a dict: name a function or method"),
        ("places:Order.fruit", "it is no function but a field"),
        ("places:Order.total", "it is no function but a property"),
        ("places:Order.name", "it is no function but a property"),
        ("places:Order.price", "it is no function but a field"),
        ("places:Order.half", "it is no function but a descriptor"),
        ("places:Order.add", "it is no function but a descriptor"),
        ("places:Color.RED", "it is no function but a member of an Enum"),
        ("places:speed", "it is written in C"),
        ("places:outer.inner", "it is written inside of a function, which makes it anew in each call"),
    ],
)
def test_what_is_certainly_no_function_is_said_before_the_program_starts(tmp_path, monkeypatch, pattern, fault):
    (tmp_path / "places.py").write_text(PLACES)
    (tmp_path / f"_fast{EXTENSION_SUFFIXES[0]}").touch()
    monkeypatch.syspath_prepend(tmp_path)

    assert matches(flows=[pattern])[0][1].startswith(fault)


def test_what_is_imported_from_a_package_in_c_is_said_before_the_program_starts(shop):
    (shop / "shop" / f"_fast{EXTENSION_SUFFIXES[0]}").touch()
    (shop / "shop" / "odd.py").write_text("from shop._fast import speed\nfrom shop.jobs import weekly\n")

    assert matches(tasks=["shop.odd:speed"])[0][1].startswith("it is written in C")
    assert matches(tasks=["shop.odd:weekly"]) == [(("shop.odd:weekly",), "")]


def test_properties_are_not_named_by_a_star_and_lambdas_are(tmp_path, monkeypatch):
    (tmp_path / "places.py").write_text(PLACES)
    monkeypatch.syspath_prepend(tmp_path)

    assert matches(tasks=["places:*", "places:Order.*"]) == [
        (("places:double", "places:outer"), ""),
        (("places:Order.charge",), ""),
    ]


def test_a_listener_in_a_module_that_is_not_there_is_said(shop):
    plan = new_plan({"tasks": ["shop.billing:*"], "listeners": ["shop.wach:Watcher"]}, "here")
    with pytest.raises(ConfigurationError, match=r"the listener shop\.wach:Watcher: there is no module 'shop\.wach'"):
        check(plan)


def test_of_many_modules_those_that_have_something_else_of_that_name_do_not_count(shop):
    (shop / "shop" / "nothing.py").write_text("weekly = None\n")
    (shop / "shop" / "a_class.py").write_text("class weekly:\n    pass\n")

    assert matches(flows=["shop.*:weekly"]) == [(("shop.jobs:weekly",), "")]
    (shop / "shop" / "jobs.py").write_text("")
    assert matches(flows=["shop.*:weekly"])[0][1].startswith("it is a class: name its methods")


def test_a_package_that_only_a_finder_of_its_own_knows_is_there(shop, monkeypatch):
    (shop / "shop").rename(shop / "source")

    class Finder:  # as that of a package that is installed to be edited
        @staticmethod
        def find_spec(name, path=None, target=None):
            file = shop / "source" / "__init__.py"
            places = [str(file.parent)]
            return spec_from_file_location(name, file, submodule_search_locations=places) if name == "shop" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])

    assert matches(flows=["shop.jobs:weekly"]) == [(("shop.jobs:weekly",), "")]


def test_of_a_module_that_was_made_by_hand_only_it_knows(shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "by_hand", types.ModuleType("by_hand"))

    assert matches(flows=["by_hand:weekly"]) == [(("by_hand:weekly",), "")]
