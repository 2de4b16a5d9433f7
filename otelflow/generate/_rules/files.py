"""The rule file and the file of its unit tests, as YAML that people read."""

from typing import Any

from otelflow.errors import MissingExtra
from otelflow.generate._rules import all_flows, objectives, telemetry
from otelflow.generate._rules.alert import Alert, Program, promtool_tests


def rule_file(program: Program, namespace: str | None) -> str:
    """Return all rules as a file for Prometheus, or as a resource for its operator in a *namespace* of Kubernetes."""
    groups = _recording_groups(program) + [
        {"name": name, "rules": [alert.rule(in_kubernetes=namespace is not None) for alert in alerts]}
        for name, alerts in alert_groups(program)
    ]
    document: dict[str, Any] = {"groups": groups}
    if namespace is not None:
        document = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "otelflow", "namespace": namespace},
            "spec": document,
        }
    return _to_yaml(document, "Recording rules and alerts.", "alerts")


def rule_test_file(program: Program, rules: str) -> str:
    """Return the unit tests of each alert, for promtool; the rule file *rules* lies beside them."""
    groups = alert_groups(program)
    document = {
        "rule_files": [rules],
        "evaluation_interval": "1m",
        "group_eval_order": [*(group["name"] for group in _recording_groups(program)), *(name for name, _ in groups)],
        "tests": promtool_tests(alert for _, alerts in groups for alert in alerts),
    }
    return _to_yaml(document, "promtool test rules THIS_FILE", "promtool-tests")


def alert_groups(program: Program) -> list[tuple[str, list[Alert]]]:
    """Return all alerts by the names of their groups."""
    return [
        ("otelflow-flows", [*all_flows.alerts(program), *objectives.alerts(program)]),
        ("otelflow-telemetry", [*telemetry.PROGRAMS]),
        ("otelflow-pipeline", [*telemetry.targets(program), *telemetry.collector(program)]),
    ]


def _recording_groups(program: Program) -> list[dict[str, Any]]:
    """Return the groups of recording rules; what costs more is read less often."""
    rules = {"": list(objectives.recorded(program)), "1m": list(all_flows.recording_rules())}
    for window, interval in all_flows.WINDOWS.items():
        rules.setdefault(interval, []).extend([*all_flows.ratios(window), *objectives.slow_ratios(program, window)])
    names = {"": "otelflow-minutes", "1m": "otelflow-hours", "2m": "otelflow-days"}
    return [
        {"name": names[interval], **({"interval": interval} if interval else {}), "rules": group}
        for interval, group in rules.items()
    ]


def _to_yaml(document: dict[str, Any], comment: str, command: str) -> str:
    """Return *document* as YAML. Raises MissingExtra."""
    try:
        from otelflow.generate._rules.yaml_text import to_yaml  # noqa: PLC0415 it imports PyYAML, which is an extra
    except ModuleNotFoundError as error:
        raise MissingExtra("cli") from error
    made_by = f"Made by `otelflow generate {command}`; change the objectives in the code and make it again."
    return to_yaml(document, comment, made_by)
