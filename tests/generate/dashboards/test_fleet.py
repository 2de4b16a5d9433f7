"""The dashboard of the fleet shows what flows promise."""

from otelflow.generate import generate_dashboards


def test_the_fleet_shows_what_is_promised(shop):
    (text,) = [
        panel for panel in generate_dashboards([shop])["otelflow-fleet.json"]["panels"] if panel["type"] == "text"
    ]

    assert "| orders | 99.5% | 1m 30s | 1h 30m |" in text["options"]["content"]
