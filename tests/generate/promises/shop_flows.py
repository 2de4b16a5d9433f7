"""Flows, some of which promise something; what is made of them lies beside."""

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
