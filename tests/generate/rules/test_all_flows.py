"""The alerts for every flow, played over days by the real promtool."""

import re

import pytest

from otelflow import Objective
from otelflow._core.flows.declared import Declared
from otelflow.generate._rules import Program, all_flows


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


@pytest.mark.parametrize(("every", "pieces"), [("1d", ["2d"]), ("1d 1h", ["2d", "50h"]), ("30d", ["2d", "60d"])])
def test_a_failure_is_remembered_for_two_runs_and_for_two_days_at_least(every, pieces):
    flow = Declared("bills", "shop", objective=Objective(every=every))

    alert = next(all_flows.alerts(Program((flow,), "http://jaeger")))

    assert {*re.findall(r"last_failure:max(?:\{[^}]*\})?\[(\w+)\]", alert.expr)} == {*pieces}
