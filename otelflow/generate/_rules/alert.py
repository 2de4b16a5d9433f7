"""What an alert is made of, and the scenarios that show when it fires."""

from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from otelflow._core.flows.declared import Declared
from otelflow._core.flows.objective import Objective
from otelflow.generate._promql import one_of, quote, selector
from otelflow.generate._rules.annotations import literal

#: The job of all scenarios
JOB: Final = "shop"
#: The jobs in deploy/ of the programs between flows and their dashboards
PIPELINE: Final = ("collector", "dispatcher", "sampler", "jaeger", "pushgateway", "applications-over-otlp", "spans")


class Program(NamedTuple):
    """What alerts are made for: the flows of a program, the Jaeger that has their traces, and what leads there.

    *pipeline* names jobs of Prometheus; the first is that of the Collector that applications send to.
    """

    flows: tuple[Declared, ...]
    jaeger: str
    pipeline: tuple[str, ...] = PIPELINE

    @property
    def objectives(self) -> list[tuple[Declared, Objective]]:
        """The flows that promise something, each with its promise."""
        return [(flow, flow.objective) for flow in self.flows if flow.objective is not None]

    @property
    def example(self) -> str:
        """A name that no flow has, for scenarios about flows that promise nothing."""
        return _like("nightly", {flow.name for flow in self.flows})

    def job(self, name: str) -> str:
        """A job such as *name* that is none of the pipeline, for scenarios about whoever is not meant."""
        return _like(name, self.pipeline)


def _like(name: str, taken: Collection[str]) -> str:
    """Return *name*, or one like it, that is none of those that are *taken*."""
    while name in taken:
        name += "-x"
    return name


class Scenario(NamedTuple):
    """The samples of some series, one per *interval*, and which values of *label* an alert has at which moments."""

    name: str
    interval: str
    series: dict[str, str]
    firing: dict[str, tuple[str, ...]]
    label: str = "flow"
    state: str = "firing"


class Alert(NamedTuple):
    """One alerting rule, and the scenarios in which it fires and in which it does not.

    *lasts* is how long *expr* must hold; *flow* is the one flow that it is about; *in_kubernetes* is the runbook there.
    """

    name: str
    expr: str
    lasts: str
    severity: str
    summary: str
    description: str
    runbook: str
    traces: str = ""
    scenarios: tuple[Scenario, ...] = ()
    flow: str = ""
    in_kubernetes: str = ""

    def rule(self, *, in_kubernetes: bool) -> dict[str, Any]:
        """Return the rule for Prometheus."""
        advice = (self.in_kubernetes if in_kubernetes else "") or self.runbook
        annotations = {"summary": self.summary, "description": self.description, "runbook": advice}
        if self.traces:
            annotations["traces"] = self.traces
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.lasts:
            rule["for"] = self.lasts
        labels = {"severity": self.severity}
        if self.flow:
            labels["flow"] = literal(self.flow)  # two rules of one name must differ in their labels
        return {**rule, "labels": labels, "annotations": annotations}


def promtool_tests(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    """Return the unit tests for promtool: one for each scenario, in which all flows are that promise alike.

    promtool evaluates all rules in each test: with one for each flow, twice as many flows would take it four times as
    long.
    """
    tests: dict[tuple[object, ...], list[tuple[Alert, Scenario]]] = {}
    for alert in alerts:
        for scenario in alert.scenarios:
            moments = tuple(scenario.firing)
            alike = (alert.name, bool(alert.flow), scenario.name, scenario.interval, scenario.state, moments)
            tests.setdefault(alike, []).append((alert, scenario))
    return [_test(parts) for parts in tests.values()]


def _test(parts: list[tuple[Alert, Scenario]]) -> dict[str, Any]:
    """Return the test in which the same scenario is played for several flows at once."""
    alert, scenario = parts[0]
    flows = one_of([owner.flow for owner, _ in parts if owner.flow])
    selected = selector(f'alertname="{alert.name}"', f'alertstate="{scenario.state}"', flows)
    samples = {name: values for _, part in parts for name, values in part.series.items()}
    looks = [
        {
            "expr": f"count by ({scenario.label}) (ALERTS{selected})",
            "eval_time": moment,
            "exp_samples": [
                {"labels": f"{{{scenario.label}={quote(value)}}}" if value else "{}", "value": 1}
                for value in sorted(value for _, part in parts for value in part.firing[moment])
            ],
        }
        for moment in scenario.firing
    ]
    return {
        "name": f"{alert.name}: {scenario.name}",
        "interval": scenario.interval,
        "input_series": [{"series": name, "values": values} for name, values in samples.items()],
        "promql_expr_test": looks,
    }


def series(metric: str, **labels: str) -> str:
    """Return one series of a scenario."""
    inner = ", ".join(f"{name}={quote(value)}" for name, value in {"job": JOB, **labels}.items())
    return f"{metric}{{{inner}}}"
