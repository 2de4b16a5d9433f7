"""Read by mypy --strict and pyright, never run: each line marked ``error`` must be refused, and no other."""

import otelflow
from otelflow import Flow, flow, task


@task
def half(number: int) -> float:
    return number / 2


@task(raise_on_error=False)
def lenient(number: int) -> str:
    return str(number)


@task
async def later(number: int) -> str:
    return str(number)


@flow
def whole(number: int) -> int:
    return number


half("text")  # error
half()  # error
half(1, 2)  # error
half(1).upper()  # error
lenient(1).upper()  # error: it may be None
later(1).upper()  # error: it is not awaited
whole("text")  # error
whole(1).execute().flow_return_value.bit_length()  # error: it may be None
_ = whole(1).nothing  # error
task(3)  # error
task(tsk_name="x")  # error
task(raise_on_error="no")  # error
flow(flow_name=3)  # error
flow(flow_config={"print_logs": True})  # error
Flow().setup(3)  # error
otelflow.add_listener(print)  # error
otelflow.configure(service_name=3)  # error
_ = otelflow.nothing  # error
