"""Flows are found by the module that declares them; a module that cannot be imported is one error."""

import importlib
import sys

import pytest

from otelflow.errors import ConfigurationError, TargetNotFound, TargetNotImportable
from otelflow.generate import generate_alerts
from otelflow.generate._flows import flows_of


@pytest.mark.parametrize(
    ("module", "error", "complaint"),
    [
        ("no_such_flows", TargetNotFound, "There is no module 'no_such_flows'"),
        ("shop_flows.orders", TargetNotFound, "There is no module 'shop_flows.orders'"),
        ("shop_flow.py", TargetNotFound, "The file shop_flow.py does not exist; did you mean 'shop_flows.py'?"),
        ("./", TargetNotFound, ". is a folder: name a file in it, such as broken_flows.py"),
        ("shop_flows.py:nightly", TargetNotFound, "is one flow: --from wants what declares it, shop_flows.py"),
        ("shop_flows:nightly", TargetNotFound, "is one flow: --from wants what declares it, shop_flows"),
        ("", TargetNotFound, "is no module"),
        ("..", TargetNotFound, "is no module"),
        ("broken_flows", TargetNotImportable, "No module named 'no_such_package_anywhere'"),
        ("raising_flows", TargetNotImportable, "ZeroDivisionError"),
        ("leaving_flows", TargetNotImportable, "SystemExit"),
    ],
)
def test_a_module_that_does_not_import_is_one_error_that_names_it(shop, module, error, complaint):
    with pytest.raises(error) as raised:
        generate_alerts([module])

    assert complaint in str(raised.value)


@pytest.mark.parametrize("place", ["shop_flows.py", "./shop_flows.py", "{folder}/shop_flows.py"])
def test_a_path_works_where_a_module_works(shop, tmp_path, place):
    path = place.format(folder=tmp_path)

    first, second = generate_alerts([path]), generate_alerts(path)

    assert first == second == generate_alerts([shop])
    assert "orders" in first


@pytest.fixture
def forgotten():
    """Modules with these names are forgotten, as those of `shop` are."""
    names = []
    yield names
    for name in names:
        sys.modules.pop(name, None)


def test_flows_of_what_a_module_imports_are_its_own_each_time(shop, tmp_path, forgotten):
    forgotten += ["wrapping_flows"]
    (tmp_path / "wrapping_flows.py").write_text("import shop_flows")
    importlib.invalidate_caches()

    names = [[flow.name for flow in flows_of(["wrapping_flows"])] for _ in range(2)]

    assert names == [["Weekly", "loose", 'month "end" {{x}} a|b', "nightly", "orders"]] * 2
    assert [flow.name for flow in flows_of([shop, "wrapping_flows"])] == names[0]


def test_a_flow_whose_name_another_module_has_used_before_is_found_all_the_same(shop, tmp_path, forgotten):
    forgotten += ["earlier_flows", "later_flows"]
    source = "from otelflow import flow\n@flow\ndef same(): pass\n"
    (tmp_path / "earlier_flows.py").write_text(source)
    (tmp_path / "later_flows.py").write_text(f"import earlier_flows\n{source}")
    importlib.invalidate_caches()
    importlib.import_module("earlier_flows")

    assert [(flow.name, flow.module) for flow in flows_of(["later_flows"])] == [("same", "later_flows")]


def test_a_module_in_the_working_folder_is_found_before_others(tmp_path, monkeypatch, forgotten):
    forgotten += ["beside_flows"]
    for folder, name in (("here", "mine"), ("elsewhere", "theirs")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "beside_flows.py").write_text(f"from otelflow import flow\n@flow\ndef {name}(): pass\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "elsewhere"), *sys.path])
    monkeypatch.chdir(tmp_path / "here")
    importlib.invalidate_caches()

    flows = flows_of(["beside_flows"])

    assert [flow.name for flow in flows] == ["mine"]


def test_a_misspelt_module_of_a_package_is_told_its_name(tmp_path, monkeypatch, forgotten):
    forgotten += ["some_package"]
    (tmp_path / "some_package").mkdir()
    for name in ("__init__", "orders", "returns"):
        (tmp_path / "some_package" / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()

    with pytest.raises(TargetNotFound, match=r"did you mean 'some_package\.orders'\?"):
        flows_of(["some_package.order"])


@pytest.mark.parametrize("name", ["shop/deep/flows.py", "flows.py"])
def test_a_file_that_is_not_there_is_named(name):
    with pytest.raises(TargetNotFound, match=f"The file {name} does not exist"):
        flows_of([name])


DATED = """
from otelflow import Objective, flow

@flow(flow_name="migrate-2024-06-01", objective=Objective(every="1h"))
def first():
    pass

@flow(flow_name="migrate-2024-06-02", objective=Objective(every=EVERY))
def second():
    pass

@flow(flow_name="x" * 130, objective=Objective(duration="5m"))
def long():
    pass
"""


def test_a_flow_is_called_what_metrics_call_it(tmp_path):
    (tmp_path / "dated_flows.py").write_text(DATED.replace("EVERY", "'1h'"))
    rules = generate_alerts([str(tmp_path / "dated_flows.py")])

    assert "2024-06" not in rules
    assert 'flow="migrate-{id}"' in rules
    assert f'flow="{"x" * 120}…"' in rules
    assert "x" * 121 not in rules


def test_flows_that_are_counted_as_one_and_promise_different_things_are_one_error(tmp_path):
    (tmp_path / "different_flows.py").write_text(DATED.replace("EVERY", "'2h'"))

    with pytest.raises(ConfigurationError) as raised:
        generate_alerts([str(tmp_path / "different_flows.py")])

    assert "'migrate-2024-06-01' and 'migrate-2024-06-02' are counted as one, 'migrate-{id}'" in str(raised.value)
