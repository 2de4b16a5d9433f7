"""Alerts, their unit tests and dashboards, made of the flows that a program declares."""

from collections.abc import Iterable
from typing import Any, Final, Literal

from otelflow._core.flows.declared import Declared
from otelflow.errors import ConfigurationError
from otelflow.generate._flows import flows_of
from otelflow.generate._yaml import to_yaml
from otelflow.generate.dashboards import dashboards
from otelflow.generate.rules import _all_flows as everyone
from otelflow.generate.rules import _objectives as promises
from otelflow.generate.rules import _telemetry as pipeline
from otelflow.generate.rules._alert import Alert

__all__ = ["JAEGER", "generate_alerts", "generate_dashboards", "generate_promtool_tests"]

#: Where the links of alerts lead
JAEGER: Final = "http://127.0.0.1:16686"
_RULES: Final = "otelflow.rules.yml"
_MADE_BY: Final = "Made by `otelflow generate {what}`; change the objectives in the code and make it again."


def generate_alerts(
    modules: Iterable[str] = (),
    *,
    jaeger: str = JAEGER,
    for_: Literal["prometheus", "kubernetes"] = "prometheus",
    namespace: str = "otelflow",
) -> str:
    """Return the alerting rules for all flows, and for the objectives of those that *modules* declare, as YAML.

    *jaeger* is where the links of alerts lead. For ``kubernetes`` it is a resource for the Prometheus operator.
    Raises TargetNotFound or TargetNotImportable for a module, ConfigurationError for an address that is none.
    """
    _check_address(jaeger)
    flows = flows_of(modules)
    alerts = [
        {"name": name, "rules": [alert.rule(in_kubernetes=for_ == "kubernetes") for alert in group]}
        for name, group in _alerts(flows, jaeger)
    ]
    groups = {"groups": [*_recorded(flows), *alerts]}
    comments = ("What wakes somebody.", _MADE_BY.format(what="alerts"))
    if for_ == "prometheus":
        return to_yaml(groups, *comments)
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "otelflow", "namespace": namespace},
        "spec": groups,
    }
    return to_yaml(resource, *comments)


def generate_promtool_tests(modules: Iterable[str] = (), *, jaeger: str = JAEGER, rules: str = _RULES) -> str:
    """Return unit tests for what ``generate_alerts`` returns, which lies in the file *rules* beside them, as YAML.

    Each alert fires in one, and does not in another. Raises as ``generate_alerts`` does.
    """
    _check_address(jaeger)
    flows = flows_of(modules)
    tests = [test for _, alerts in _alerts(flows, jaeger) for alert in alerts for test in alert.tests()]
    order = [group["name"] for group in _recorded(flows)] + [name for name, _ in _alerts(flows, jaeger)]
    found = {"rule_files": [rules], "evaluation_interval": "1m", "group_eval_order": order, "tests": tests}
    return to_yaml(found, "promtool test rules THIS_FILE", _MADE_BY.format(what="promtool-tests"))


def generate_dashboards(
    modules: Iterable[str] = (), *, prometheus: str = "otelflow-prometheus", jaeger: str = JAEGER
) -> dict[str, dict[str, Any]]:
    """Return Grafana's dashboards by file name: the fleet, one flow, one task.

    *prometheus* is the uid of the data source, *jaeger* is where links to traces lead.
    Raises TargetNotFound or TargetNotImportable.
    """
    return dashboards(flows_of(modules), prometheus, jaeger)


def _check_address(jaeger: str) -> None:
    if not jaeger.startswith(("http://", "https://")):
        raise ConfigurationError(f"jaeger={jaeger!r:.80} is no address: give one such as {JAEGER}")


def _recorded(flows: tuple[Declared, ...]) -> list[dict[str, Any]]:
    """Return the groups of recording rules, by how often they are worth their cost."""
    rules = {"": list(promises.recorded(flows)), "1m": list(everyone.memories())}
    for window, interval in everyone.WINDOWS.items():
        rules.setdefault(interval, []).extend([*everyone.ratios(window), *promises.slow_ratios(flows, window)])
    names = {"": "otelflow-minutes", "1m": "otelflow-hours", "2m": "otelflow-days"}
    return [
        {"name": names[interval], **({"interval": interval} if interval else {}), "rules": group}
        for interval, group in rules.items()
    ]


def _alerts(flows: tuple[Declared, ...], jaeger: str) -> list[tuple[str, list[Alert]]]:
    example = _unused("nightly", flows)
    return [
        ("otelflow-flows", [*everyone.alerts(flows, jaeger, example), *promises.alerts(flows, jaeger, example)]),
        ("otelflow-telemetry", list(pipeline.telemetry())),
        ("otelflow-pipeline", list(pipeline.stack())),
    ]


def _unused(name: str, flows: tuple[Declared, ...]) -> str:
    """Return a name that no flow has, for scenarios about the flows that promise nothing."""
    names = {flow.name for flow in flows}
    while name in names:
        name += "-x"
    return name
