"""What an alert is made of: a text of a user in it is shown, never executed."""

from otelflow.generate.rules._alert import Alert


def test_the_name_of_a_flow_is_no_template_in_the_label_of_its_alert():
    alert = Alert("FlowLate", "1", "", "page", "late", "it is late", "look", flow='{{ fail "executed" }}')

    assert alert.rule(in_kubernetes=False)["labels"] == {"severity": "page", "flow": r'{{ "{{ fail \"executed\" }}" }}'}
