"""The three dashboards: whole, with queries for metrics that exist, and links that lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from otelflow import semconv
from otelflow.generate import generate_dashboards
from otelflow.generate.dashboards._dashboard import Dashboard

DEPLOY = Path(__file__).parents[3] / "deploy/grafana/dashboards"


def test_the_dashboards_that_lie_in_deploy_are_those_that_the_generator_makes():
    dashboards = generate_dashboards()

    assert dashboards.keys() == {file.name for file in DEPLOY.glob("*.json")}
    for name, dashboard in dashboards.items():
        assert dashboard == json.loads((DEPLOY / name).read_text())


def every_target(dashboard):
    return [target for panel in dashboard["panels"] for target in panel.get("targets", ())]


@pytest.mark.parametrize("name", ["otelflow-fleet.json", "otelflow-flow.json", "otelflow-task.json"])
def test_a_dashboard_is_whole(name):
    dashboard = generate_dashboards()[name]

    assert dashboard["uid"] == name.removesuffix(".json")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    uids = {target["datasource"]["uid"] for target in every_target(dashboard)}
    assert uids == {"otelflow-prometheus"}
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize(("name", "operation"), [("flow", "flow%20${flow:"), ("task", "task%20${task:")])
def test_the_traces_of_a_dashboard_are_searched_in_jaeger_by_service_and_operation(name, operation):
    dashboard = generate_dashboards(jaeger="https://jaeger.example/")[f"otelflow-{name}.json"]

    (link,) = [link["url"] for link in dashboard["links"] if link["title"] == "Traces"]
    assert link.startswith("https://jaeger.example/search?service=${service:percentencode}&operation=" + operation)
    (service,) = [variable for variable in dashboard["templating"]["list"] if variable["name"] == "service"]
    assert service["hide"] == 2
    pattern = re.compile(service["regex"].strip("/").replace("\\/", "/"))
    assert [pattern.match(job)[1] for job in ("billing", "shop/billing")] == ["billing", "billing"]


def test_whatever_a_flow_is_called_a_link_leads_to_it():
    text = json.dumps(generate_dashboards())

    variables = re.findall(r"[?&]var-\w+=([^&\"]*)", text)
    assert len(variables) == 4
    assert all(re.fullmatch(r"\$\{[\w.]+:percentencode\}", variable) for variable in variables)


@pytest.mark.parametrize("name", ["otelflow-fleet.json", "otelflow-flow.json", "otelflow-task.json"])
def test_every_panel_stands_in_a_group_with_a_name(name):
    panels = generate_dashboards()[name]["panels"]

    rows = [place for place, panel in enumerate(panels) if panel["type"] == "row"]
    assert rows[0] == 0
    assert all(panels[row]["title"] for row in rows)
    assert all(after - row > 1 for row, after in zip(rows, [*rows[1:], len(panels)], strict=True)), "an empty group"


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
        if "legend" in panel.get("options", {})
    ]

    assert len(legends) > 10
    assert all(legend["calcs"] == ["lastNotNull", "max"] for legend in legends)


def test_the_heatmaps_of_durations_show_exemplars():
    for dashboard in generate_dashboards().values():
        (heatmap,) = [panel for panel in dashboard["panels"] if panel["type"] == "heatmap"]

        assert heatmap["targets"][0]["exemplar"] is True
        assert heatmap["targets"][0]["format"] == "heatmap"
        assert "_bucket" in heatmap["targets"][0]["expr"]


def test_dashboards_ask_only_for_metrics_that_exist():
    metrics = {value for name, value in vars(semconv).items() if str(value).startswith("otelflow_")}
    metrics |= {name + suffix for name in metrics for suffix in ("_bucket", "_count", "_sum")}
    for dashboard in generate_dashboards().values():
        for target in every_target(dashboard):
            assert set(re.findall(r"otelflow_\w+", target["expr"])) <= metrics


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("otelflow-fleet.json", {"Retries", "Waiting for limits", "Missed runs"}),
        ("otelflow-flow.json", {"Retries"}),
        ("otelflow-task.json", {"Retries"}),
    ],
)
def test_what_keeps_runs_waiting_has_a_panel_each(name, titles):
    panels = {panel["title"]: panel for panel in generate_dashboards()[name]["panels"]}
    metrics = {
        "Retries": semconv.TASK_RETRIES,
        "Waiting for limits": semconv.LIMIT_WAIT,
        "Missed runs": semconv.SCHEDULE_MISSED_RUNS,
    }

    for title in titles:
        assert any(metrics[title] in target["expr"] for target in panels[title]["targets"])


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
