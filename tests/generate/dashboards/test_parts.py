"""What several dashboards have: heatmaps with exemplars, and links that lead somewhere."""

import json
import re

import pytest

from otelflow.generate import generate_dashboards


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


def test_the_heatmaps_of_durations_show_exemplars():
    for dashboard in generate_dashboards().values():
        (heatmap,) = [panel for panel in dashboard["panels"] if panel["type"] == "heatmap"]

        assert heatmap["targets"][0]["exemplar"] is True
        assert heatmap["targets"][0]["format"] == "heatmap"
        assert "_bucket" in heatmap["targets"][0]["expr"]
