"""Rules, their unit tests and dashboards as a whole: what lies in deploy/, what promtool says of it, the command."""

import json

import pytest
from typer.testing import CliRunner

from otelflow import Objective, flow
from otelflow._cli.generate import app
from otelflow.errors import ConfigurationError
from otelflow.generate import generate_alerts, generate_dashboards, generate_promtool_tests


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


@pytest.mark.parametrize("jaeger", ["", "jaeger:16686", "ftp://jaeger", 'x" http://'])
@pytest.mark.parametrize("make", [generate_alerts, generate_promtool_tests, generate_dashboards])
def test_an_address_that_is_none_is_refused_with_one_that_is(make, jaeger):
    with pytest.raises(ConfigurationError, match=r"is no address: give one such as http://127\.0\.0\.1:16686"):
        make(jaeger=jaeger)


def test_rules_for_somebody_else_are_one_error():
    with pytest.raises(ConfigurationError, match="for_='k8s' reads no rules: give 'prometheus' or 'kubernetes'"):
        generate_alerts(for_="k8s")


def test_the_path_of_the_rules_and_the_namespace_are_where_they_are_read():
    assert "rule_files:\n  - rules/own.yml\n" in generate_promtool_tests(rules="rules/own.yml")
    assert "namespace" not in generate_alerts(namespace="monitoring")


def test_the_dashboards_ask_the_data_source_and_lead_to_the_jaeger_that_are_named():
    text = json.dumps(generate_dashboards(prometheus="mine", jaeger="https://jaeger.example"))

    assert '"uid": "mine"' in text
    assert "otelflow-prometheus" not in text
    assert text.count("https://jaeger.example/search") == 2
    assert "127.0.0.1" not in text


def test_flows_of_other_modules_get_no_alerts_of_their_own(shop):
    @flow(objective=Objective(every="1h"))
    def declared_elsewhere():
        pass

    assert "declared_elsewhere" not in generate_alerts([shop])
    assert 'flow="orders"' in generate_alerts([shop])


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


def test_the_command_is_told_which_jobs_are_the_pipeline_or_that_there_is_none():
    runner = CliRunner()

    gateway = runner.invoke(app, ["alerts", "--pipeline", "gateway", "--pipeline", "jaeger"])
    nothing = runner.invoke(app, ["alerts", "--pipeline", ""])
    tests = runner.invoke(app, ["promtool-tests", "--pipeline", "gateway", "--pipeline", "jaeger"])

    assert gateway.stdout == generate_alerts(pipeline=("gateway", "jaeger"))
    assert nothing.stdout == generate_alerts(pipeline=())
    assert tests.stdout == generate_promtool_tests(pipeline=("gateway", "jaeger"))


def test_an_output_that_cannot_be_written_is_one_error(tmp_path):
    result = CliRunner().invoke(app, ["alerts", "--output", str(tmp_path / "no" / "rules.yml")])

    assert isinstance(result.exception, ConfigurationError)
    assert "cannot be written" in str(result.exception)
