"""The files of rules: their groups, who reads them, and that every alert is tested."""

import sys
from pathlib import Path

import pytest

from otelflow.errors import MissingExtra
from otelflow.generate import generate_alerts, generate_promtool_tests
from otelflow.generate._flows import flows_of
from otelflow.generate._rules import Program
from otelflow.generate._rules.files import alert_groups

DEPLOY = Path(__file__).parents[3] / "deploy"
PROMISES = Path(__file__).parents[1] / "promises"


def test_the_rules_that_lie_in_deploy_are_those_that_the_generator_makes():
    assert generate_alerts() == (DEPLOY / "prometheus/rules/otelflow.rules.yml").read_text()
    assert generate_promtool_tests() == (DEPLOY / "prometheus/rules/otelflow.rules.test.yml").read_text()
    assert generate_alerts(for_="kubernetes") == (DEPLOY / "kubernetes/base/prometheus-rule.yaml").read_text()


def test_what_is_made_of_promises_is_what_lies_beside_them(shop):
    # In tests/generate/promises: otelflow generate alerts --from shop_flows -o otelflow.rules.yml; also promtool-tests
    assert generate_alerts([shop]) == (PROMISES / "otelflow.rules.yml").read_text()
    assert generate_promtool_tests([shop]) == (PROMISES / "otelflow.rules.test.yml").read_text()


def test_windows_of_days_are_not_read_every_ten_seconds_and_are_never_out_of_date():
    text = generate_alerts()
    groups = text.split("  - name: ")
    (slow,) = [group for group in groups if "record" in group and "[3d]" in group]
    (hourly,) = [group for group in groups if "record" in group and "[6h]" in group]

    assert "interval: '2m'" in slow  # Prometheus forgets a sample after five minutes
    assert "interval: '1m'" in hourly
    assert not any("[3d]" in group for group in groups if group is not slow)


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(shop):
    for _, alerts in alert_groups(Program(flows_of([shop]), "http://jaeger")):
        for alert in alerts:
            moments = [values for scenario in alert.scenarios for values in scenario.firing.values()]
            assert any(moments), alert.name
            assert not all(moments), alert.name


def test_rules_for_kubernetes_are_a_resource_of_the_operator_and_speak_of_kubectl():
    text = generate_alerts(for_="kubernetes", namespace="monitoring")

    assert "docker" not in text
    assert "mem_limit" not in text
    assert "kubectl" in text
    assert "kubectl" not in generate_alerts()

    head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n"
    assert head + "  name: otelflow\n  namespace: monitoring\n" in text


@pytest.mark.parametrize("make", [generate_alerts, generate_promtool_tests])
def test_without_pyyaml_the_error_names_the_extra(make, monkeypatch):
    monkeypatch.delitem(sys.modules, "otelflow.generate._rules.yaml_text", raising=False)
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(MissingExtra, match=r"pip install 'otelflow\[cli\]'"):
        make()


def test_the_same_flows_make_the_same_bytes(shop):
    assert generate_alerts([shop]) == generate_alerts([shop])
    assert generate_promtool_tests([shop]) == generate_promtool_tests([shop])
