"""One dashboard: where its panels are placed, and that Grafana knows what they are."""

import json

import pytest

from otelflow.generate import generate_dashboards
from otelflow.generate._dashboards.dashboard import Dashboard


def test_every_column_of_a_table_has_a_name_a_unit_and_a_place():
    tables = [
        panel for board in generate_dashboards().values() for panel in board["panels"] if panel["type"] == "table"
    ]

    assert tables
    for table in tables:
        fields = ["job", "flow", *(f"Value #{target['refId']}" for target in table["targets"])]
        settings = {
            override["matcher"]["options"]: {item["id"]: item["value"] for item in override["properties"]}
            for override in table["fieldConfig"]["overrides"]
        }
        names = [settings[field]["displayName"] for field in fields]
        assert len(set(names)) == len(names)
        assert not [name for name in names if not name or name.lower().startswith("value")]
        assert all(settings[field]["unit"] in ("short", "s", "percentunit", "string") for field in fields)
        (organize,) = [step["options"] for step in table["transformations"] if step["id"] == "organize"]
        assert list(organize["renameByName"].items()) == list(zip(fields, names, strict=True))[2:]
        places = organize["indexByName"]
        assert sorted(places, key=places.get) == fields
        assert settings["flow"]["links"][0]["url"]


def test_every_legend_says_what_it_shows_of_each_line():
    legends = [
        panel["options"]["legend"]
        for board in generate_dashboards().values()
        for panel in board["panels"]
        if "legend" in panel.get("options", {}) and panel["type"] != "heatmap"  # that of Grafana has no values
    ]

    assert len(legends) > 10
    assert all(legend["calcs"] == ["lastNotNull", "max"] for legend in legends)


def test_dashboards_keep_their_shape_in_grafanas_own_classes():
    grafana = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="Grafana's schema is not installed")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    for dashboard in generate_dashboards().values():
        read = json.loads(JSONEncoder(sort_keys=True).encode(grafana.Dashboard.from_json(dashboard)))

        assert {name for name in dashboard if name not in read} == set()
        assert read["uid"] == dashboard["uid"]
        assert len(read["panels"]) == len(dashboard["panels"])
        assert [panel["title"] for panel in read["panels"]] == [panel["title"] for panel in dashboard["panels"]]


def test_a_panel_is_placed_beside_the_last_one_as_long_as_there_is_room():
    board = Dashboard("uid", "title", "description", "prometheus")
    for width, height in ((12, 8), (12, 5), (8, 2), (8, 6), (8, 1), (1, 1)):
        board.add({}, width, height)
    board.row("next")
    board.add({})

    places = [tuple(panel["gridPos"].values()) for panel in board.panels]
    first = [(0, 0, 12, 8), (12, 0, 12, 5), (0, 8, 8, 2), (8, 8, 8, 6), (16, 8, 8, 1), (0, 14, 1, 1)]
    assert places == [*first, (0, 15, 24, 1), (0, 16, 12, 8)]
