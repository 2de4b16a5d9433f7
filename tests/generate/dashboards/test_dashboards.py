"""The three dashboards: whole, with queries for metrics that exist, and links that lead somewhere."""

import json
import re
from pathlib import Path

import pytest

from otelflow import semconv
from otelflow.generate import generate_dashboards

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


@pytest.mark.parametrize("name", ["otelflow-fleet.json", "otelflow-flow.json", "otelflow-task.json"])
def test_every_panel_stands_in_a_group_with_a_name(name):
    panels = generate_dashboards()[name]["panels"]

    rows = [place for place, panel in enumerate(panels) if panel["type"] == "row"]
    assert rows[0] == 0
    assert all(panels[row]["title"] for row in rows)
    assert all(after - row > 1 for row, after in zip(rows, [*rows[1:], len(panels)], strict=True)), "an empty group"


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
