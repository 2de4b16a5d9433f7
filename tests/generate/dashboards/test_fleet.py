"""The dashboard of the fleet shows what flows promise."""

import pytest

from otelflow import Objective
from otelflow._core.flows.declared import Declared
from otelflow.generate import generate_dashboards
from otelflow.generate._dashboards import fleet

PROMISED = """\
| Flow | Succeeds | Takes at most | Succeeds every |
|---|---|---|---|
| Weekly | - | - | 7d |
| loose | 50% | - | - |
| month &#34;end&#34; &#123;&#123;x&#125;&#125; a&#124;b | - | 2s 500ms | 30d |
| orders | 99.5% | 1m 30s | 1h 30m |"""


def test_the_fleet_shows_what_is_promised_below_the_table_and_above_the_rest(shop):
    fleet = generate_dashboards([shop])["otelflow-fleet.json"]
    without = generate_dashboards()["otelflow-fleet.json"]

    (place,) = [place for place, panel in enumerate(fleet["panels"]) if panel["type"] == "text"]
    panel = fleet["panels"].pop(place)
    assert panel["options"] == {"mode": "markdown", "content": PROMISED}
    assert (panel["id"], panel["gridPos"]) == (place + 1, {"x": 0, "y": 15, "w": 24, "h": 6})
    for shown, usual in zip(fleet["panels"][place:], without["panels"][place:], strict=True):
        assert shown.pop("id") == usual.pop("id") + 1
        assert shown["gridPos"].pop("y") == usual["gridPos"].pop("y") + 6
    assert fleet == without


def test_a_fleet_that_promises_nothing_has_no_table_of_promises():
    assert not any(panel["type"] == "text" for panel in generate_dashboards()["otelflow-fleet.json"]["panels"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("load_daily v1.2 (EU)", "load_daily v1.2 &#40;EU&#41;"),
        ("<lambda>", "&#60;lambda&#62;"),
        ("__init__", "&#95;&#95;init&#95;&#95;"),
        ("$job [[job]] ${job}", "&#36;job &#91;&#91;job&#93;&#93; &#36;&#123;job&#125;"),
        ("two\nlines | **bold**", "two&#10;lines &#124; &#42;&#42;bold&#42;&#42;"),
        ("Müller-流れ", "Müller-流れ"),
    ],
)
def test_the_name_of_a_flow_is_shown_as_it_is(name, shown):
    board = fleet((Declared(name, "shop", objective=Objective(every="1d")),), "prometheus")

    (text,) = [panel["options"]["content"] for panel in board.panels if panel["type"] == "text"]
    assert text.splitlines()[2:] == [f"| {shown} | - | - | 1d |"]
