"""What an alert is made of: a text of a user in it is shown, never executed; and the tests that are made of it."""

from otelflow.generate._rules.alert import Alert, Scenario, promtool_tests


def late(flow, **changes):
    scenario = Scenario("when late", "1m", {f'runs{{flow="{flow}"}}': "0x9"}, {"1m": (), "5m": (flow,)})
    return Alert("FlowLate", "1", "", "page", "late", "", "", scenarios=(scenario._replace(**changes),), flow=flow)


def test_the_name_of_a_flow_is_no_template_in_the_label_of_its_alert():
    alert = Alert("FlowLate", "1", "", "page", "late", "it is late", "look", flow='{{ fail "executed" }}')

    assert alert.rule(in_kubernetes=False)["labels"] == {"severity": "page", "flow": r'{{ "{{ fail \"executed\" }}" }}'}


def test_flows_that_promise_alike_are_tested_together():
    (test,) = promtool_tests([late("b.c"), late("a")])

    assert test["name"] == "FlowLate: when late"
    assert [samples["series"] for samples in test["input_series"]] == ['runs{flow="b.c"}', 'runs{flow="a"}']
    before, after = test["promql_expr_test"]
    alerts = r'ALERTS{alertname="FlowLate",alertstate="firing",flow=~"b\\.c|a"}'
    assert {look["expr"] for look in (before, after)} == {f"count by (flow) ({alerts})"}
    assert (before["exp_samples"], before["eval_time"], after["eval_time"]) == ([], "1m", "5m")
    assert [sample["labels"] for sample in after["exp_samples"]] == ['{flow="a"}', '{flow="b.c"}']


def test_what_is_looked_at_at_other_moments_is_a_test_of_its_own():
    others = [
        late("b", firing={"9m": ("b",)}),
        late("c", interval="2m"),
        late("d", state="pending"),
        late("e", name="!"),
    ]

    tests = promtool_tests([late("a"), *others, late("")])

    expressions = [test["promql_expr_test"][0]["expr"] for test in tests]
    assert [expression.partition("flow=")[2] for expression in expressions] == [f'"{x}"}})' for x in "abcde"] + [""]
