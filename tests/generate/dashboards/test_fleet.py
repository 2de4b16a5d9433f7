"""The dashboard of the fleet shows what flows promise."""

from otelflow.generate import generate_dashboards

PROMISED = """\
| Flow | Succeeds | Takes at most | Succeeds every |
|---|---|---|---|
| Weekly | - | - | 7d |
| loose | 50% | - | - |
| month "end" {{x}} a&#124;b | - | 2s 500ms | 30d |
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
