"""What an alert is made of, and the scenarios that show when it fires."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from otelflow import semconv
from otelflow._core.flows.declared import Declared
from otelflow._core.runs.endings import FAILED

RUNS: Final = semconv.FLOW_RUNS
LAST_RUN: Final = semconv.FLOW_LAST_RUN
OLDEST: Final = semconv.FLOW_OLDEST_RUN
IN_PROGRESS: Final = semconv.FLOW_RUNS_IN_PROGRESS

FAILING: Final = "|".join(result for result in semconv.RESULTS if result in FAILED)
NOT_COUNTED: Final = f"{semconv.CANCELLATION}|{semconv.SKIP}"

#: The job of all scenarios
JOB: Final = "shop"


class Scenario(NamedTuple):
    """What happens (series of numbers, one per *interval*) and which label values fire at which moments."""

    name: str
    interval: str
    series: dict[str, str]
    firing: dict[str, tuple[str, ...]]
    label: str = "flow"
    state: str = "firing"


class Alert(NamedTuple):
    """One alerting rule, and what shows that it fires and that it does not."""

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

    def rule(self, *, in_kubernetes: bool = False) -> dict[str, Any]:
        """Return what Prometheus reads."""
        what_to_do = (self.in_kubernetes if in_kubernetes else "") or self.runbook
        annotations = {"summary": self.summary, "description": self.description, "runbook": what_to_do}
        if self.traces:
            annotations["traces"] = self.traces
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.lasts:
            rule["for"] = self.lasts
        labels = {"severity": self.severity}
        if self.flow:
            labels["flow"] = literal(self.flow)  # two rules of one name must differ in their labels
        return {**rule, "labels": labels, "annotations": annotations}

    def tests(self) -> list[dict[str, Any]]:
        """Return what promtool reads."""
        return [_test(self, scenario) for scenario in self.scenarios]


def _test(alert: Alert, scenario: Scenario) -> dict[str, Any]:
    own = f"flow={quoted(alert.flow)}" if alert.flow else ""
    which = matchers(f'alertname="{alert.name}"', f'alertstate="{scenario.state}"', own)
    expr = f"count by ({scenario.label}) (ALERTS{which})"
    return {
        "name": f"{alert.name}: {scenario.name}",
        "interval": scenario.interval,
        "input_series": [{"series": series, "values": values} for series, values in scenario.series.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": moment,
                "exp_samples": [
                    {"labels": f"{{{scenario.label}={quoted(value)}}}" if value else "{}", "value": 1}
                    for value in sorted(values)
                ],
            }
            for moment, values in scenario.firing.items()
        ],
    }


def quoted(text: str) -> str:
    """Return *text* as a string of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def series(metric: str, **labels: str) -> str:
    """Return one series of a scenario."""
    inner = ", ".join(f"{name}={quoted(value)}" for name, value in {"job": JOB, **labels}.items())
    return f"{metric}{{{inner}}}"


def without(flows: Iterable[str]) -> str:
    """Return the matcher that leaves *flows* out, or nothing."""
    names = "|".join(re.escape(flow).replace("\\ ", " ") for flow in flows)
    return f"flow!~{quoted(names)}" if names else ""


def matchers(*each: str) -> str:
    """Return *each* matcher that is not empty, in braces."""
    inner = ",".join(one for one in each if one)
    return f"{{{inner}}}" if inner else ""


def time_of(seconds: float) -> str:
    """Return *seconds* as Prometheus writes them: whole, in the largest unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{max(1, round(seconds * 1_000))}ms"


def words_of(seconds: float) -> str:
    """Return *seconds* as people write them."""
    pieces = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        pieces += [f"{int(count)}{unit}"] if count else []
    return " ".join(pieces) or f"{round(seconds * 1_000)}ms"


def percent(share: float) -> str:
    """Return *share* in percent, without needless digits."""
    return f"{share * 100:.10g}%"


def number(value: float) -> str:
    """Return *value* as PromQL reads it."""
    return f"{value:.10g}"


def runbook(default: str, flows: Iterable[Declared]) -> str:
    """Return the line that tells what to do: the flow's own if its objective has one."""
    own = [(flow.name, flow.objective.runbook) for flow in flows if flow.objective and flow.objective.runbook]
    if not own:
        return default
    cases = [f"if eq $labels.flow {quoted(name)} }}}}{literal(text or '')}" for name, text in own]
    return "{{ " + "{{ else ".join(cases) + "{{ else }}" + default + "{{ end }}"


def literal(text: str) -> str:
    """Return *text* so that a template of Prometheus shows it as it is."""
    return text.replace("{{", '{{ "{{" }}')


def traces_link(jaeger: str, *, failing: bool, lookback: str = "2d") -> str:
    """Return the address of the flow's traces in Jaeger, for a template of Prometheus."""
    tags = "&tags=%7B%22error%22%3A%22true%22%7D" if failing else ""
    # A service with a namespace has the job namespace/name; Jaeger knows the name.
    service = '{{ $labels.job | reReplaceAll "^.*/" "" | urlquery }}'
    what = f"service={service}&operation=flow%20{{{{ $labels.flow | urlquery }}}}"
    return f"{jaeger.rstrip('/')}/search?{what}{tags}&lookback={lookback}&limit=20"
