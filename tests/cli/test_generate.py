"""What ``otelflow generate`` says; what it makes is looked at in ``tests/generate``."""

SHOP = """
from otelflow import Objective, flow
import stock

@flow(objective=Objective(success=0.9))
def sell(): ...
"""
STOCK = """
from otelflow import flow

@flow
def count(): ...
"""


def test_what_was_found_is_said_and_a_module_without_a_flow_is_named(otelflow, tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "stock.py").write_text(STOCK)

    done = otelflow(*("generate", "alerts", "--from", "shop", "--from", "stock", "--from", "os"), cwd=tmp_path)

    assert done.code == 0
    assert done.lines[0] == "otelflow: shop: 2 flows, 1 objective"
    assert done.lines[1].startswith("otelflow: stock: 1 flow, no objectives; @flow(objective=")
    assert done.lines[2].startswith("otelflow: os: no flows, no objectives; is it the module that declares them")


def test_flows_are_found_again_when_more_is_made_of_one_module(tmp_path, monkeypatch):
    from otelflow.generate._flows import flows_of

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "found_twice.py").write_text("import found_within\n")
    (tmp_path / "found_within.py").write_text("from otelflow import flow\n\n@flow\ndef inner_one(): ...\n")

    first, second = flows_of(["found_twice"]), flows_of(["found_twice"])

    assert [flow.name for flow in first] == ["inner_one"]
    assert second == first


def test_an_address_of_jaeger_that_is_none_is_refused(otelflow):
    done = otelflow("generate", "alerts", "--jaeger", "localhost:16686")

    assert (done.code, done.out) == (2, "")
    assert "'localhost:16686' is no address: give one such as http://127.0.0.1:16686" in done.err


def test_files_are_read_as_modules_are(otelflow, tmp_path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/shop.py").write_text(SHOP)
    (tmp_path / "flows/stock.py").write_text(STOCK)

    done = otelflow(*("generate", "alerts", "--from", "flows/shop.py", "--from", "flows/stock.py"), cwd=tmp_path)

    assert done.code == 0
    assert done.lines[0] == "otelflow: flows/shop.py: 2 flows, 1 objective"
    assert done.lines[1].startswith("otelflow: flows/stock.py: 1 flow, no objectives")
    assert "flow: sell" in done.out or 'flow="sell"' in done.out
