"""The alerts about telemetry itself speak of what is ours: Prometheus may ask everybody's programs."""

import json
import re

import pytest
import yaml

from otelflow import semconv
from otelflow.errors import ConfigurationError
from otelflow.generate import PIPELINE, generate_alerts, generate_promtool_tests


def rules_of(text):
    """Return the alerts of a rule file by their names, without those that flows have."""
    return {
        rule["alert"]: rule
        for group in yaml.safe_load(text)["groups"]
        if group["name"] == "otelflow-pipeline"
        for rule in group["rules"]
    }


@pytest.fixture
def play(play_rules):
    """Play series, a sample a minute, for one rule: which jobs does its alert name at which moments?"""

    def play(rule, series, firing):
        rules = json.dumps({"groups": [{"name": "one", "rules": [rule]}]})
        return play_rules(rules, "1m", rule["alert"], "job", series, firing)

    return play


def up(job, instance="a:80"):
    return f'up{{job="{job}",instance="{instance}"}}'


@pytest.mark.stack
def test_a_program_that_showed_flows_is_down_for_days_and_programs_of_others_are_nobodys_business(play):
    series = {
        f'{semconv.BUILD_INFO}{{job="shop",instance="a:80"}}': "1x10 stale",
        f'{semconv.BUILD_INFO}{{job="pushed"}}': "1x5000",
        up("shop"): "1x10 0x4000 1x20",
        up("shop", "other:80"): "0x4030",
        up("pushed"): "0x4030",
        up("others"): "1x20 0x4010",
    }
    firing = {"10m": [], "20m": ["shop"], "1430m": ["shop"], "2900m": ["shop"], "4000m": ["shop"], "4015m": []}

    done = play(rules_of(generate_alerts())["OtelflowTargetDown"], series, firing)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.stack
@pytest.mark.parametrize(
    ("alert", "expression"),
    [
        ("OtelflowTargetDown", "up == 0"),
        ("PushRefused", "max by (job, flow) (push_failure_time_seconds) > max by (job, flow) (push_time_seconds)"),
        ("CollectorQueueFillsUp", "max by (exporter) (otelcol_exporter_queue_size) > 2500"),
        ("CollectorRefusesSpans", "sum by (receiver) (rate(otelcol_receiver_refused_spans_total[5m])) > 0"),
    ],
)  # fmt: skip
def test_the_unit_tests_notice_an_alert_that_speaks_of_the_programs_of_others(promtool, tmp_path, alert, expression):
    rule = {**rules_of(generate_alerts())[alert], "expr": expression}
    tests = yaml.safe_load(generate_promtool_tests(rules="one.rules.yml"))
    tests["tests"] = [test for test in tests["tests"] if test["name"].startswith(f"{alert}: ")]
    tests["group_eval_order"] = ["one"]
    (tmp_path / "one.rules.yml").write_text(json.dumps({"groups": [{"name": "one", "rules": [rule]}]}))
    (tmp_path / "one.test.yml").write_text(json.dumps(tests))

    done = promtool("test", "rules", tmp_path / "one.test.yml")

    assert done.returncode == 1
    assert alert in done.stdout + done.stderr


def test_every_metric_of_a_collector_is_asked_of_those_that_are_named():
    for name, rule in rules_of(generate_alerts(pipeline=["gate.way", "jaeger"])).items():
        if name.startswith("Collector") and name != "CollectorMissing":
            assert rule["expr"].count("otelcol_") == rule["expr"].count(r'{job=~"gate\\.way|jaeger"}') > 0

    rules = rules_of(generate_alerts(pipeline=["gate.way"]))
    assert rules["CollectorMissing"]["expr"] == 'absent(up{job="gate.way"} == 1)'
    assert 'up{job="gate.way"}' in rules["OtelflowTargetDown"]["expr"]


@pytest.mark.stack
@pytest.mark.parametrize(
    "pipeline",
    [(), ("gate.way",), ('a "job" | of \\ mine', "jaeger"), ("shop", "others"), ("others", "x", "others")],
)
def test_alerts_on_a_pipeline_of_other_names_or_on_none_pass_their_unit_tests(promtool, tmp_path, pipeline):
    rules = rules_of(generate_alerts(pipeline=pipeline))
    tests = yaml.safe_load(generate_promtool_tests(pipeline=pipeline, rules="one.rules.yml"))
    tests["tests"] = [test for test in tests["tests"] if test["name"].partition(":")[0] in rules]
    tests["group_eval_order"] = ["one"]
    (tmp_path / "one.rules.yml").write_text(json.dumps({"groups": [{"name": "one", "rules": [*rules.values()]}]}))
    (tmp_path / "one.test.yml").write_text(json.dumps(tests))

    done = promtool("test", "rules", tmp_path / "one.test.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert {"OtelflowTargetDown", "PushRefused"} <= rules.keys()
    assert ("CollectorMissing" in rules) == bool(pipeline)


@pytest.mark.parametrize("pipeline", ["collector", [""], ["half a pair \ud83d"], ["two\nlines"]])
@pytest.mark.parametrize("make", [generate_alerts, generate_promtool_tests])
def test_what_names_no_job_is_one_error(make, pipeline):
    with pytest.raises(ConfigurationError, match=r"names no jobs of Prometheus: give those such as \('collector',"):
        make(pipeline=pipeline)


def test_the_pipeline_of_deploy_is_the_one_that_is_meant_without_a_word():
    assert generate_alerts() == generate_alerts(pipeline=PIPELINE)
    assert PIPELINE[0] == "collector"


def test_each_scenario_plays_series_of_which_the_alert_may_speak():
    tests = yaml.safe_load(generate_promtool_tests())["tests"]
    series = [item["series"] for test in tests for item in test["input_series"]]

    assert series
    assert [text for text in series if not re.fullmatch(r"[a-z_]+\{job=\".*\"\}", text)] == []
