"""What a promise makes of the rules."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from otelflow import Objective
from otelflow._core.flows.declared import Declared
from otelflow.generate import generate_alerts
from otelflow.generate._rules import Program, objectives
from otelflow.metrics._families import bucket_labels

KEPT = Path(__file__).parents[1] / "promises" / "otelflow.rules.yml"


def rules(text):
    """Return the names of the alerts in a rule file."""
    return [line.split("alert: ")[1] for line in text.splitlines() if "- alert: " in line]


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


def test_what_one_flow_says_stands_in_its_own_alerts_only():
    promise = {name: Objective(success=0.9, runbook=f"restart {name}") for name in ("orders", "stock")}
    promise["bills"] = Objective(every="1d", runbook="ask the accountants")  # with the share of all the others
    flows = tuple(Declared(name, "shop", objective=objective) for name, objective in promise.items())
    alerts = [
        alert
        for alert in objectives.alerts(Program(flows, "http://127.0.0.1:16686"))
        if alert.name == "FlowErrorBudgetBurnsFast"
    ]

    assert [alert.flow for alert in alerts if "restart orders" in alert.runbook and alert.flow] == ["orders"]
    assert [alert.flow for alert in alerts if "restart stock" in alert.runbook and alert.flow] == ["stock"]
    assert ["ask the accountants" in alert.runbook for alert in alerts if not alert.flow] == [True]


@pytest.mark.parametrize(
    "duration", ["9ms", "0.01ms", "1s 333ms", "90s", "4.1m", "1.1h", "7d", timedelta(microseconds=604_799_123_456)]
)
def test_runs_that_are_too_slow_are_counted_by_the_bucket_that_ends_where_they_may(duration):
    flow = Declared("orders", "shop", objective=Objective(duration=duration))
    (bound,) = bucket_labels((flow.objective.duration,))[:1]

    (rule,) = objectives.slow_ratios(Program((flow,), "http://jaeger"), "1h")

    pattern = re.search(r'le=~"([^"]*)"', rule["expr"])[1].replace("\\\\", "\\")
    assert re.fullmatch(pattern, bound)


@pytest.mark.parametrize(
    ("every", "lookback", "lasts"),
    [("1m", "10m", "1m"), ("5m", "10m", "1m"), ("1h", "2h", "6m"), ("30d", "60d", "1h")],
)
def test_a_flow_is_late_after_a_tenth_of_what_it_promises_a_minute_at_least_and_an_hour_at_most(every, lookback, lasts):
    flow = Declared("orders", "shop", objective=Objective(every=every))

    (alert,) = [each for each in objectives.alerts(Program((flow,), "http://jaeger")) if each.name == "FlowOverdue"]

    assert re.search(r"\[(\w+)\]", alert.expr)[1] == lookback
    assert alert.lasts == lasts


def test_an_alert_says_what_it_needs_to_be_told_and_the_kept_rules_are_those_of_today(shop):
    text = generate_alerts([shop])

    assert text == KEPT.read_text()
    assert "take at most 1m 30s. It takes 10 runs in three days to tell." in text
    assert "its metrics do not arrive; they would name its service." in text
