"""Alerts, unit tests and dashboards made of declared flows; promtool is asked whether they are right."""

import importlib
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from otelflow import Objective, flow, semconv
from otelflow._cli.generate import app
from otelflow._core.flows import declared
from otelflow.errors import ConfigurationError, TargetNotFound, TargetNotImportable
from otelflow.generate import generate_alerts, generate_dashboards, generate_promtool_tests
from otelflow.generate._yaml import to_yaml
from otelflow.generate.rules._alert import time_of, words_of

DEPLOY = Path(__file__).parents[2] / "deploy"

SHOP = '''
from datetime import timedelta
from otelflow import Flow, Objective, flow

@flow(objective=Objective(success=0.995, duration="90s", every="1h30m", runbook="https://runbooks/orders?a={{x}}"))
def orders():
    """Take orders."""

@flow(flow_name='month "end" {{x}} a|b', objective=Objective(every=timedelta(days=30), duration="2.5s"))
def month_end():
    pass

@flow(objective=Objective(success=0.5))
def loose():
    pass

@flow
def nightly():
    pass

class Weekly(Flow):
    objective = Objective(every="7d")

    def main(self):
        pass
'''


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A module with flows, some of which promise something; it is forgotten afterwards."""
    (tmp_path / "shop_flows.py").write_text(SHOP)
    (tmp_path / "broken_flows.py").write_text("import no_such_package_anywhere")
    (tmp_path / "raising_flows.py").write_text("1 / 0")
    (tmp_path / "leaving_flows.py").write_text("raise SystemExit(4)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = dict(declared._flows)
    importlib.invalidate_caches()
    yield "shop_flows"
    sys.modules.pop("shop_flows", None)
    declared._flows.clear()
    declared._flows.update(before)


@pytest.fixture
def promtool():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = Path(os.environ.get("OTELFLOW_STACK_DIR") or cache / "otelflow-stack") / "bin/promtool"
    if not program.exists():
        if os.environ.get("OTELFLOW_REQUIRE_STACK") == "1":
            pytest.fail("promtool is not there: run .ci/stack", pytrace=False)
        pytest.skip("promtool is not there: run .ci/stack")

    def run(*arguments):
        return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=220, check=False)

    return run


def rules(text):
    """Return the names of the alerts in a rule file."""
    return [line.split("alert: ")[1] for line in text.splitlines() if "- alert: " in line]


# The real promtool


@pytest.mark.stack
@pytest.mark.timeout(240)
def test_every_alert_of_promises_fires_and_does_not_fire_in_its_unit_tests(shop, promtool, tmp_path):
    (tmp_path / "otelflow.rules.yml").write_text(generate_alerts([shop]))
    (tmp_path / "otelflow.rules.test.yml").write_text(generate_promtool_tests([shop]))

    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "otelflow.rules.yml")
    tested = promtool("test", "rules", tmp_path / "otelflow.rules.test.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.stack
def test_the_unit_tests_notice_a_rule_that_never_fires(promtool, tmp_path):
    mutated = generate_alerts().replace(
        "FlowLastRunFailed\n        expr: |\n", "FlowLastRunFailed\n        expr: |\n          0 * "
    )
    assert mutated != generate_alerts()
    (tmp_path / "otelflow.rules.yml").write_text(mutated.replace("> 0)\n          unless", "> 1e99)\n          unless"))
    (tmp_path / "otelflow.rules.test.yml").write_text(generate_promtool_tests())

    tested = promtool("test", "rules", tmp_path / "otelflow.rules.test.yml")

    assert tested.returncode != 0
    assert "FlowLastRunFailed" in tested.stdout + tested.stderr


@pytest.fixture
def days(promtool, tmp_path):
    """Play hours and days in whole hours: which flows does an alert name at which moments?"""

    def play(alert, series, firing, modules=()):
        expr = f'count by (flow) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
        looks = [
            {
                "expr": expr,
                "eval_time": moment,
                "exp_samples": [{"labels": f'{{flow="{flow}"}}', "value": 1} for flow in flows],
            }
            for moment, flows in firing.items()
        ]
        test = {
            "interval": "1h",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": looks,
        }
        file = {"rule_files": ["days.rules.yml"], "evaluation_interval": "1h", "tests": [test]}
        (tmp_path / "days.rules.yml").write_text(generate_alerts(modules))
        (tmp_path / "days.test.yml").write_text(json.dumps(file))
        return promtool("test", "rules", tmp_path / "days.test.yml")

    return play


@pytest.mark.stack
def test_a_failure_is_remembered_for_two_days_and_longer_for_a_flow_that_promises_less_than_one_run_a_day(shop, days):
    def failed(flow):
        return f'otelflow_flow_last_run_timestamp_seconds{{job="shop",flow="{flow}",result="failure"}}'

    series = {failed("nightly"): "600x1 stale", failed("Weekly"): "600x1 stale"}
    firing = {"47h": ("Weekly", "nightly"), "50h": ("Weekly",), "330h": ("Weekly",), "340h": ()}

    done = days("FlowLastRunFailed", series, firing, [shop])

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.stack
def test_runs_that_are_many_every_day_at_this_hour_do_not_pile_up(days):
    office = 'otelflow_flow_runs_in_progress{job="shop",flow="office"}'
    attacked = 'otelflow_flow_runs_in_progress{job="shop",flow="attacked"}'
    series = {office: "0x8 50x7 0x15 0x0 50x7", attacked: "0x8 0x7 0x15 0x0 50x7"}

    done = days("FlowRunsPilingUp", series, {"36h": ("attacked",)})

    assert done.returncode == 0, done.stdout + done.stderr


def test_windows_of_days_are_not_read_every_ten_seconds_and_are_never_out_of_date():
    text = generate_alerts()
    groups = text.split("  - name: ")
    (slow,) = [group for group in groups if "record" in group and "[3d]" in group]
    (hourly,) = [group for group in groups if "record" in group and "[6h]" in group]

    assert 'interval: "2m"' in slow  # Prometheus forgets a sample after five minutes
    assert 'interval: "1m"' in hourly
    assert not any("[3d]" in group for group in groups if group is not slow)


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(shop):
    from otelflow.generate import _alerts
    from otelflow.generate._flows import flows_of

    for _, alerts in _alerts(flows_of([shop]), "http://jaeger"):
        for alert in alerts:
            moments = [values for scenario in alert.scenarios for values in scenario.firing.values()]
            assert any(moments), alert.name
            assert not all(moments), alert.name


# What is made


def test_what_lies_in_deploy_is_what_the_generator_makes():
    assert (DEPLOY / "prometheus/rules/otelflow.rules.yml").read_text() == generate_alerts()
    assert (DEPLOY / "prometheus/rules/otelflow.rules.test.yml").read_text() == generate_promtool_tests()
    assert (DEPLOY / "kubernetes/base/prometheus-rule.yaml").read_text() == generate_alerts(for_="kubernetes")
    made = generate_dashboards()
    assert {file.name for file in (DEPLOY / "grafana/dashboards").glob("*.json")} == made.keys()
    for name, dashboard in made.items():
        assert json.loads((DEPLOY / "grafana/dashboards" / name).read_text()) == dashboard


def test_flows_of_other_modules_get_no_alerts_of_their_own(shop):
    @flow(objective=Objective(every="1h"))
    def declared_elsewhere():
        pass

    assert "declared_elsewhere" not in generate_alerts([shop])
    assert 'flow="orders"' in generate_alerts([shop])


def test_each_promise_becomes_its_alerts_and_takes_the_place_of_the_default(shop):
    text = generate_alerts([shop])

    assert rules(text).count("FlowOverdue") == 3
    assert rules(text).count("FlowNeverSucceeded") == 3
    assert rules(text).count("FlowTooSlow") == 2
    assert rules(text).count("FlowRunStuck") == 3
    assert rules(text).count("FlowErrorBudgetBurnsFast") == 3
    assert rules(text).count("FlowLastRunFailed") == 1
    assert 'flow!~"loose|orders"' in text
    assert "> 270" in text  # three times as long as promised
    assert "> 5400" in text


def test_the_budget_of_14_times_the_allowed_failures_is_never_more_than_all_runs(shop):
    lines = [
        line.split("> ")[1] for line in generate_alerts([shop]).splitlines() if 'ratio_rate1h{flow="loose"} >' in line
    ]

    assert lines == ["0.75", "0.75"][: len(lines)]
    assert lines


def test_a_runbook_of_the_flow_takes_the_place_of_the_default_and_shows_its_braces(shop):
    text = generate_alerts([shop])

    assert 'if eq $labels.flow "orders" }}https://runbooks/orders?a={{ "{{" }}x}}' in text


def test_every_alert_says_what_to_do_and_those_of_flows_link_to_their_traces(shop):
    text = generate_alerts([shop], jaeger="https://jaeger.example/")

    count = len(rules(text))
    assert text.count("summary: ") == text.count("runbook: ") == text.count("description: ") == count
    assert text.count("severity: ") == count
    of_flows = [name for name in rules(text) if name.startswith("Flow")]
    unknown = {"FlowTelemetryDropped", "FlowListenerFails", "FlowNeverSucceeded"}
    assert text.count("traces: ") == sum(name not in unknown for name in of_flows)
    assert "https://jaeger.example/search?service=" in text
    assert "127.0.0.1" not in text


@pytest.mark.stack
def test_a_service_with_a_namespace_is_searched_in_jaeger_by_its_name(promtool, tmp_path):
    link = (
        "http://jaeger/search?service=billing&operation=flow%20month%2Bend&"
        "tags=%7B%22error%22%3A%22true%22%7D&lookback=2d&limit=20"
    )
    series = f'{semconv.FLOW_LAST_RUN}{{job="shop/billing",flow="month+end",result="failure"}}'
    (tmp_path / "link.rules.yml").write_text(generate_alerts(jaeger="http://jaeger"))
    test = {
        "interval": "1m",
        "input_series": [{"series": series, "values": "60x10"}],
        "alert_rule_test": [
            {
                "eval_time": "5m",
                "alertname": "FlowLastRunFailed",
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": "page", "job": "shop/billing", "flow": "month+end"},
                        "exp_annotations": {
                            "summary": "The last run of flow month+end (shop/billing) failed.",
                            "description": "It failed at 1970-01-01 00:01:00 +0000 UTC and has not succeeded since.",
                            "runbook": "Open the failing trace, read the exception of its innermost red span, and run "
                            "the flow again; the alert resolves with the next success.",
                            "traces": link,
                        },
                    }
                ],
            }
        ],
    }
    file = {"rule_files": ["link.rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "link.test.yml").write_text(json.dumps(file))

    done = promtool("test", "rules", tmp_path / "link.test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_for_kubernetes_are_a_resource_of_the_operator_and_speak_of_kubectl():
    text = generate_alerts(for_="kubernetes", namespace="monitoring")

    assert "docker" not in text
    assert "mem_limit" not in text
    assert "kubectl" in text
    assert "kubectl" not in generate_alerts()

    head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n"
    assert head + "  name: otelflow\n  namespace: monitoring\n" in text


# Dashboards


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
    (service,) = [each for each in dashboard["templating"]["list"] if each["name"] == "service"]
    assert service["hide"] == 2
    pattern = re.compile(service["regex"].strip("/").replace("\\/", "/"))
    assert [pattern.match(job)[1] for job in ("billing", "shop/billing")] == ["billing", "billing"]


def test_the_heatmaps_of_durations_show_exemplars():
    for dashboard in generate_dashboards().values():
        (heatmap,) = [panel for panel in dashboard["panels"] if panel["type"] == "heatmap"]

        assert heatmap["targets"][0]["exemplar"] is True
        assert heatmap["targets"][0]["format"] == "heatmap"
        assert "_bucket" in heatmap["targets"][0]["expr"]


def test_dashboards_ask_only_for_metrics_that_exist():
    known = {value for name, value in vars(semconv).items() if str(value).startswith("otelflow_")}
    known |= {name + suffix for name in known for suffix in ("_bucket", "_count", "_sum")}
    for dashboard in generate_dashboards().values():
        for target in every_target(dashboard):
            assert set(re.findall(r"otelflow_\w+", target["expr"])) <= known


def test_the_fleet_shows_what_is_promised(shop):
    (text,) = [
        panel for panel in generate_dashboards([shop])["otelflow-fleet.json"]["panels"] if panel["type"] == "text"
    ]

    assert "| orders | 99.5% | 1m 30s | 1h 30m |" in text["options"]["content"]


def test_dashboards_keep_their_shape_in_grafanas_own_classes():
    grafana = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="Grafana's schema is not installed")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    for dashboard in generate_dashboards().values():
        read = json.loads(JSONEncoder(sort_keys=True).encode(grafana.Dashboard.from_json(dashboard)))

        assert {name for name in dashboard if name not in read} == set()
        assert read["uid"] == dashboard["uid"]
        assert len(read["panels"]) == len(dashboard["panels"])
        assert [panel["title"] for panel in read["panels"]] == [panel["title"] for panel in dashboard["panels"]]


# Bad input


@pytest.mark.parametrize(
    ("given_", "complaint"),
    [
        ({"success": 1.5}, "success=1.5 is no share"),
        ({"success": 1}, "success=1 is no share"),
        ({"success": 0}, "success=0 is no share"),
        ({"success": True}, "success=True is no share"),
        ({"success": "99%"}, "success='99%' is no share"),
        ({"success": float("nan")}, "success=nan is no share"),
        ({"every": "often"}, "every='often' is no length of time"),
        ({"every": 5}, "every=5 is no length of time"),
        ({"every": "0s"}, "every='0s' is no length of time"),
        ({"every": "90d"}, "every='90d' is no length of time"),
        ({"duration": "-5m"}, "duration='-5m' is no length of time"),
        ({"duration": "10 minutes"}, "duration='10 minutes' is no length of time"),
        ({"duration": timedelta(0)}, "is no length of time"),
        ({"success": 0.9, "runbook": ""}, "runbook must be a text"),
        ({}, "promise something"),
    ],
)
def test_an_objective_that_says_nothing_usable_is_one_error_with_the_cure(given_, complaint):
    with pytest.raises(ConfigurationError, match=r"^Objective: ") as error:
        Objective(**given_)

    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("1h30m", 5400), ("90s", 90), ("1d", 86400), ("2w", 1209600), ("1.5h", 5400), ("500ms", 0.5)],
)
def test_lengths_of_time_have_units(text, seconds):
    assert Objective(every=text).every == seconds
    assert Objective(every=timedelta(seconds=seconds)) == Objective(every=text)


def test_an_objective_that_is_none_is_refused_at_decoration():
    with pytest.raises(ConfigurationError, match="objective must be"):

        @flow(objective="99%")
        def never():
            pass


@pytest.mark.parametrize(
    ("module", "error", "complaint"),
    [
        ("no_such_flows", TargetNotFound, "There is no module 'no_such_flows'"),
        ("shop_flows.orders", TargetNotFound, "There is no module 'shop_flows.orders'"),
        ("shop_flows.py", TargetNotFound, "There is no module 'shop_flows.py'; did you mean 'shop_flows'?"),
        ("", TargetNotFound, "is no module"),
        ("..", TargetNotFound, "is no module"),
        ("broken_flows", TargetNotImportable, "No module named 'no_such_package_anywhere'"),
        ("raising_flows", TargetNotImportable, "ZeroDivisionError"),
        ("leaving_flows", TargetNotImportable, "SystemExit"),
    ],
)
def test_a_module_that_does_not_import_is_one_error_that_names_it(shop, module, error, complaint):
    with pytest.raises(error) as raised:
        generate_alerts([module])

    assert complaint in str(raised.value)


# The command line


def test_the_command_writes_files_and_prints_without_an_output(shop, tmp_path):
    runner = CliRunner()

    printed = runner.invoke(app, ["alerts", "--from", shop])
    alerts = runner.invoke(app, ["alerts", "--from", shop, "--output", "rules.yml"])
    tests = runner.invoke(app, ["promtool-tests", "--from", shop, "--output", "tests.yml", "--rules", "rules.yml"])
    boards = runner.invoke(app, ["dashboards", "--from", shop, "--output", "boards"])

    assert [result.exit_code for result in (printed, alerts, tests, boards)] == [0, 0, 0, 0]
    assert printed.stdout == (tmp_path / "rules.yml").read_text() == generate_alerts([shop])
    assert "rule_files:\n  - rules.yml\n" in (tmp_path / "tests.yml").read_text()
    assert len(list((tmp_path / "boards").glob("*.json"))) == 3


def test_an_output_that_cannot_be_written_is_one_error(tmp_path):
    result = CliRunner().invoke(app, ["alerts", "--output", str(tmp_path / "no" / "rules.yml")])

    assert isinstance(result.exception, ConfigurationError)
    assert "cannot be written" in str(result.exception)


# YAML

PLAIN = st.recursive(
    st.text()
    | st.integers()
    | st.booleans()
    | st.none()
    | st.sampled_from(["a\nb\n", "on", "1e3", "- x", "a: b", 'it\'s "x"']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_written_as_yaml_is_read_back_the_same(value):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

    assert yaml.safe_load(to_yaml(value, "a comment")) == value


@pytest.mark.parametrize(
    ("seconds", "prometheus", "people"),
    [
        (0.25, "250ms", "250ms"),
        (90, "90s", "1m 30s"),
        (600, "10m", "10m"),
        (5400, "90m", "1h 30m"),
        (86400, "1d", "1d"),
    ],
)
def test_lengths_of_time_are_written_for_prometheus_and_for_people(seconds, prometheus, people):
    assert (time_of(seconds), words_of(seconds)) == (prometheus, people)
